from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.renderer_measures import ALPHA, COLOUR, WINDOWS, choose_cases, compare, mean_error
from benchmarks.renderers import Config, means, problem, run
from bridge.common.errors import InputError
from bridge.simulator import procedural_objects
from bridge.simulator.renderers.cycles import PYTHON_VARIABLE, CyclesRenderer

TINY = Config(
    objects=3,
    trajectories=1,
    image_size=(48, 64),
    samples=64,
    noise_samples=16,
    timed=1,
    steps=(4, 1),
    cycles_samples=(4, 16),
    processes=1,
)


def square(alpha: float, width: int = 4) -> np.ndarray:
    """An object of that opacity in the left part of an image, white."""
    image = np.zeros((8, 8, 4), np.float32)
    image[:, :width] = alpha
    return image


def test_errors_are_means_over_the_pixels_of_either_object() -> None:
    assert mean_error(square(0.5), square(1), ALPHA) == pytest.approx(0.5)
    assert mean_error(square(1, 2), square(1, 4), ALPHA) == pytest.approx(0.5)
    assert mean_error(square(0.25), square(1), COLOUR) == pytest.approx(0.75)
    # What no mask of eight bits has does not count.
    assert mean_error(square(0.001, 8), square(1, 4), ALPHA) == pytest.approx(0.999)


def test_a_comparison_has_an_entry_for_each_case_and_exposure() -> None:
    wide, faint = np.stack([square(1)] * len(WINDOWS)), np.stack([square(0.5)] * len(WINDOWS))
    errors = compare([wide, wide], [wide, faint], [faint, faint])
    assert errors["alpha"] == pytest.approx(np.array([[0.0], [0.5]]).repeat(len(WINDOWS), 1))
    assert errors["severity"] == pytest.approx(-errors["alpha"], abs=0.01)
    assert errors["colour"] == pytest.approx([0, 0.5])
    assert errors["shaded"] == pytest.approx([0.5, 0.5])
    assert means(errors, 4)["alpha"] == {"mean": 0.25, "worst": 0.5}
    assert means(errors)["colour"]["worst"] == pytest.approx(0.5)


def test_cases_are_of_distinct_objects_first() -> None:
    cases = choose_cases(procedural_objects(1, 0), 3, 2, (48, 64), seed=0)
    names = [case.object_id for case in cases]
    assert len(names) == 6 and len(set(names[:3])) == 3 and names[:3] == names[3:]
    assert cases[0].mesh is cases[3].mesh and cases[0].trajectory is not cases[3].trajectory
    with pytest.raises(InputError, match="16 objects were asked for, but only"):
        choose_cases(procedural_objects(1, 0), 16, 1, (48, 64), seed=0)


def test_it_runs_without_blender_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "python"))
    out, picture, plot = (tmp_path / "made" / name for name in ("a.md", "a.jpg", "b.png"))
    found = run(Config(**{**vars(TINY), "out": out, "picture": picture, "plot": plot}))
    text = out.read_text()
    assert text.strip() in capsys.readouterr().out
    assert "Cycles was left out. The Python of the cycles renderer does not run" in text
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["errors"]["raster"]["alpha"] == found["errors"]["raster"]["alpha"].tolist()
    assert np.max(figures["errors"]["raster"]["alpha"]) < 0.05
    [curve] = figures["curves"].values()
    assert [point["setting"] for point in curve] == [4, 1]
    assert min(point["seconds"] for point in curve) > 0
    assert Image.open(picture).width > 1000 and Image.open(plot).width > 500


def test_cycles_is_the_reference_where_it_is_installed() -> None:
    if missing := problem(lambda: CyclesRenderer((16, 16)).close()):
        pytest.skip(missing)
    figures = run(TINY)
    raster, noise = (
        figures["errors"][name] for name in ("raster", "cycles, 16 samples, another seed")
    )
    assert raster["colour"].max() < 0.05 and noise["colour"].max() < 0.05
    assert raster["alpha"].mean() < noise["alpha"].mean()
    setup, few, more = figures["curves"]["cycles"]
    assert [point["setting"] for point in (setup, few, more)] == [1, 4, 16]
    assert few["alpha"] > more["alpha"] and setup["seconds"] < more["seconds"]


@pytest.mark.parametrize("change", [{"objects": 0}, {"steps": (1, 0)}, {"cycles_samples": (0, 16)}])
def test_options_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(change))}`"):
        Config(**{**vars(TINY), **change})


def test_pictures_of_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="a.gif must end in .png or .jpg"):
        Config(picture=Path("a.gif"))
