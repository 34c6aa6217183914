"""Searching an index with pictures: ranking, filters, predictions, damage."""

from __future__ import annotations

import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import bridge
from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.common.images import decode, encode
from bridge.index import rerank as rerank_module
from bridge.index.catalogue import Catalogue
from bridge.index.config import AlphaQE, Rerank, SuperGlobal
from bridge.index.folder import Descriptors, open_index_manifest, read_descriptors
from bridge.index.rerank import expanded_queries
from bridge.index.search import search
from bridge.index.searcher import Hit, Query, Searcher
from bridge.model.embedding import embed_encoded
from tests.ranking import ROUNDING, assert_nearest
from tests.searchable import make_index, make_model

LEVELS = range(1, 7)


@pytest.fixture(scope="module")
def index(searchable: Path) -> Path:
    return searchable / "index"


@pytest.fixture(scope="module")
def searcher(index: Path) -> Searcher:
    return Searcher(str(index))


@pytest.fixture(scope="module")
def rows(index: Path) -> Descriptors:
    everything = read_descriptors(str(index), open_index_manifest(str(index)))
    return everything.only("database", "distractor")


def test_results_are_the_rows_of_the_largest_inner_products(
    searcher: Searcher, rows: Descriptors
) -> None:
    pictures = [entry.picture() for entry in searcher.catalogue.entries([3, 90])]
    for number, found in zip([3, 90], searcher.search(pictures, top=len(rows)), strict=True):
        expected = rows.descriptors @ rows.descriptors[number]
        assert [hit.rank for hit in found.results] == list(range(1, len(rows) + 1))
        assert sorted(hit.row for hit in found.results) == list(range(len(rows)))
        scores = [hit.similarity for hit in found.results]
        assert_nearest([hit.row for hit in found.results], scores, expected, ROUNDING)
        assert found.results[0].row == number
        for hit in found.results[::17]:
            assert hit.entry.image_id == rows.image_ids[hit.row].as_py()
            assert hit.entry.object_id == rows.object_ids[hit.row]
            assert hit.entry.is_distractor == (rows.roles[hit.row] == "distractor")
            assert hit.entry.bbox == pytest.approx(tuple(rows.boxes[hit.row]), abs=1e-4)


def test_the_query_has_the_predictions_of_the_network(
    searcher: Searcher, rows: Descriptors
) -> None:
    found = searcher.search([searcher.catalogue.entries([5])[0].picture()])[0]
    severity = float(rows.predicted_blur_severities[5])
    assert found.blur_severity == pytest.approx(severity, abs=ROUNDING)
    assert found.blur_level == blur_level(found.blur_severity or 0)
    assert found.bbox == pytest.approx(tuple(rows.predicted_boxes[5]), abs=ROUNDING)


def test_filters_keep_the_order_of_what_they_let_through(
    searcher: Searcher, rows: Descriptors
) -> None:
    picture = searcher.catalogue.entries([0])[0].picture()
    everything = searcher.search([picture], top=len(rows))[0].results
    one = str(rows.object_ids[0])
    for levels, objects in (((2, 4), ()), ((), (one,)), ((1,), (one, "shape2/002"))):
        found = searcher.search([picture], len(rows), levels, objects)[0].results
        expected = {
            hit.row: hit.similarity
            for hit in everything
            if (not levels or hit.entry.blur_level in levels)
            and (not objects or hit.entry.object_id in objects)
        }
        assert expected and {hit.row for hit in found} == set(expected)
        scores = [hit.similarity for hit in found]
        assert scores == sorted(scores, reverse=True)
        assert scores == pytest.approx([expected[hit.row] for hit in found], abs=ROUNDING)
    assert searcher.search([picture], 5, blur_levels=(9,))[0].results == ()
    with pytest.raises(InputError, match="no object 'nothing'"):
        searcher.search([picture], objects=("nothing",))


def test_results_are_put_in_the_order_of_a_reranking(
    index: Path, searcher: Searcher, rows: Descriptors
) -> None:
    picture = searcher.catalogue.entries([3])[0].picture()
    cosines = {hit.row: hit.similarity for hit in searcher.search([picture], len(rows))[0].results}

    def found(rerank: Rerank, top: int = len(rows)) -> list[Hit]:
        results = Searcher(str(index), rerank=rerank).search([picture], top)[0].results
        assert [hit.rank for hit in results] == list(range(1, top + 1))
        shown = [hit.similarity for hit in results]
        assert shown == pytest.approx([cosines[hit.row] for hit in results], abs=ROUNDING)
        assert shown != sorted(shown, reverse=True)
        return list(results)

    options = AlphaQE(neighbours=20, alpha=1)
    best = sorted(cosines, key=lambda row: -cosines[row])[:20]
    query = rows.descriptors[[3]]
    wanted = expanded_queries(query, rows.descriptors[best][None], options)[0]
    numbers = [hit.row for hit in found(options, 30)]
    products = rows.descriptors @ wanted
    assert_nearest(numbers, products[numbers], products, 10 * ROUNDING)
    everything = found(SuperGlobal(candidates=len(rows), beta=1))
    assert {hit.row for hit in everything} == set(cosines)


def test_together_and_one_by_one_give_the_same(searcher: Searcher) -> None:
    numbers: list[int | None] = list(range(0, 200, 13))
    entries = searcher.catalogue.entries(numbers)
    queries = [
        Query(entry.picture(), 1 + place % 4, (1, 2) if place % 3 else ())
        for place, entry in enumerate(entries)
    ]
    queries.insert(2, Query(b"not a picture"))
    numbers.insert(2, None)
    together = searcher.answer(queries)
    for query, found in zip(queries, together, strict=True):
        alone = searcher.answer([query])[0]
        scores = [hit.similarity for hit in alone.results]
        assert [hit.similarity for hit in found.results] == pytest.approx(scores, abs=ROUNDING)
        assert {hit.entry.blur_level for hit in found.results} <= set(query.blur_levels or LEVELS)
        assert alone.bbox == pytest.approx(found.bbox, abs=ROUNDING)
        assert alone.error == found.error
    assert together[2].error == "UnidentifiedImageError: cannot identify image file"
    assert [len(found.results) for found in together[:5]] == [1, 2, 0, 3, 4]
    for row, query, found in zip(numbers, queries, together, strict=True):
        if row is not None and not query.blur_levels:
            assert found.results[0].row == row


def test_queries_are_embedded_in_the_precision_of_the_index(
    tmp_path: Path, ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    index = make_index(tmp_path, precision="bfloat16")
    manifest = open_index_manifest(str(index))
    stored = read_descriptors(str(index), manifest).only("database", "distractor")
    asked: list[np.ndarray] = []

    def remember(index: object, queries: np.ndarray, *rest: Any, **more: Any) -> Any:
        asked.append(queries)
        return search(index, queries, *rest, **more)

    monkeypatch.setattr(rerank_module, "search", remember)
    pictures = [entry.picture() for entry in Catalogue(str(index), manifest).entries(range(8))]
    Searcher(str(index)).search(pictures)
    model = bridge.load(manifest.model)
    single = embed_encoded(model, pictures, precision="float32").descriptors
    # Sums of another order are rounded to another of bfloat16's few digits now and then, which is
    # little beside what is lost by having so few.
    error, lost = (np.abs(asked[0] - x).mean() for x in (stored.descriptors[:8], single))
    assert error < 0.5 * lost


def test_a_picture_is_turned_as_its_camera_was_held(searcher: Searcher) -> None:
    pixels = decode(searcher.catalogue.entries([7])[0].picture())
    straight = encode(pixels, "png")
    exif = Image.Exif()
    exif[0x0112] = 6  # turned to the left, to be shown turned back
    buffer = io.BytesIO()
    Image.fromarray(np.rot90(pixels)).save(buffer, "PNG", exif=exif)
    turned, plain = searcher.search([buffer.getvalue(), straight], top=1)
    assert turned.results[0].row == plain.results[0].row == 7


def test_an_index_of_another_model_or_without_its_model_is_refused(
    index: Path, tmp_path: Path
) -> None:
    make_model(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="not the model that built the index"):
        Searcher(str(index), model=str(tmp_path / "other"))
    with pytest.raises(InputError, match="is gone: name it as `model`"):
        Searcher(str(index), model=str(tmp_path / "nowhere"))
    with pytest.raises(InputError, match="not an index"):
        Searcher(str(tmp_path))
    with pytest.raises(InputError, match="at least 1, not 0"):
        Query(b"", top=0)


def test_examples_are_queries_of_different_objects(index: Path) -> None:
    catalogue = Catalogue(str(index), open_index_manifest(str(index)))
    examples = catalogue.examples(6)
    assert len(examples) == 6 and {entry.role for entry in examples} == {"query"}
    assert len({entry.object_id for entry in examples[:4]}) == 4
    assert len({entry.blur_level for entry in examples[:4]}) > 1
    assert all(decode(entry.picture()).shape == (24, 32, 3) for entry in examples)


def test_objects_are_suggested_by_a_part_of_their_names(searcher: Searcher) -> None:
    catalogue = searcher.catalogue
    assert catalogue.objects("SHAPE1/") == ["shape1/001", "shape1/100"]
    assert catalogue.objects(most=2) == catalogue.objects()[:2]
    assert catalogue.levels == [1, 2, 3, 4, 5, 6]


def test_lost_pictures_and_damaged_parts_are_named(index: Path, tmp_path: Path) -> None:
    shutil.copytree(index.parent, tmp_path / "copy")
    copy = tmp_path / "copy" / "index"
    for part in (copy / "descriptors").iterdir():
        part.write_bytes(part.read_bytes()[:-9])
    catalogue = Catalogue(str(copy), open_index_manifest(str(copy)))
    with pytest.raises(InputError, match="is damaged"):
        _ = catalogue.levels
    original = Catalogue(str(index), open_index_manifest(str(index)))
    data = Path(original.entries([0])[0].shard).parent
    data.rename(data.with_name("moved"))
    try:
        with pytest.raises(InputError, match="is missing"):
            original.entries([0])[0].picture()
        assert original.examples(3) == []
    finally:
        data.with_name("moved").rename(data)
