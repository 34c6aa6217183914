"""Tests of the stages indexing.py and index_shards.py: what the search index holds, and kills."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.indexes import like_descriptors, write_descriptors
from bridge.common.errors import InputError
from bridge.dataset.roles import DATABASE, DISTRACTOR, QUERY
from bridge.index.config import INDEX_TYPES, IndexType
from bridge.index.folder import IndexManifest
from bridge.index.search import load_index, open_search_index, search
from pipelines.stages import index_shards, indexing
from pipelines.stages.index_options import IndexOptions
from pipelines.stages.indexing import build_search_index, is_current
from tests.ranking import assert_nearest

pytestmark = pytest.mark.usefixtures("ray_cluster")

DIMENSION, ROWS, ADDED, QUERIES = 16, 2100, 400, 60


@pytest.fixture(scope="module")
def rows() -> np.ndarray:
    return like_descriptors(ROWS + ADDED, DIMENSION, seed=0)


@pytest.fixture(scope="module")
def queries(rows: np.ndarray) -> np.ndarray:
    noise = np.random.default_rng(1).standard_normal((QUERIES, DIMENSION)).astype(np.float32)
    made = rows[:QUERIES] + 0.05 * noise
    return made / np.linalg.norm(made, axis=1, keepdims=True)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """An empty INDEX folder; shards of a few hundred rows, as the driver cuts them."""
    monkeypatch.setattr(index_shards, "ROWS_PER_SHARD", 500)
    return str(tmp_path / "index")


@pytest.fixture
def manifest(folder: str, rows: np.ndarray, queries: np.ndarray) -> IndexManifest:
    """Database rows, queries between them, and distractors: 300 rows in a part or fewer."""
    made = IndexManifest("", "", DIMENSION, {}, seed=0)
    for start in range(0, 1200, 300):
        made = write_descriptors(folder, made, DATABASE, rows[start : start + 300])
    made = write_descriptors(folder, made, QUERY, queries)
    for start in range(1200, ROWS, 300):
        made = write_descriptors(folder, made, DISTRACTOR, rows[start : start + 300])
    return made


def added(folder: str, manifest: IndexManifest, rows: np.ndarray) -> IndexManifest:
    return write_descriptors(folder, manifest, DISTRACTOR, rows[ROWS:])


def built(folder: str, manifest: IndexManifest, options: IndexOptions) -> IndexManifest:
    """The manifest with the record, as it comes back from a file."""
    record = build_search_index(folder, manifest, options)
    return replace(manifest, search=json.loads(json.dumps(record)))


def found(folder: str, manifest: IndexManifest, queries: np.ndarray) -> Any:
    return search(open_search_index(folder, manifest, verify=True), queries, 20)


def assert_finds(folder: str, manifest: IndexManifest, rows: np.ndarray, least: float) -> None:
    """Each row is found by itself, in the order of the searched parts, as its own number."""
    every = np.arange(0, len(rows), 7)
    similarities, numbers = found(folder, manifest, rows[every])
    assert (numbers[:, 0] == every).mean() >= least
    np.testing.assert_allclose(similarities[:, 0], 1, atol=0.1)


@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_rows_are_numbered_in_the_order_of_the_searched_parts(
    folder: str, manifest: IndexManifest, rows: np.ndarray, kind: IndexType
) -> None:
    manifest = built(folder, manifest, IndexOptions(kind))
    assert manifest.search["rows"] == ROWS and manifest.search["type"] == kind
    assert manifest.search["bytes"] == (Path(folder) / "index.faiss").stat().st_size
    assert_finds(folder, manifest, rows[:ROWS], least=1.0 if kind == "exact" else 0.95)
    assert sorted(path.name for path in Path(folder).iterdir()) == ["descriptors", "index.faiss"]


def test_the_default_is_exact(folder: str, manifest: IndexManifest, rows: np.ndarray) -> None:
    manifest = built(folder, manifest, IndexOptions())
    assert manifest.search["type"] == "exact" and "recall_at_100" not in manifest.search
    similarities, numbers = found(folder, manifest, rows[:30])
    products = rows[:30] @ rows[:ROWS].T
    assert_nearest(numbers, similarities, products, rounding=1e-5)


@pytest.mark.parametrize("kind", ["ivfpq", "hnsw"])
def test_the_stored_recall_is_that_of_the_opened_index(
    folder: str, manifest: IndexManifest, rows: np.ndarray, queries: np.ndarray, kind: IndexType
) -> None:
    manifest = built(folder, manifest, IndexOptions(kind))
    truth = np.argsort(-(queries @ rows[:ROWS].T), axis=1)[:, :100]
    _, numbers = search(open_search_index(folder, manifest), queries, 100)
    shares = [np.isin(a, b).mean() for a, b in zip(truth, numbers, strict=True)]
    assert manifest.search["recall_at_100"] == pytest.approx(np.mean(shares), abs=1e-4)
    assert manifest.search["recall_at_100"] >= 0.9 and manifest.search["latency_ms"] > 0


@pytest.mark.parametrize("kind", ["exact", "ivfpq"])
def test_equal_parts_give_equal_files_whatever_the_shards(
    folder: str, manifest: IndexManifest, monkeypatch: pytest.MonkeyPatch, kind: IndexType
) -> None:
    first = build_search_index(folder, manifest, IndexOptions(kind))
    monkeypatch.setattr(index_shards, "ROWS_PER_SHARD", 10_000)
    second = build_search_index(folder, manifest, IndexOptions(kind))
    assert first["sha256"] == second["sha256"]


@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_what_is_current_is_left_alone(
    folder: str, manifest: IndexManifest, kind: IndexType
) -> None:
    options = IndexOptions(kind)
    assert not is_current(folder, manifest, options)
    manifest = built(folder, manifest, options)
    before = (Path(folder) / "index.faiss").stat()
    assert is_current(folder, manifest, options)
    assert build_search_index(folder, manifest, options) == manifest.search
    assert (Path(folder) / "index.faiss").stat().st_ino == before.st_ino
    assert not is_current(folder, manifest, replace(options, target_recall=0.5))


@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_added_parts_are_added_to_the_index_that_is_there(
    folder: str,
    manifest: IndexManifest,
    rows: np.ndarray,
    kind: IndexType,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    more = added(folder, built(folder, manifest, IndexOptions(kind)), rows)
    assert not is_current(folder, more, IndexOptions(kind))
    # What is added is all that is read of rows; nothing is learnt again.
    monkeypatch.setattr(indexing, "train", None)
    more = built(folder, more, IndexOptions(kind))
    assert more.search["rows"] == ROWS + ADDED
    assert more.search["layout"] == manifest_layout(folder, manifest, kind)
    assert_finds(folder, more, rows, least=1.0 if kind == "exact" else 0.95)


def manifest_layout(folder: str, manifest: IndexManifest, kind: IndexType) -> dict[str, Any]:
    """The layout that the rows before the addition have alone."""
    rows = sum(part.rows for part in manifest.searched_parts)
    return vars(indexing.layouts(rows, DIMENSION, kind)[0])


@pytest.mark.parametrize("kind", ["exact", "ivfpq"])
def test_a_kill_between_the_file_and_the_manifest_changes_nothing(
    folder: str, manifest: IndexManifest, rows: np.ndarray, kind: IndexType
) -> None:
    more = added(folder, built(folder, manifest, IndexOptions(kind)), rows)
    undisturbed = build_search_index(folder, more, IndexOptions(kind))
    # The manifest still has the record from before the addition, the file has all rows.
    again = build_search_index(folder, more, IndexOptions(kind))
    assert again["rows"] == ROWS + ADDED and again["sha256"] == undisturbed["sha256"]


@pytest.mark.parametrize("kind", INDEX_TYPES)
def test_a_damaged_file_and_the_rest_of_a_killed_run_are_replaced(
    folder: str, manifest: IndexManifest, rows: np.ndarray, kind: IndexType
) -> None:
    options = IndexOptions(kind)
    manifest = built(folder, manifest, options)
    path = Path(folder) / "index.faiss"
    path.write_bytes(path.read_bytes()[:-1])
    (Path(folder) / "index.tmp").mkdir()
    (Path(folder) / "index.tmp" / "shard-00000.faiss").write_bytes(b"half")
    assert not is_current(folder, manifest, options)
    again = built(folder, manifest, options)
    assert_finds(folder, again, rows[:ROWS], least=1.0 if kind == "exact" else 0.95)
    assert not (Path(folder) / "index.tmp").exists()


def test_a_failure_leaves_the_old_index_and_no_temporary_files(
    folder: str, manifest: IndexManifest, monkeypatch: pytest.MonkeyPatch
) -> None:
    manifest = built(folder, manifest, IndexOptions())
    victim = Path(folder) / manifest.searched_parts[-1].path
    victim.write_bytes(b"not this")
    with pytest.raises(InputError, match="not the file that its manifest names"):
        build_search_index(folder, manifest, IndexOptions("ivfpq"))
    assert load_index(Path(folder) / "index.faiss").ntotal == ROWS
    assert not (Path(folder) / "index.tmp").exists()
    assert is_current(folder, manifest, IndexOptions())


def test_parts_in_another_order_make_a_new_index(
    folder: str, manifest: IndexManifest, rows: np.ndarray
) -> None:
    manifest = built(folder, manifest, IndexOptions())
    turned = built(folder, replace(manifest, parts=manifest.parts[::-1]), IndexOptions())
    _, numbers = found(folder, turned, rows[1200:1201])
    assert numbers[0, 0] == 600


def test_memory_chooses_the_type(folder: str, manifest: IndexManifest) -> None:
    enough = 1.01 * ROWS * 4 * DIMENSION / 1e9
    assert build_search_index(folder, manifest, IndexOptions(memory_gb=enough))["type"] == "exact"
    less = build_search_index(folder, manifest, IndexOptions(memory_gb=0.7 * enough))
    assert less["type"] == "ivfpq" and less["bytes"] <= 0.7e9 * enough


def test_a_latency_leaves_slow_exact_search_out(folder: str, manifest: IndexManifest) -> None:
    record = build_search_index(folder, manifest, IndexOptions("hnsw", latency_ms=1e4))
    assert record["latency_ms"] <= 1e4 and record["recall_at_100"] > 0.95


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (IndexOptions(memory_gb=1e-5), "the smallest takes"),
        (IndexOptions(latency_ms=1e-6), "the fastest that was tried takes"),
        (IndexOptions("hnsw", latency_ms=1e-6), "the fastest that was tried takes"),
    ],
)
def test_budgets_that_nothing_fits_are_refused(
    folder: str, manifest: IndexManifest, options: IndexOptions, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        build_search_index(folder, manifest, options)
    assert not (Path(folder) / "index.faiss").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"memory_gb": 0}, "`memory_gb` must be more than 0, not 0"),
        ({"latency_ms": -1.0}, "`latency_ms` must be more than 0, not -1.0"),
        ({"target_recall": 2}, "`target_recall` must be at most 1, not 2"),
        ({"target_recall": float("nan")}, "`target_recall` must be "),
        ({"index_type": "best"}, "`index_type` must be 'exact', 'ivfpq' or 'hnsw', not 'best'"),
    ],
)
def test_options_out_of_their_ranges_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        IndexOptions(**options)


def test_too_few_rows_are_refused(folder: str, rows: np.ndarray) -> None:
    empty = IndexManifest("", "", DIMENSION, {}, seed=0)
    with pytest.raises(InputError, match="no database images"):
        build_search_index(folder, empty, IndexOptions())
    few = write_descriptors(folder, empty, DATABASE, rows[:200])
    with pytest.raises(InputError, match="at least 256 rows, not 200"):
        build_search_index(folder, few, IndexOptions("ivfpq"))
    assert build_search_index(folder, few, IndexOptions())["rows"] == 200


def test_options_are_kept_where_none_are_given() -> None:
    record = {"options": {"index_type": "hnsw", "memory_gb": None, "latency_ms": 2.0}}
    assert IndexOptions().or_those_of(record) == IndexOptions("hnsw", latency_ms=2.0)
    assert IndexOptions("exact").or_those_of(record) == IndexOptions("exact")
    assert IndexOptions().or_those_of({}) == IndexOptions()
