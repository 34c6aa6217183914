"""Tests of bridge/index/layouts.py and quality.py, and of opening and restricting each type."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import faiss
import numpy as np
import pytest

from benchmarks.indexes import like_descriptors
from bridge.common.errors import InputError
from bridge.dataset.roles import DATABASE
from bridge.index.folder import FAISS_FILE, IndexManifest, PartRecord
from bridge.index.layouts import (
    Layout,
    is_of_type,
    layouts,
    merge,
    new_index,
    reserve,
    set_effort,
    training_rows,
)
from bridge.index.quality import (
    better_of,
    choose_effort,
    faiss_threads,
    latency_ms,
    nearest,
    recall,
)
from bridge.index.search import is_file, load_index, open_search_index, save_index, search
from tests.ranking import assert_nearest

ROWS, DIMENSION = 3000, 16
LAYOUTS = [
    Layout("exact"),
    Layout("hnsw", links=16),
    Layout("ivfpq", lists=16, code_bytes=8),
    Layout("ivfpq", lists=16, code_bytes=4, refined=True),
]
LARGEST_EFFORT = {"exact": 0, "hnsw": 400, "ivfpq": 16}
each_layout = pytest.mark.parametrize("layout", LAYOUTS, ids=lambda layout: layout.factory)


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Threads that wait for each other are slow where others use the cores, too."""
    with faiss_threads(1):
        yield


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return like_descriptors(ROWS, DIMENSION, seed=0)


@pytest.fixture(scope="module")
def indexes(rows: np.ndarray) -> dict[Layout, faiss.Index]:
    made = {layout: new_index(layout, DIMENSION, rows) for layout in LAYOUTS}
    for layout, index in made.items():
        index.add(rows)
        set_effort(index, LARGEST_EFFORT[layout.type])
    return made


def in_folder(folder: Path, index: faiss.Index, layout: Layout) -> IndexManifest:
    """A manifest whose folder has this index."""
    path = folder / FAISS_FILE
    save_index(index, path)
    part = PartRecord("descriptors/0.parquet", DATABASE, index.ntotal, "", "")
    record = {
        "type": layout.type,
        "layout": asdict(layout),
        "effort": 7,
        "rows": index.ntotal,
        "bytes": path.stat().st_size,
        "sha256": "",
    }
    return IndexManifest("", "", DIMENSION, {}, 0, parts=[part], search=record)


@each_layout
def test_sizes_are_predicted(
    indexes: dict[Layout, faiss.Index], tmp_path: Path, layout: Layout
) -> None:
    save_index(indexes[layout], tmp_path / "index")
    size = (tmp_path / "index").stat().st_size
    assert layout.nbytes(ROWS, DIMENSION) == pytest.approx(size, rel=0.03)


@each_layout
@pytest.mark.parametrize("mmap", [False, True])
def test_a_loaded_index_finds_the_same_rows(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, tmp_path: Path, layout: Layout, mmap: bool
) -> None:
    save_index(indexes[layout], tmp_path / "index")
    loaded = load_index(tmp_path / "index", mmap=mmap)
    set_effort(loaded, LARGEST_EFFORT[layout.type])
    assert is_of_type(loaded, layout)
    for got, expected in zip(
        search(loaded, rows[:50], 10), search(indexes[layout], rows[:50], 10), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


@each_layout
def test_an_object_store_holds_the_same_index(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, tmp_path: Path, layout: Layout
) -> None:
    save_index(indexes[layout], tmp_path / "local")
    save_index(indexes[layout], f"file://{tmp_path}/store")
    assert (tmp_path / "local").read_bytes() == (tmp_path / "store").read_bytes()
    loaded = load_index(f"file://{tmp_path}/store", mmap=True)
    set_effort(loaded, LARGEST_EFFORT[layout.type])
    expected = search(indexes[layout], rows[:50], 1)[1]
    np.testing.assert_array_equal(search(loaded, rows[:50], 1)[1], expected)


@each_layout
@pytest.mark.parametrize("place", ["{}", "file://{}"])
def test_a_cut_off_index_of_any_type_is_an_input_error(
    indexes: dict[Layout, faiss.Index], tmp_path: Path, layout: Layout, place: str
) -> None:
    save_index(indexes[layout], tmp_path / "index")
    whole = (tmp_path / "index").read_bytes()
    for keep in (0, 5, 100, len(whole) // 2, len(whole) - 9):
        (tmp_path / "index").write_bytes(whole[:keep])
        for mmap in (False, True):
            with pytest.raises(InputError, match="damaged"):
                load_index(place.format(tmp_path / "index"), mmap=mmap)


@each_layout
@pytest.mark.parametrize("share", [0.5, 0.02])
def test_only_allowed_rows_are_found(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, layout: Layout, share: float
) -> None:
    allowed = np.random.default_rng(1).random(ROWS) < share
    similarities, numbers = search(indexes[layout], rows[:80], 10, allowed=allowed)
    assert allowed[numbers].all()
    products = np.where(allowed, rows[:80] @ rows.T, -np.inf)
    if layout.type == "exact":
        assert_nearest(numbers, similarities, products, rounding=1e-5)
    truth = np.argsort(-products, axis=1)[:, :10]
    shares = [np.isin(a, b).mean() for a, b in zip(truth, numbers, strict=True)]
    # A code of 8 bytes for 16 dimensions orders near rows only roughly.
    least = 0.8 if layout.type == "ivfpq" else 0.95
    assert np.mean(shares) >= least
    assert (np.diff(similarities, axis=1) <= 0).all()


@each_layout
def test_few_lists_still_find_the_few_allowed_rows(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, layout: Layout
) -> None:
    allowed = np.zeros(ROWS, bool)
    allowed[[5, 700, 2900]] = True
    set_effort(indexes[layout], 1)
    similarities, numbers = search(indexes[layout], rows[:4], 5, allowed=allowed)
    set_effort(indexes[layout], LARGEST_EFFORT[layout.type])
    np.testing.assert_array_equal(np.sort(numbers[:, :3]), np.tile([5, 700, 2900], (4, 1)))
    assert (numbers[:, 3:] == -1).all() and np.isneginf(similarities[:, 3:]).all()
    assert np.isfinite(similarities[:, :3]).all()


@each_layout
def test_no_or_all_rows_allowed(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, layout: Layout
) -> None:
    index = indexes[layout]
    similarities, numbers = search(index, rows[:3], 4, allowed=np.zeros(ROWS, bool))
    assert (numbers == -1).all() and np.isneginf(similarities).all() and numbers.shape == (3, 4)
    restricted = search(index, rows[:30], 4, allowed=np.ones(ROWS, bool))
    # Numbers of rows, but for those that rounding alone orders, which another way orders otherwise.
    same = restricted[1] == search(index, rows[:30], 4)[1]
    np.testing.assert_allclose(restricted[0], search(index, rows[:30], 4)[0], atol=1e-5)
    assert same.mean() > 0.95
    for wrong in (np.ones(ROWS - 1, bool), np.ones(ROWS, np.int64)):
        with pytest.raises(ValueError, match="allowed must be 3000 booleans"):
            search(index, rows[:3], 4, allowed=wrong)


@pytest.mark.parametrize("layout", [x for x in LAYOUTS if x.type != "hnsw"])
def test_merged_shards_are_the_index_of_all_rows(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray, layout: Layout
) -> None:
    merged = faiss.clone_index(indexes[layout])
    merged.reset()
    shards = [faiss.clone_index(merged) for _ in range(3)]
    reserve(merged, ROWS)
    for shard, part in zip(shards, np.split(rows, [100, 1700]), strict=True):
        shard.add(part)
        merge(merged, shard)
    assert merged.ntotal == ROWS
    for got, expected in zip(
        merged.search(rows[:60], 9), indexes[layout].search(rows[:60], 9), strict=True
    ):
        np.testing.assert_array_equal(got, expected)


def test_opening_sets_the_effort(indexes: dict[Layout, faiss.Index], tmp_path: Path) -> None:
    for layout, index in indexes.items():
        folder = tmp_path / layout.factory.replace(",", "-")
        opened = open_search_index(str(folder), in_folder(folder, index, layout))
        if layout.type == "hnsw":
            assert opened.hnsw.efSearch == 7
        if layout.type == "ivfpq":
            assert faiss.extract_index_ivf(getattr(opened, "base_index", opened)).nprobe == 7


def test_an_index_that_is_not_the_recorded_one_is_refused(
    indexes: dict[Layout, faiss.Index], tmp_path: Path
) -> None:
    layout, folder = LAYOUTS[3], str(tmp_path)
    manifest = in_folder(tmp_path, indexes[layout], layout)
    assert open_search_index(folder, manifest).ntotal == ROWS

    def with_search(**changes: object) -> IndexManifest:
        return replace(manifest, search={**manifest.search, **changes})

    more = replace(manifest, parts=[*manifest.parts, manifest.parts[0]])
    for wrong in (
        more,
        with_search(rows=ROWS + 1),
        with_search(layout=asdict(LAYOUTS[0])),
        with_search(layout=asdict(replace(layout, lists=32))),
        replace(manifest, dimension=8),
    ):
        with pytest.raises(InputError, match="not the index that its manifest describes"):
            open_search_index(folder, wrong)
    with pytest.raises(InputError, match="no search index"):
        open_search_index(folder, replace(manifest, search={}))
    with pytest.raises(InputError, match="missing or damaged"):
        open_search_index(folder, manifest, verify=True)
    with pytest.raises(InputError, match="missing or damaged"):
        open_search_index(folder, with_search(bytes=1))
    with pytest.raises(InputError, match="missing or damaged"):
        open_search_index(str(tmp_path / "elsewhere"), manifest)
    path = tmp_path / FAISS_FILE
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(InputError, match="missing or damaged"):
        open_search_index(folder, manifest)


def test_is_file_compares_size_and_hash(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"abc")
    digest = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert is_file(str(path), 3) and is_file(str(path), 3, digest)
    assert not is_file(str(path), 4) and not is_file(str(path), 3, "0" * 64)
    assert not is_file(str(tmp_path), 3)


def test_layouts_come_with_the_best_recall_first() -> None:
    kinds = [layout.type for layout in layouts(1_200_000, 128)]
    assert kinds[:2] == ["exact", "hnsw"] and set(kinds[2:]) == {"ivfpq"}
    quantised = layouts(1_200_000, 128, "ivfpq")
    assert [layout.factory for layout in quantised] == [
        "IVF4096,PQ32np,Refine(SQ8)",
        "IVF4096,PQ64np",
        "IVF4096,PQ32np",
        "IVF4096,PQ16np",
        "IVF4096,PQ8np",
    ]
    sizes = [layout.nbytes(1_200_000, 128) for layout in quantised]
    assert sizes == sorted(sizes, reverse=True)
    assert layouts(255, 128, "ivfpq") == []


@pytest.mark.parametrize(("rows", "dimension"), [(256, 1), (300, 6), (256, 17), (1000, 24)])
def test_every_layout_can_be_trained(rows: int, dimension: int) -> None:
    made = np.random.default_rng(0).standard_normal((rows, dimension), np.float32)
    for layout in layouts(rows, dimension):
        assert training_rows(layout, rows) <= rows
        index = new_index(layout, dimension, made)
        index.add(made)
        assert is_of_type(index, layout) and index.ntotal == rows


@pytest.mark.parametrize(
    ("rows", "lists"), [(256, 4), (100_000, 1024), (1_200_000, 4096), (10**9, 2**16)]
)
def test_the_number_of_lists_follows_the_root_of_the_rows(rows: int, lists: int) -> None:
    layout = layouts(rows, 128, "ivfpq")[0]
    assert layout.lists == lists
    assert training_rows(layout, rows) >= min(rows, 39 * lists)


def test_nearest_rows_of_parts_are_those_of_the_whole(rows: np.ndarray) -> None:
    queries = rows[::60]
    bounds = [0, 40, 900, ROWS]
    parts = [nearest(rows[a:b], a, queries) for a, b in itertools.pairwise(bounds)]
    best = better_of(better_of(parts[2], parts[0]), parts[1])
    # A product of other shape rounds otherwise, and so orders otherwise what is all but equal.
    np.testing.assert_allclose(best[0], nearest(rows, 0, queries)[0], atol=1e-5)
    products = queries @ rows.T
    np.testing.assert_allclose(best[0], -np.sort(-products)[:, :100], atol=1e-5)
    np.testing.assert_allclose(best[0], np.take_along_axis(products, best[1], 1), atol=1e-5)
    assert all(len(set(numbers)) == 100 for numbers in best[1].tolist())


def test_ties_between_parts_go_to_the_lower_row() -> None:
    same = np.ones((1, 3), np.float32)
    one, other = (same, np.array([[7, 8, 9]])), (same, np.array([[1, 2, 12]]))
    assert better_of(one, other)[1].tolist() == [[1, 2, 7, 8, 9, 12]]


def test_recall_counts_the_true_rows_that_are_found(indexes: dict[Layout, faiss.Index]) -> None:
    index = indexes[LAYOUTS[0]]
    queries = faiss.rev_swig_ptr(index.get_xb(), ROWS * DIMENSION).reshape(ROWS, DIMENSION)[:40]
    _, truth = index.search(queries, 10)
    assert recall(index, queries, truth) == 1
    half = truth.copy()
    half[:, 5:] = -2
    assert recall(index, queries, half) == 0.5


def test_effort_is_the_least_that_reaches_the_target(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray
) -> None:
    layout = LAYOUTS[3]
    index = faiss.clone_index(indexes[layout])
    queries = rows[:100]
    truth = nearest(rows, 0, queries)[1]
    low = choose_effort(index, layout, queries, truth, target_recall=0.3, most_ms=None)
    high = choose_effort(index, layout, queries, truth, target_recall=0.9, most_ms=None)
    assert low.recall >= 0.3 and high.recall >= 0.9 and low.effort < high.effort
    assert recall(index, queries, truth) == high.recall
    set_effort(index, high.effort // 2)
    assert recall(index, queries, truth) < 0.9
    never = choose_effort(index, layout, queries, truth, target_recall=1.1, most_ms=None)
    assert never.recall >= high.recall
    set_effort(index, 2 * never.effort)
    assert recall(index, queries, truth) < never.recall + 0.001


def test_a_latency_takes_effort_as_far_as_it_gains(
    indexes: dict[Layout, faiss.Index], rows: np.ndarray
) -> None:
    layout = LAYOUTS[3]
    index = faiss.clone_index(indexes[layout])
    queries = rows[:100]
    truth = nearest(rows, 0, queries)[1]
    tight = choose_effort(index, layout, queries, truth, target_recall=0.9, most_ms=1e-9)
    loose = choose_effort(index, layout, queries, truth, target_recall=0.1, most_ms=1e9)
    assert tight.effort == 1 and tight.latency_ms > 1e-9
    assert loose.recall > 0.9 and loose.effort > 1


def test_threads_are_put_back(indexes: dict[Layout, faiss.Index], rows: np.ndarray) -> None:
    before = faiss.omp_get_max_threads()
    with pytest.raises(KeyError), faiss_threads(before + 3):
        assert faiss.omp_get_max_threads() == before + 3
        raise KeyError
    assert latency_ms(indexes[LAYOUTS[0]], rows[:5]) > 0
    assert faiss.omp_get_max_threads() == before
