"""Tests of benchmarks/evaluation.py at a small size: three ways, one result."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from benchmarks.evaluation import (
    PRESETS,
    Config,
    Size,
    measure_ours,
    measure_reference,
    random_data,
    run,
)

CONFIG = Config(reference_queries=30, objects=10, dimension=16, noise=2.0)
SWAPPED = 0.01
"""What average precision may differ by where two rows that are as similar as rounding can tell
change places: at rank r, by 1 in r times the number of positives, which is some hundred."""
SIZES = [
    Size(70, 900),
    Size(70, 900, 500, k=10),
    Size(70, 900, per_level=True),
    Size(70, 900, 500, k=10, per_level=True),
]


def test_a_run_writes_what_it_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "new" / "report.md"
    run(Config(queries=60, out=out, objects=10, dimension=16, noise=2.0), SIZES[1])
    figures = json.loads(out.with_suffix(".json").read_text())
    assert out.read_text() in capsys.readouterr().out
    assert figures["largest_difference_of_average_precision"] < SWAPPED
    assert figures["size"]["queries"] == 60
    ours, product, slower, reference, faster = figures["times"]
    assert reference["figure"] == "published way, s (20 queries)"
    for kind in ("wall", "cpu"):
        assert slower[kind] == pytest.approx(ours[kind] / product[kind])
        assert faster[kind] == pytest.approx(reference[kind] / ours[kind])
    # Without torch and Ray.
    assert 0.05 < figures["peak_gb"] < 0.4


@pytest.mark.parametrize("size", SIZES)
def test_both_ways_find_the_same(size: Size) -> None:
    precision = measure_ours(0, None, CONFIG, size)["average_precision"]
    theirs = measure_reference(random_data(CONFIG, size), size, 30)
    np.testing.assert_allclose(precision[:30], theirs["average_precision"], rtol=0, atol=SWAPPED)
    assert np.median(np.abs(precision[:30] - theirs["average_precision"])) < 1e-9
    assert 0.1 < precision.mean() < 0.99


def test_the_data_follow_from_the_seed_and_have_unit_length() -> None:
    data, again = (random_data(CONFIG, SIZES[1]) for _ in range(2))
    for name, values in data._asdict().items():
        np.testing.assert_array_equal(values, getattr(again, name))
    np.testing.assert_allclose(np.linalg.norm(data.database, axis=1), 1, atol=1e-6)
    assert (data.database_labels == -1).sum() == 500
    assert set(data.database_levels) == {1, 2, 3, 4, 5, 6}


def test_presets_are_of_the_papers_sizes() -> None:
    assert {size.queries for name, size in PRESETS.items() if name != "quick"} == {20_995}
    assert {size.database for size in PRESETS.values()} == {91_621}
    assert {size.k for size in PRESETS.values() if size.distractors} == {100}
