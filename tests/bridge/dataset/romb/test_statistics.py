"""Levels and severities of the published statistics, and what is refused of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.dataset.romb.names import pictures_of
from bridge.dataset.romb.sources import Folder, catalogue_of
from bridge.dataset.romb.statistics import (
    Statistics,
    distractor_statistics,
    marks_of,
    synthetic_statistics,
)
from tests.romb import write_json

OBJECT = "02691156/abc"


def statistics_of(values: list[float], levels: list[int] | None = None) -> Statistics:
    """Of the pictures of one trajectory, levels from 1 by the published rule."""
    array = np.array(values)
    edges = np.arange(11) / 10
    published = 10 - (edges <= array[:, None]).sum(axis=1) + 1
    paths = pa.array([f"{OBJECT}/000/{k}_blurred.png" for k in range(len(values))])
    level = np.array(levels or published, np.int8)
    return Statistics(pictures_of(paths, "s"), level, array, "s")


def marks(statistics: Statistics) -> Any:
    return marks_of(catalogue_of({OBJECT: np.array([0], np.int32)}), statistics)


def test_levels_are_the_published_ones_and_follow_from_the_severities() -> None:
    values = [0.95, 0.9, np.nextafter(0.9, 0), 0.7, 0.3, 0.1, np.nextafter(0.1, 0), 0.0, 0.55]
    statistics = statistics_of(values)
    found = marks(statistics)
    assert found.adjusted == ()
    assert found.level[0, :9].tolist() == statistics.level.tolist()
    assert found.level[0, :9].tolist() == [1, 1, 2, 3, 7, 9, 10, 10, 5]
    np.testing.assert_allclose(found.severity[0, :9], 1 - np.array(values), atol=1e-6)
    assert [blur_level(float(s)) for s in found.severity[0, :9]] == found.level[0, :9].tolist()
    assert found.level[0, 9:].tolist() == [0, 0]
    assert np.isnan(found.severity[0, 9:]).all()


def test_a_value_of_exactly_one_is_the_sharpest_not_the_most_blurred() -> None:
    found = marks(statistics_of([1.0, 0.95], [10, 1]))
    assert found.level[0, :2].tolist() == [1, 1]
    assert found.severity[0, 0] == 0
    assert [(a.reason, a.item) for a in found.adjusted] == [("blur_level", f"{OBJECT}/000/0")]
    assert found.adjusted[0].detail == "1 by its blur value 1 instead of 10"


def test_a_level_without_a_value_stands() -> None:
    found = marks(statistics_of([np.nan, np.nan], [4, 10]))
    assert found.level[0, :2].tolist() == [4, 10]
    assert np.isnan(found.severity).all()


def test_what_is_not_there_is_named_once() -> None:
    paths = [f"{OBJECT}/000/0_blurred.png", "02691156/other/000/0_blurred.png"]
    paths += [f"{OBJECT}/001/{k}_blurred.png" for k in range(3)] + paths[1:]
    pictures = pictures_of(pa.array(paths), "s")
    found = marks(Statistics(pictures, np.ones(6, np.int8), np.full(6, 0.95), "s"))
    assert [(r.reason, r.item) for r in found.missing] == [
        ("missing_object", "02691156/other"),
        ("missing_trajectory", f"{OBJECT}/001"),
    ]


@pytest.mark.parametrize(
    "path",
    [
        "{}",
        "./{}",
        "/net/data/synthetic_data/{}",
        "/synthetic_data/x/synthetic_data/{}",
        "C:\\data\\{}",
    ],
)
def test_only_the_last_parts_of_a_path_count(path: str) -> None:
    inner = f"{OBJECT}/007/10_blurred.png"
    full = path.format(inner.replace("/", "\\") if "\\" in path else inner)
    found = pictures_of(pa.array([full]), "s")
    assert found.image_id.to_pylist() == [f"{OBJECT}/007/10"]
    assert (found.trajectory.tolist(), found.window.tolist()) == ([7], [10])


@pytest.mark.parametrize(
    "path", ["", "abc/000/0_blurred.png", "a/b/000/11_blurred.png", "a/b/7/0_blurred.png", "a/b"]
)
def test_paths_of_other_things_are_refused(path: str) -> None:
    with pytest.raises(InputError, match="s names 1 paths that are not of the published layout"):
        pictures_of(pa.array([f"{OBJECT}/000/0_rendered.png", path]), "s")


ONE = [[f"{OBJECT}/000/0_blurred.png"]]


@pytest.mark.parametrize(
    ("paths", "values", "message"),
    [
        ({}, None, "a list of paths for each blur level"),
        ([1], None, "a list of paths for each blur level"),
        ([[1]], None, "is damaged"),
        ([[None]], None, "not of the published layout"),
        (ONE, [np.zeros(2)], "not a value for each path"),
        (ONE, [], "not a value for each path"),
        (ONE, [np.array([1.5])], "outside 0..1"),
        (ONE, [np.array([-0.5])], "outside 0..1"),
        (ONE, [np.array(["x"])], "must hold numbers"),
        ([[]] * 10 + ONE, None, "levels outside 0..9"),
    ],
)
def test_statistics_that_cannot_be_are_refused(
    paths: Any, values: list[np.ndarray] | None, message: str, tmp_path: Path
) -> None:
    write_json(tmp_path / "stats/blur_stats/img_paths_by_blurlevel.json", paths)
    if values is not None:
        np.savez(tmp_path / "stats/blur_stats/blur_values_by_blurlevel.npz", *values)
    with pytest.raises(InputError, match=message):
        synthetic_statistics(Folder(str(tmp_path)))


def test_json_that_is_none_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "stats/blur_stats/img_paths_by_blurlevel.json"
    for text in ("", "[", "[" * 100_000, "\0"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        with pytest.raises(InputError, match="img_paths_by_blurlevel.json is damaged"):
            synthetic_statistics(Folder(str(tmp_path)))


@pytest.mark.parametrize("values", ["blur_values.npy", "blur_vals.npy", None])
def test_values_of_distractors_have_two_names(values: str | None, tmp_path: Path) -> None:
    write_json(tmp_path / "stats/img_paths.json", [f"{OBJECT}/000/{k}_blurred.png" for k in (0, 1)])
    np.save(tmp_path / "stats/blur_levels.npy", np.array([0, 5]))
    if values:
        np.save(tmp_path / "stats" / values, np.array([0.95, 0.45]))
    found = distractor_statistics(Folder(str(tmp_path)))
    assert found is not None
    assert found.level.tolist() == [1, 6]
    np.testing.assert_array_equal(found.value, [0.95, 0.45] if values else [np.nan] * 2)


def test_distractors_need_levels_of_all_paths(tmp_path: Path) -> None:
    write_json(tmp_path / "stats/img_paths.json", [f"{OBJECT}/000/0_blurred.png"])
    with pytest.raises(InputError, match=r"but not .*blur_levels.npy"):
        distractor_statistics(Folder(str(tmp_path)))
    np.save(tmp_path / "stats/blur_levels.npy", np.zeros(3, int))
    with pytest.raises(InputError, match="has not a value for each path"):
        distractor_statistics(Folder(str(tmp_path)))
    np.save(tmp_path / "stats/blur_levels.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(InputError, match="must hold numbers"):
        distractor_statistics(Folder(str(tmp_path)))
    (tmp_path / "stats/img_paths.json").write_text(json.dumps({"a": 1}))
    with pytest.raises(InputError, match="must hold a list of paths"):
        distractor_statistics(Folder(str(tmp_path)))


def test_without_statistics_there_are_none(tmp_path: Path) -> None:
    assert synthetic_statistics(Folder(str(tmp_path))) is None
    assert distractor_statistics(Folder(str(tmp_path))) is None
