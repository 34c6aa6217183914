"""Tests of bridge/index/search.py."""

from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.index.search import build_index, load_index, save_index, search
from tests.limits import files_up_to
from tests.ranking import assert_nearest


def unit_rows(num_rows: int, dimension: int, seed: int) -> np.ndarray:
    rows = np.random.default_rng(seed).standard_normal((num_rows, dimension), np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_search_equals_a_full_sort_of_the_dot_products() -> None:
    database, queries = unit_rows(500, 16, seed=0), unit_rows(20, 16, seed=1)
    similarities, rows = search(build_index(database), queries, 7)
    products = queries @ database.T
    assert_nearest(rows, similarities, products, rounding=1e-5)


def test_a_saved_index_finds_the_same_rows(tmp_path: Path) -> None:
    database, queries = unit_rows(300, 8, seed=2), unit_rows(5, 8, seed=3)
    index = build_index(database)
    save_index(index, tmp_path / "folder" / "index.faiss")
    loaded = load_index(tmp_path / "folder" / "index.faiss")
    for found, expected in zip(search(loaded, queries, 4), search(index, queries, 4), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [path.name for path in (tmp_path / "folder").iterdir()] == ["index.faiss"]


def test_saving_replaces_the_older_index(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    save_index(build_index(unit_rows(10, 4, seed=0)), path)
    save_index(build_index(unit_rows(3, 4, seed=0)), path)
    assert load_index(path).ntotal == 3


def test_top_beyond_the_index_is_clipped() -> None:
    similarities, rows = search(build_index(unit_rows(3, 4, seed=0)), unit_rows(2, 4, seed=1), 10)
    assert similarities.shape == rows.shape == (2, 3)
    assert sorted(rows[0]) == [0, 1, 2]


def test_a_missing_index_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no index"):
        load_index(tmp_path / "index.faiss")


@pytest.mark.parametrize("keep", [0, 3, 20, 500])
def test_a_cut_off_index_is_an_input_error(tmp_path: Path, keep: int) -> None:
    path = tmp_path / "index.faiss"
    save_index(build_index(unit_rows(50, 8, seed=0)), path)
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match="damaged"):
        load_index(path)


def test_a_file_of_another_kind_is_an_input_error(tmp_path: Path) -> None:
    path = tmp_path / "index.faiss"
    path.write_bytes(b"not an index at all, but long enough to hold a header of one" * 10)
    with pytest.raises(InputError, match="damaged"):
        load_index(path)


@pytest.mark.parametrize("bad", [np.zeros(4), np.zeros((2, 0)), np.full((2, 4), np.nan)])
def test_unusable_descriptors_are_refused(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="descriptors"):
        build_index(bad)
    with pytest.raises(ValueError, match="queries"):
        search(build_index(unit_rows(3, 4, seed=0)), bad, 1)


def test_another_dimension_or_an_empty_result_is_refused() -> None:
    index = build_index(unit_rows(3, 4, seed=0))
    with pytest.raises(ValueError, match="5 dimensions, the index has 4"):
        search(index, unit_rows(2, 5, seed=1), 1)
    with pytest.raises(ValueError, match="top"):
        search(index, unit_rows(2, 4, seed=1), 0)


@pytest.mark.parametrize("allowed", [None, np.zeros(0, bool)])
@pytest.mark.parametrize("queries", [0, 3])
def test_an_empty_index_finds_nothing(allowed: np.ndarray | None, queries: int) -> None:
    index = build_index(np.zeros((0, 4)))
    similarities, rows = search(index, unit_rows(queries, 4, seed=0), 5, allowed=allowed)
    assert similarities.shape == rows.shape == (queries, 0)
    assert (similarities.dtype, rows.dtype) == (np.float32, np.int64)


@pytest.mark.parametrize("allowed", [None, np.array([True, False, True]), np.zeros(3, bool)])
def test_without_queries_nothing_is_found(allowed: np.ndarray | None) -> None:
    index = build_index(unit_rows(3, 4, seed=0))
    similarities, rows = search(index, np.zeros((0, 4)), 2, allowed=allowed)
    assert similarities.shape == rows.shape == (0, 2)


@pytest.mark.parametrize("missing", [1, 3_000, 100_000])
def test_without_room_the_older_index_stays(tmp_path: Path, missing: int) -> None:
    """FAISS itself does not notice that the last buffer of a file finds no room."""
    path, index = tmp_path / "index.faiss", build_index(unit_rows(500, 64, seed=0))
    save_index(build_index(unit_rows(3, 4, seed=0)), path)
    older, size = path.read_bytes(), 500 * 64 * 4
    with files_up_to(size - missing), pytest.raises(OSError) as raised:
        save_index(index, path)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(path))
    assert path.read_bytes() == older
    assert [found.name for found in tmp_path.iterdir()] == ["index.faiss"]
