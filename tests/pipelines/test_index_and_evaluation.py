"""From a model and a dataset to an index, a report and search results."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import bridge
from bridge.checkpoint import save_model
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import Manifest, ShardResult, open_manifest
from bridge.dataset.shards import write_shard
from bridge.dataset.splits import queries_and_database
from bridge.errors import InputError
from bridge.images import decode
from bridge.index import load_index
from bridge.index_folder import open_index_manifest, read_descriptors
from bridge.metrics import evaluate_retrieval
from bridge.model import Bridge, ModelConfig
from pipelines import build_index, evaluate, search
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.search import SearchConfig
from tests.factories import make_dataset

pytestmark = pytest.mark.usefixtures("ray_cluster")


def make_model(folder: Path, seed: int) -> None:
    torch.manual_seed(seed)
    config = ModelConfig(
        backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, num_classes=0
    )
    save_model(Bridge(config), folder)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> BuildIndexConfig:
    folder = tmp_path_factory.mktemp("index")
    make_dataset(folder / "data", {"train": 1, "test": 4})
    make_dataset(folder / "distractors", {"distractor": 3}, trajectories=6, first=100)
    make_model(folder / "model", seed=0)
    return BuildIndexConfig(
        model=str(folder / "model"),
        data=str(folder / "data"),
        distractors=str(folder / "distractors"),
        out=str(folder / "indexes" / "first"),
        num_cpus=2,
    )


@pytest.fixture(scope="module")
def index(config: BuildIndexConfig) -> Path:
    original = build_index.ROWS_PER_PART
    build_index.ROWS_PER_PART = 64  # several parts, so that both actors work
    build_index.run(config)
    build_index.ROWS_PER_PART = original
    return Path(config.out)


def test_index_holds_the_selected_rows_with_their_descriptors(
    index: Path, config: BuildIndexConfig
) -> None:
    rows = [row for p in sorted((index / "descriptors").iterdir()) for row in _rows(p)]
    labels = read_labels(config.data, open_manifest(config.data), "test")
    sides = queries_and_database(labels, config.seed)
    for role, selected in (("query", sides.queries), ("database", sides.database)):
        names = [labels.image_id[int(i)].as_py() for i in selected]
        assert sorted(names) == sorted(r["image_id"] for r in rows if r["role"] == role)
    assert {r["object_id"] for r in rows if r["role"] == "distractor"} == {
        f"shape{i % 3}/{i}" for i in (100, 101, 102)
    }
    assert max(r["blur_level"] for r in rows) <= 6
    counts = Counter(r["role"] for r in rows)
    manifest = json.loads((index / "manifest.json").read_text())
    assert manifest["counts"] == counts and manifest["complete"] and manifest["dimension"] == 128
    model = bridge.load(config.model)
    everything = dict(zip(labels.image_id.to_pylist(), labels.read_images(), strict=True))
    for row in [r for r in rows if r["role"] == "query"][::9]:
        image = torch.from_numpy(decode(everything[row["image_id"]]).copy()).permute(2, 0, 1)
        np.testing.assert_allclose(row["descriptor"], model.embed(image[None])[0], atol=1e-5)


def _rows(path: Path) -> list[dict]:
    return pq.read_table(path).to_pylist()


def test_faiss_index_is_database_then_distractors(index: Path) -> None:
    manifest = open_index_manifest(str(index))
    rows = read_descriptors(str(index), manifest).only("database", "distractor")
    faiss_index = load_index(index / "index.faiss")
    assert (
        faiss_index.ntotal
        == len(rows)
        == (manifest.counts["database"] + manifest.counts["distractor"])
    )
    np.testing.assert_array_equal(faiss_index.reconstruct(7), rows.descriptors[7])


def test_again_does_nothing_and_missing_parts_come_back(
    index: Path, config: BuildIndexConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path: path.stat().st_mtime_ns for path in index.rglob("*")}
    build_index.run(config)
    assert {path: path.stat().st_mtime_ns for path in index.rglob("*")} == before
    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for part in manifest["parts"][::2]:
        (copy / part["path"]).unlink()
    manifest |= {"parts": manifest["parts"][1::2], "complete": False}
    (copy / "manifest.json").write_text(json.dumps(manifest))
    (copy / "index.faiss").unlink()
    monkeypatch.setattr(build_index, "ROWS_PER_PART", 64)
    build_index.run(replace(config, out=str(copy)))
    for path in (index / "descriptors").iterdir():
        assert (copy / "descriptors" / path.name).read_bytes() == path.read_bytes()
    assert (copy / "index.faiss").read_bytes() == (index / "index.faiss").read_bytes()


def test_other_models_and_overlapping_distractors_are_refused(
    index: Path, config: BuildIndexConfig, tmp_path: Path
) -> None:
    make_model(tmp_path / "other", seed=1)
    with pytest.raises(InputError, match="another model or dataset"):
        build_index.run(replace(config, model=str(tmp_path / "other")))
    make_dataset(tmp_path / "same", {"distractor": 2}, trajectories=2)
    with pytest.raises(InputError, match="shares 2 objects"):
        build_index.run(
            replace(config, distractors=str(tmp_path / "same"), out=str(tmp_path / "x"))
        )


def test_too_few_trajectories_for_a_database_are_refused(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    make_dataset(tmp_path / "data", {"test": 3}, trajectories=1)
    small = replace(config, data=str(tmp_path / "data"), distractors=None)
    with pytest.raises(InputError, match="too few test objects or trajectories"):
        build_index.run(replace(small, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


def test_unreadable_images_are_named_and_too_many_are_an_error(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    damaged = tmp_path / "damaged"
    shutil.copytree(config.distractors or "", damaged)
    _damage(damaged, row=5)
    out = replace(config, distractors=str(damaged), out=str(tmp_path / "out"), max_rejected=0.05)
    manifest = build_index.run(out)
    assert list(manifest.unreadable) == ["shape1/100/000/5"]
    with pytest.raises(InputError, match="1 of .* images cannot be decoded"):
        build_index.run(replace(out, out=str(tmp_path / "strict"), max_rejected=0.0))


def _damage(dataset: Path, row: int) -> None:
    """Make one image of a dataset unreadable, with a manifest that says nothing of it."""
    old = next(iter(open_manifest(str(dataset)).shards.values()))
    rows = pq.read_table(dataset / old.record.path).to_pylist()
    rows[row]["image"]["bytes"] = b"torn"
    from bridge.dataset.schema import to_table

    record = write_shard(str(dataset), old.record.path, old.record.split, to_table(rows))
    result = ShardResult(record, old.objects, old.trajectories, old.by_blur_level)
    Manifest("distractors", {}).with_shards([result]).finished().save(str(dataset))


def test_report_has_the_numbers_of_the_protocols(index: Path, tmp_path: Path) -> None:
    evaluate.run(EvaluateConfig(index=str(index), out=str(tmp_path / "report")))
    document = json.loads((tmp_path / "report" / "metrics.json").read_text())
    rows = read_descriptors(str(index), open_index_manifest(str(index)))
    queries, database = rows.only("query"), rows.only("database")
    names = {name: i for i, name in enumerate(sorted(set(queries.object_ids)))}
    expected = evaluate_retrieval(
        queries.descriptors,
        database.descriptors,
        np.array([names[n] for n in queries.object_ids]),
        np.array([names[n] for n in database.object_ids]),
        query_blur_levels=queries.blur_levels,
    )
    mixed = document["protocols"]["mixed"]
    assert mixed["map"] == pytest.approx(expected.map["retrieved"])
    assert mixed["num_queries"] == len(queries) and mixed["num_database"] == len(database)
    assert set(mixed["map_by_query_blur_level"]) == {"1", "2", "3", "4", "5", "6"}
    distracted = document["protocols"]["mixed_with_distractors"]
    assert distracted["k"] == 100
    assert distracted["num_database"] == (rows.roles != "query").sum()
    # Distractors only push positives down the ranking.
    assert distracted["all"]["map"] <= mixed["all"]["map"] + 1e-9
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"{100 * mixed['map']:.2f}" in page
    assert page.count("data:image/jpeg;base64,") >= 6 * 2 * 11
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page


def test_comparison_puts_methods_side_by_side_and_refuses_other_images(
    index: Path, config: BuildIndexConfig, tmp_path: Path
) -> None:
    make_model(tmp_path / "other", seed=1)
    second = replace(config, model=str(tmp_path / "other"), out=str(tmp_path / "second"))
    build_index.run(second)
    results = evaluate.run(
        EvaluateConfig(index=str(index), compare=(second.out,), out=str(tmp_path / "report"))
    )
    assert list(results) == ["first", "second"]
    document = json.loads((tmp_path / "report" / "metrics.json").read_text())
    assert document["compared"]["second"]["protocols"]["mixed"]["map"] == pytest.approx(
        results["second"]["mixed"].map["retrieved"]
    )
    with pytest.raises(InputError, match="only be compared with other ones"):
        evaluate.run(EvaluateConfig(index=str(index), compare=(str(index),), out=str(tmp_path)))
    build_index.run(replace(second, distractors=None, out=str(tmp_path / "third")))
    with pytest.raises(InputError, match="holds other images"):
        evaluate.run(
            EvaluateConfig(
                index=str(index), compare=(str(tmp_path / "third"),), out=str(tmp_path / "r")
            )
        )


def test_reports_survive_that_the_images_are_gone(
    index: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    rows = read_descriptors(str(copy), open_index_manifest(str(copy)))
    opened = evaluate.OpenIndex(str(copy), open_index_manifest(str(copy)), rows)
    folder = Path(rows.shards[0].as_py()).parents[1]
    folder.rename(folder.with_name("moved"))
    try:
        assert evaluate.galleries(opened, 1, 0) == []
    finally:
        folder.with_name("moved").rename(folder)
    assert "no galleries" in capsys.readouterr().out


def test_search_finds_the_picture_itself(
    index: Path, config: BuildIndexConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = read_descriptors(str(index), open_index_manifest(str(index))).only("database")
    labels = read_labels(config.data, open_manifest(config.data), "test")
    names = labels.image_id.to_pylist()
    wanted = rows.image_ids[3].as_py()
    picture = tmp_path / "a.jpg"
    picture.write_bytes(labels.take(np.array([names.index(wanted)])).read_images()[0])
    found = search.run(SearchConfig(images=(picture, picture), index=str(index), top=5))
    assert len(found) == 2 and len(found[0]["results"]) == 5
    assert found[0]["results"][0]["image_id"] == wanted
    assert found[0]["results"][0]["similarity"] == pytest.approx(1, abs=1e-3)
    assert wanted in capsys.readouterr().out
    search.run(SearchConfig(images=(picture,), index=str(index), top=5, json=True))
    assert json.loads(capsys.readouterr().out)[0]["results"] == found[0]["results"]


def test_search_refuses_what_it_cannot_read(
    index: Path, config: BuildIndexConfig, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match="missing.jpg"):
        search.run(SearchConfig(images=(tmp_path / "missing.jpg",), index=str(index)))
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff torn")
    with pytest.raises(InputError, match="torn.jpg is not a readable picture"):
        search.run(SearchConfig(images=(tmp_path / "torn.jpg",), index=str(index)))
    with pytest.raises(InputError, match="not an index"):
        search.run(SearchConfig(images=(tmp_path / "torn.jpg",), index=str(tmp_path)))
    make_model(tmp_path / "other", seed=2)
    (tmp_path / "good.jpg").write_bytes(
        read_labels(config.data, open_manifest(config.data), "test")
        .take(np.array([0]))
        .read_images()[0]
    )
    with pytest.raises(InputError, match="not the model that built the index"):
        search.run(
            SearchConfig(
                images=(tmp_path / "good.jpg",), index=str(index), model=str(tmp_path / "other")
            )
        )


def test_damaged_parts_are_noticed(index: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    part = next((copy / "descriptors").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="not the file that its manifest names"):
        read_descriptors(str(copy), open_index_manifest(str(copy)))
