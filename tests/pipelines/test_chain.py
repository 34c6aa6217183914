"""Every stage eats what the one before it has made: from meshes to ranked images."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.common import storage
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from pipelines import build_index, evaluate, search, train
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.search import SearchConfig
from pipelines.stages.train_options import TrainConfig


def test_a_simulated_picture_is_found_by_a_trained_network(
    dataset: Path, training: TrainConfig, tmp_path: Path
) -> None:
    """The demonstration at its smallest; `dataset` is simulated by the cluster of the suite."""
    trained = train.run(
        replace(
            training,
            data=str(dataset),
            out=str(tmp_path / "run"),
            num_workers=0,
            recipe=replace(training.recipe, epochs=1),
        )
    )
    index = build_index.run(
        BuildIndexConfig(
            model=trained.model, data=str(dataset), out=str(tmp_path / "index"), num_workers=1
        )
    )
    manifest = open_manifest(str(dataset))
    assert index.datasets == {storage.absolute(str(dataset)): manifest.content_hash}
    results = evaluate.run(
        EvaluateConfig(index=str(tmp_path / "index"), out=str(tmp_path / "report"))
    )
    document = json.loads((tmp_path / "report" / "metrics.json").read_text())
    found = results["index"]["mixed"].map["retrieved"]
    assert 0 < found <= 1 and document["protocols"]["mixed"]["map"] == pytest.approx(found)

    labels = read_labels(str(dataset), manifest, "test")
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(labels.read_images()[0])
    [answer] = search.run(SearchConfig(images=(picture,), index=str(tmp_path / "index"), top=3))
    assert len(answer["results"]) == 3
    assert {result["object_id"] for result in answer["results"]} <= set(labels.object_ids())
