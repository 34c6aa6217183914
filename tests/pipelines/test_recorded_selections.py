"""An index of a dataset that brings its selections."""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.index.folder import load_index_manifest
from pipelines import build_index, evaluate
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from tests.factories import make_dataset, write_selections
from tests.searchable import make_model, without_actors

pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture
def config(tmp_path: Path) -> BuildIndexConfig:
    make_dataset(tmp_path / "data", {"test": 2}, trajectories=3)
    make_dataset(tmp_path / "distractors", {"distractor": 1}, trajectories=2, first=50)
    make_model(tmp_path / "model")
    return BuildIndexConfig(
        model=str(tmp_path / "model"),
        data=str(tmp_path / "data"),
        distractors=str(tmp_path / "distractors"),
        out=str(tmp_path / "indexes" / "recorded"),
        num_cpus=2,
    )


def select(folder: Path, query_window: int) -> dict[str, list[str]]:
    """Record one trajectory of each object as a query and the others as the database."""
    labels = read_labels(str(folder), open_manifest(str(folder)), "test")
    chosen: dict[str, list[str]] = defaultdict(list)
    for name, trajectory, window in zip(
        labels.image_id.to_pylist(), labels.trajectory, labels.window, strict=True
    ):
        if trajectory == 0 and window == query_window:
            chosen["query"].append(name)
        if trajectory > 0 and window == 4:
            chosen["database"].append(name)
        if trajectory > 0 and window in (0, 4):
            chosen["database_per_level"].append(name)
    write_selections(folder, chosen)
    return chosen


@without_actors()
def test_an_index_holds_what_its_dataset_selects(config: BuildIndexConfig, tmp_path: Path) -> None:
    computed = replace(config, out=str(tmp_path / "indexes" / "computed"))
    drawn = build_index.run(computed)
    content = open_manifest(config.data).content_hash
    assert drawn.selections == {content: {"source": "computed", "seed": 0}}
    assert "selections" not in drawn.identity()

    chosen = select(tmp_path / "data", query_window=2)
    manifest = build_index.run(config)
    found: dict[str, list[str]] = defaultdict(list)
    for part in manifest.parts:
        table = pq.read_table(Path(config.out) / part.path)
        found[part.role] += table["image_id"].to_pylist()
    distractors = found.pop("distractor")
    assert distractors and found == chosen
    digest = hashlib.sha256((tmp_path / "data" / "selections.parquet").read_bytes()).hexdigest()
    recorded = json.loads((Path(config.out) / "manifest.json").read_text())["selections"]
    assert recorded == {content: {"source": "recorded", "sha256": digest}}
    assert build_index.run(config) == manifest

    # Neither index passes for the other, and their results are not compared.
    with pytest.raises(InputError, match="an index of another model or dataset .selections"):
        build_index.run(computed)
    with pytest.raises(InputError, match="holds other images"):
        evaluate.run(
            EvaluateConfig(config.out, compare=(computed.out,), out=str(tmp_path / "report"))
        )

    # Of other selections, the parts that have the same images are taken over, and no others.
    select(tmp_path / "data", query_window=3)
    with pytest.raises(InputError, match="an index of another model or dataset .selections"):
        build_index.run(config)
    add = BuildIndexConfig(out=config.out, add=(str(tmp_path / "more"),), num_cpus=2)
    make_dataset(tmp_path / "more", {"distractor": 1}, trajectories=2, first=60)
    with pytest.raises(InputError, match="selections are not those any more"):
        build_index.run(add)
    assert load_index_manifest(config.out) == manifest
    other = build_index.run(replace(config, out=str(tmp_path / "indexes" / "other")))
    keys = [{part.role: part.key for part in made.parts} for made in (manifest, other)]
    assert keys[0].pop("query") != keys[1].pop("query")
    assert keys[0] == keys[1]


def test_a_selections_file_with_unknown_images_stops_before_embedding(
    config: BuildIndexConfig, tmp_path: Path
) -> None:
    write_selections(tmp_path / "data", {"query": ["shape9/999/000/1"]})
    with pytest.raises(InputError, match=r"selections.parquet .*e.g. shape9/999/000/1"):
        build_index.run(config)
    assert not Path(config.out).exists()
