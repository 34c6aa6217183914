from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from benchmarks.fidelity import WINDOWS, alpha_error, choose_cases, colour_error, compare
from benchmarks.renderer_costs import Cost, ratio
from benchmarks.renderers import Config, run, why_no_cycles
from bridge.common.errors import InputError
from bridge.simulator import procedural_objects
from bridge.simulator.renderers.cycles import PYTHON_VARIABLE

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
    assert alpha_error(square(0.5), square(1)) == pytest.approx(0.5)
    assert alpha_error(square(1, 2), square(1, 4)) == pytest.approx(0.5)
    assert colour_error(square(0.25), square(1)) == pytest.approx(0.75)
    # What no mask of eight bits has does not count.
    assert alpha_error(square(0.001, 8), square(1, 4)) == pytest.approx(0.999)


def test_a_comparison_has_an_entry_for_each_case_and_exposure() -> None:
    wide, faint = np.stack([square(1)] * len(WINDOWS)), np.stack([square(0.5)] * len(WINDOWS))
    errors = compare([wide, wide], [wide, faint])
    assert errors.alpha == pytest.approx(np.array([[0.0], [0.5]]).repeat(len(WINDOWS), 1))
    assert errors.severity == pytest.approx(-errors.alpha, abs=0.01)
    assert errors.colour == pytest.approx([0, 0.5])


def test_cases_are_of_distinct_objects_first() -> None:
    cases = choose_cases(procedural_objects(1, 0), 3, 2, (48, 64), seed=0)
    names = [case.object_id for case in cases]
    assert len(names) == 6 and len(set(names[:3])) == 3 and names[:3] == names[3:]
    assert cases[0].mesh is cases[3].mesh and cases[0].trajectory is not cases[3].trajectory
    with pytest.raises(InputError, match="16 objects were asked for, but only"):
        choose_cases(procedural_objects(1, 0), 16, 1, (48, 64), seed=0)


def test_costs_are_compared_at_equal_error() -> None:
    cycles = [Cost(16, 1.0, 0.04), Cost(64, 4.0, 0.02), Cost(256, 16.0, 0.01)]
    between = ratio(Cost(1, 0.1, 0.02 / 2**0.5), cycles)
    assert (between.times, between.bound) == (pytest.approx(80), "")
    better = ratio(Cost(1, 0.1, 0.005), cycles)
    assert (better.times, better.bound) == (pytest.approx(160), ">")
    worse = ratio(Cost(1, 0.1, 0.08), cycles)
    assert (worse.times, worse.bound) == (pytest.approx(10), "<")


def test_it_runs_without_blender_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(PYTHON_VARIABLE, str(tmp_path / "python"))
    out, plot = tmp_path / "made" / "renderers.md", tmp_path / "errors.png"
    results = run(Config(**{**vars(TINY), "out": out, "plot": plot}))
    assert set(results.curves) == {"raster"} and "raster" in results.compared
    assert results.compared["raster"].alpha.max() < 0.05
    text = out.read_text()
    assert text.strip() in capsys.readouterr().out
    assert "Cycles was left out. The Python of the cycles renderer does not run" in text
    figures = json.loads(out.with_suffix(".json").read_text())
    assert figures["errors"]["raster"]["alpha"] == results.compared["raster"].alpha.tolist()
    assert Image.open(plot).width > 500


def test_cycles_is_the_reference_where_it_is_installed(tmp_path: Path) -> None:
    missing = why_no_cycles()
    if missing is not None:
        pytest.skip(missing)
    picture = tmp_path / "picture.png"
    results = run(Config(**{**vars(TINY), "picture": picture}))
    raster, noise = results.compared["raster"], results.compared["cycles, 16 samples, another seed"]
    assert raster.colour.max() < 0.05 and noise.colour.max() < 0.05
    assert raster.alpha.mean() < noise.alpha.mean()
    assert [point.setting for point in results.curves["cycles"]] == [4, 16]
    assert results.curves["cycles"][0].alpha > results.curves["cycles"][1].alpha
    assert len(results.ratios()) == 2
    assert Image.open(picture).height > 3 * 126


@pytest.mark.parametrize(
    "change", [{"objects": 0}, {"steps": ()}, {"steps": (1, 0)}, {"cycles_samples": (1, 16)}]
)
def test_options_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(InputError, match=next(iter(change)).replace("_", "-")):
        run(Config(**{**vars(TINY), **change}))


def test_pictures_of_unknown_kinds_are_refused() -> None:
    with pytest.raises(InputError, match="a.gif must end in .png or .jpg"):
        run(Config(picture=Path("a.gif")))
