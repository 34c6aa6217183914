"""From a model and a dataset to an index and a report."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch

import bridge
from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import Manifest, ShardResult, open_manifest
from bridge.dataset.shards import write_shard
from bridge.dataset.splits import queries_and_database
from bridge.index.folder import open_index_manifest, read_descriptors
from bridge.index.rows import RowReader
from bridge.index.search import load_index
from bridge.metrics import K_BY_PROTOCOL, evaluate_retrieval
from pipelines import build_index, evaluate
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.stages import embedding_plan, engine, evaluation, index_parts
from tests.factories import make_dataset
from tests.ranking import ROUNDING
from tests.searchable import make_model, without_actors

pytestmark = pytest.mark.usefixtures("ray_cluster")


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
    original = embedding_plan.ROWS_PER_PART
    embedding_plan.ROWS_PER_PART = 64  # several parts, so that both actors work
    build_index.run(config)
    embedding_plan.ROWS_PER_PART = original
    return Path(config.out)


@pytest.fixture
def here() -> Iterator[None]:
    """What is embedded is embedded in this process."""
    with without_actors():
        yield


def test_index_holds_the_selected_rows_with_their_descriptors(
    index: Path, config: BuildIndexConfig
) -> None:
    rows = [row for p in sorted((index / "descriptors").iterdir()) for row in _rows(p)]
    labels = read_labels(config.data, open_manifest(config.data), "test")
    sides = queries_and_database(labels, config.seed)
    for role, selected in (
        ("query", sides.queries),
        ("database", sides.database),
        ("database_per_level", sides.per_level),
    ):
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
        said = model.describe(image[None])
        # One image rounds otherwise than a batch of them.
        for name, value in (
            ("descriptor", said.descriptor),
            ("predicted_blur_severity", 1 - said.visibility),
            ("predicted_bbox", said.box),
        ):
            np.testing.assert_allclose(row[name], value[0], rtol=0, atol=ROUNDING)
        place = labels.image_id.to_pylist().index(row["image_id"])
        assert row["blur_severity"] == labels.blur_severity[place]
        np.testing.assert_array_equal(row["bbox"], labels.bbox[place])


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
    monkeypatch.setattr(embedding_plan, "ROWS_PER_PART", 64)
    # Fewer blocks than parts, as for very many.
    monkeypatch.setattr(engine, "MOST_BLOCKS", 2)
    build_index.run(replace(config, out=str(copy)))
    for path in (index / "descriptors").iterdir():
        assert (copy / "descriptors" / path.name).read_bytes() == path.read_bytes()
    assert (copy / "index.faiss").read_bytes() == (index / "index.faiss").read_bytes()


@pytest.mark.usefixtures("here")
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


def test_parts_of_other_indexes_are_taken_over(
    index: Path, config: BuildIndexConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedding_plan, "ROWS_PER_PART", 64)

    def embed_nothing(parts: list, *_: object) -> list:
        assert not parts
        return []

    monkeypatch.setattr(index_parts, "embed_parts", embed_nothing)
    other = index.parent / "without_distractors"
    manifest = build_index.run(replace(config, distractors=None, out=str(other)))
    assert "distractor" not in manifest.counts and manifest.complete
    for path in (other / "descriptors").iterdir():
        assert path.read_bytes() == (index / "descriptors" / path.name).read_bytes()


@pytest.mark.usefixtures("here")
def test_rows_are_added_to_an_index(index: Path, config: BuildIndexConfig, tmp_path: Path) -> None:
    """Distractors that come later are as good as those that were there from the start."""
    make_dataset(tmp_path / "more", {"distractor": 2}, trajectories=3, first=200)
    out = str(tmp_path / "added" / "index")
    alone = build_index.run(replace(config, distractors=None, out=out))
    added = BuildIndexConfig(out=out, add=(str(config.distractors), str(tmp_path / "more")))
    manifest = build_index.run(added)
    assert manifest.counts["distractor"] > 0
    assert manifest.counts["database"] == alone.counts["database"]
    rows = read_descriptors(out, manifest)
    faiss_index = load_index(Path(out) / "index.faiss")
    expected = rows.only("database", "distractor").descriptors
    np.testing.assert_array_equal(faiss_index.reconstruct_n(0, faiss_index.ntotal), expected)
    reader = RowReader(out, manifest)
    assert len(reader) == len(expected)
    last = reader.rows([len(expected) - 1])[0]
    assert last["object_id"] == "shape0/201" and last["role"] == "distractor"
    # The same command, and the first one, find everything done.
    assert build_index.run(added) == manifest
    assert build_index.run(replace(config, distractors=None, out=out)) == manifest
    with pytest.raises(InputError, match="no index at .* to add to"):
        build_index.run(replace(added, out=str(tmp_path / "none")))


@pytest.mark.usefixtures("here")
def test_real_images_make_the_protocol_real(config: BuildIndexConfig, tmp_path: Path) -> None:
    make_dataset(tmp_path / "real", {"real": 3}, trajectories=3, first=300)
    built = build_index.run(
        replace(
            config, distractors=None, real=str(tmp_path / "real"), out=str(tmp_path / "i" / "real")
        )
    )
    results = evaluation.evaluate(read_descriptors(str(tmp_path / "i" / "real"), built))
    assert set(results) == {"mixed", "per_level", "real"}
    # One trajectory of eleven images is each object's query, the other two its database.
    assert results["real"].num_queries == 3 * 11 and results["real"].num_database == 3 * 22


def test_nodes_of_a_cluster_share_the_queries(index: Path) -> None:
    rows = read_descriptors(str(index), open_index_manifest(str(index)))
    alone, shared = evaluation.evaluate(rows), evaluation.evaluate(rows, blocks=3)
    assert list(alone) == list(shared) == list(K_BY_PROTOCOL)[:4]
    for name, result in alone.items():
        assert result.map == pytest.approx(shared[name].map, abs=1e-9)
        assert result.map_by_query_blur_level == shared[name].map_by_query_blur_level


def test_too_few_trajectories_for_a_database_are_refused(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    make_dataset(tmp_path / "data", {"test": 3}, trajectories=1)
    small = replace(config, data=str(tmp_path / "data"), distractors=None)
    with pytest.raises(InputError, match="too few test objects or trajectories"):
        build_index.run(replace(small, out=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()


@pytest.mark.usefixtures("here")
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


def _damage(dataset: Path, row: int, kind: str = "distractors") -> None:
    """Make one image of a dataset unreadable, with a manifest that says nothing of it."""
    old = next(iter(open_manifest(str(dataset)).shards.values()))
    rows = pq.read_table(dataset / old.record.path).to_pylist()
    rows[row]["image"]["bytes"] = b"torn"
    from bridge.dataset.schema import to_table

    record = write_shard(str(dataset), old.record.path, old.record.split, to_table(rows))
    result = ShardResult(record, old.objects, old.trajectories, old.by_blur_level)
    Manifest(kind, {}).with_shards([result]).finished().save(str(dataset))


@pytest.mark.usefixtures("here")
def test_an_image_with_two_roles_may_be_unreadable(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    make_dataset(tmp_path / "data", {"test": 4})
    labels = read_labels(str(tmp_path / "data"), open_manifest(str(tmp_path / "data")), "test")
    sides = queries_and_database(labels, config.seed)
    both = np.intersect1d(sides.database, sides.per_level)
    _damage(tmp_path / "data", row=int(labels.row[both[0]]), kind="dataset")
    damaged = replace(config, data=str(tmp_path / "data"), distractors=None, max_rejected=0.1)
    manifest = build_index.run(replace(damaged, out=str(tmp_path / "out" / "index")))
    assert [len(part.unreadable) for part in manifest.parts] == [0, 1, 1]
    assert len(manifest.unreadable) == 1


@pytest.mark.usefixtures("here")
def test_another_model_or_dataset_in_its_place_is_noticed(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    for name in ("model", "data"):
        shutil.copytree(getattr(config, name), tmp_path / name)
    make_dataset(tmp_path / "more", {"distractor": 1}, trajectories=2, first=200)
    out = str(tmp_path / "out" / "index")
    own = {"model": str(tmp_path / "model"), "data": str(tmp_path / "data")}
    first = build_index.run(replace(config, distractors=None, out=out, **own))
    with pytest.raises(InputError, match="has no distractor images"):
        build_index.run(replace(config, **own, out=out, distractors=own["data"]))
    add = BuildIndexConfig(out=out, add=(str(tmp_path / "more"),), num_cpus=2)
    shutil.rmtree(own["model"])
    make_model(tmp_path / "model", seed=5)
    with pytest.raises(InputError, match="not the model that built the index"):
        build_index.run(add)
    shutil.rmtree(own["model"])
    shutil.move(shutil.copytree(config.model, tmp_path / "copy"), own["model"])
    shutil.rmtree(own["data"])
    make_dataset(tmp_path / "data", {"test": 3})
    with pytest.raises(InputError, match="not the dataset any more"):
        build_index.run(add)
    # What was refused left the index as it was.
    assert open_index_manifest(out) == first


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
    assert distracted["num_database"] == np.isin(rows.roles, ("database", "distractor")).sum()
    assert list(document["protocols"]) == list(K_BY_PROTOCOL)[:4]
    per_level = document["protocols"]["per_level"]
    assert set(per_level["by_database_blur_level"]) == {"1", "2", "3", "4", "5", "6"}
    # Distractors only push positives down the ranking.
    assert distracted["all"]["map"] <= mixed["all"]["map"] + 1e-9
    page = (tmp_path / "report" / "report.html").read_text()
    assert f"{100 * mixed['map']:.2f}" in page
    assert page.count("data:image/") >= 6 * 2 * 11
    assert "http://" not in page.replace("http://www.w3.org", "") and "<script src" not in page


@pytest.mark.usefixtures("here")
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
    opened = evaluation.OpenIndex(str(copy), open_index_manifest(str(copy)), rows)
    results = evaluation.evaluate(rows)
    folder = Path(rows.shards[0].as_py()).parents[1]
    folder.rename(folder.with_name("moved"))
    try:
        assert evaluation.show(opened, results, EvaluateConfig()) == []
    finally:
        folder.with_name("moved").rename(folder)
    assert "no galleries" in capsys.readouterr().out


def test_damaged_parts_are_noticed(index: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(index, copy)
    part = next((copy / "descriptors").iterdir())
    part.write_bytes(part.read_bytes()[:-1] + b"?")
    with pytest.raises(InputError, match="not the file that its manifest names"):
        read_descriptors(str(copy), open_index_manifest(str(copy)))
