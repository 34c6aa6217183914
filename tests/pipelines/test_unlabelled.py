"""Photos of which nothing is known but themselves: indexed and searched, not evaluated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.index.folder import IndexManifest, open_index_manifest, read_descriptors
from bridge.index.searcher import Searcher
from pipelines import build_index, evaluate, search
from pipelines.build_index import BuildIndexConfig
from pipelines.stages.evaluation_options import EvaluateConfig
from tests.factories import make_dataset, make_unlabelled
from tests.searchable import make_model, without_actors


@without_actors()
def build(folder: Path, **options: str) -> IndexManifest:
    out, model = str(folder / "index"), str(folder / "model")
    return build_index.run(
        BuildIndexConfig(model=model, data=str(folder / "photos"), out=out, **options)
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """A folder with `photos`, the `model` and their `index`."""
    folder = tmp_path_factory.mktemp("unlabelled")
    make_unlabelled(folder / "photos")
    make_model(folder / "model")
    build(folder)
    return folder


def test_they_are_the_database(photos: Path) -> None:
    manifest = open_index_manifest(str(photos / "index"))
    assert manifest.counts == {"database": 66}
    rows = read_descriptors(str(photos / "index"), manifest)
    assert set(rows.object_ids) == {None} and not rows.blur_levels.any()


def test_they_are_found_with_the_level_that_the_network_estimates(photos: Path) -> None:
    labels = read_labels(str(photos / "photos"), open_manifest(str(photos / "photos")), "real")
    searcher = Searcher(str(photos / "index"))
    picture = labels.take(np.array([7])).read_images()[0]
    (found,) = searcher.search([picture], top=3)
    best = found.results[0].entry
    assert best.image_id == best.name == labels.image_id[7].as_py() and best.object_id is None
    assert best.is_estimated and best.blur_level == found.blur_level
    assert best.blur_level in searcher.catalogue.levels and 0 not in searcher.catalogue.levels
    (filtered,) = searcher.search([picture], top=66, blur_levels=[best.blur_level])
    assert {hit.entry.blur_level for hit in filtered.results} == {best.blur_level}
    assert searcher.catalogue.objects() == []
    with pytest.raises(InputError, match="no object 'mug'"):
        searcher.search([picture], objects=["mug"])
    examples = searcher.catalogue.examples(4)
    assert len(examples) == 4 and all(example.object_id is None for example in examples)


def test_results_print_and_lie_on_a_page(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture, page = photos / "query.jpg", photos / "found.html"
    labels = read_labels(str(photos / "photos"), open_manifest(str(photos / "photos")), "real")
    picture.write_bytes(labels.take(np.array([3])).read_images()[0])
    index = str(photos / "index")
    (entry,) = search.run(search.SearchConfig(images=(picture,), index=index, html=str(page)))
    level = entry["results"][0]["blur_level"]
    assert f"~{level}" in capsys.readouterr().out
    assert f"BL ≈ {level}" in page.read_text() and "None" not in page.read_text()


def test_they_cannot_be_evaluated(photos: Path, tmp_path: Path) -> None:
    config = EvaluateConfig(index=str(photos / "index"), out=str(tmp_path / "report"))
    with pytest.raises(InputError, match="has no queries.*can be searched, but not evaluated"):
        evaluate.run(config)
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize("split", ["real", "distractor"])
def test_beside_labelled_images_they_are_only_confused_with_them(
    split: str, tmp_path: Path, ray_cluster: None
) -> None:
    make_dataset(tmp_path / "photos", {"test": 3})
    make_unlabelled(tmp_path / "others", split, objects=1)
    make_model(tmp_path / "model")
    name = "real" if split == "real" else "distractors"
    manifest = build(tmp_path, **{name: str(tmp_path / "others")})
    results = evaluate.run(
        EvaluateConfig(index=str(tmp_path / "index"), out=str(tmp_path / "report"))
    )["index"]
    expected = {"mixed", "per_level"}
    if split == "distractor":
        assert manifest.counts["distractor"] == 22
        expected |= {"mixed_with_distractors"}
    assert expected <= set(results)
