from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks.training_loader import (
    Config,
    decode_all,
    generated_data,
    load_all,
    main,
    measure,
    photo,
    plan,
)
from bridge.common.errors import InputError
from bridge.common.images import decode
from tests.factories import make_dataset

SMALL = Config(images=60, threads=(2,), repeats=1)


def test_photos_are_those_of_a_camera_in_size() -> None:
    sizes = [len(photo(np.random.default_rng(seed))) for seed in range(5)]
    assert decode(photo(np.random.default_rng(0))).shape == (240, 320, 3)
    assert min(sizes) > 25_000 and max(sizes) < 70_000


def test_loader_and_floor_see_the_same_images_in_whole_batches() -> None:
    data = generated_data(SMALL)
    slices = plan(data, SMALL)
    count = sum(part.size for part in slices)
    assert 60 <= count < 60 + slices[-1].size
    assert load_all(data, slices, (12, 16), threads=2) == count
    encoded = [data.images[row] for part in slices for row in part.reshape(-1).tolist()]
    assert decode_all(encoded, threads=3) == count


def test_the_report_holds_every_rate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    make_dataset(tmp_path / "data", {"train": 3})
    out = tmp_path / "loader.md"
    main(
        Config(
            data=str(tmp_path / "data"), images=50, small=(6, 8), repeats=1, threads=(1, 2), out=out
        )
    )
    text = out.read_text()
    assert text in capsys.readouterr().out
    assert "loader 24x32" in text and "loader 6x8" in text
    assert len([line for line in text.splitlines() if line.startswith("|")]) == 4


def test_figures_are_consistent() -> None:
    figures = measure(SMALL)
    (found,) = figures["rates"]
    assert found["threads"] == 2 and min(found.values()) > 0
    assert found["stored_share"] == pytest.approx(found["stored"] / found["floor"])
    assert tuple(figures["stored_size"]) == (240, 320)


def test_other_formats_are_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"test": 1})
    with pytest.raises(InputError):
        measure(Config(data=str(tmp_path)))
