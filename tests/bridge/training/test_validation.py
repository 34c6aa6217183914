from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.dataset.manifest import open_manifest
from bridge.metrics import evaluate_retrieval
from bridge.model.config import BridgeConfig
from bridge.model.embedding import embed_encoded
from bridge.model.network import Bridge
from bridge.training.validation import (
    CHOICE,
    STANDARD_ERROR,
    load_validation_data,
    validate,
)
from tests.factories import make_dataset, write_selections


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def model() -> Bridge:
    torch.manual_seed(0)
    return Bridge(
        BridgeConfig(backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, num_classes=0)
    )


def test_scores_are_those_of_the_benchmark(tmp_path: Path, model: Bridge) -> None:
    make_dataset(tmp_path / "data", {"train": 1, "validation": 4})
    manifest = open_manifest(str(tmp_path / "data"))
    data = load_validation_data(str(tmp_path / "data"), manifest, seed=0)
    assert data is not None
    scores = validate(model, data)
    labels, n = data.labels, data.num_queries
    descriptors = embed_encoded(model, labels.read_images()).descriptors
    expected = evaluate_retrieval(
        descriptors[:n], descriptors[n:], labels.object[:n], labels.object[n:]
    )
    assert scores["validation/map"] == pytest.approx(expected.map["retrieved"], abs=1e-6)
    assert 0 < scores[CHOICE] <= 1
    assert 0 <= scores[STANDARD_ERROR] < 1
    assert {f"validation/map_blur_level_{level}" for level in np.unique(labels.blur_level[:n])} <= (
        scores.keys()
    )


def test_some_of_the_objects_are_the_same_ones_each_time(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path / "data", {"train": 1, "validation": 6})
    folder = str(tmp_path / "data")
    found = [load_validation_data(folder, manifest, seed, objects=2) for seed in (0, 0, 1, 2, 3)]
    chosen = []
    for data in found:
        assert data is not None
        queries = data.labels.object[: data.num_queries]
        assert set(queries) == set(data.labels.object) and len(set(queries)) == 2
        chosen.append(tuple(data.labels.image_id.to_pylist()))
    assert chosen[0] == chosen[1] and len({*chosen}) > 1


def test_a_dataset_may_bring_its_validation_benchmark(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    manifest = make_dataset(folder, {"validation": 2}, trajectories=3)
    queries = ["shape0/000/000/2", "shape1/001/000/3"]
    database = ["shape0/000/001/0", "shape1/001/001/5", "shape1/001/002/6"]
    write_selections(folder, {"query": queries, "database": database})
    data = load_validation_data(str(folder), manifest, seed=0)
    assert data is not None and data.num_queries == 2 and len(data.images) == 5
    assert data.labels.image_id.to_pylist() == queries + database


def test_datasets_without_validation_objects_have_no_benchmark(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"train": 2})
    manifest = open_manifest(str(tmp_path / "data"))
    assert load_validation_data(str(tmp_path / "data"), manifest, seed=0) is None


def test_an_unreadable_validation_image_is_left_out_and_counted(
    tmp_path: Path, model: Bridge
) -> None:
    make_dataset(tmp_path / "data", {"validation": 2})
    manifest = open_manifest(str(tmp_path / "data"))
    data = load_validation_data(str(tmp_path / "data"), manifest, seed=0)
    assert data is not None

    class Broken:
        def __len__(self) -> int:
            return len(data.images)

        def __getitem__(self, row: int) -> bytes:
            return b"" if row == 3 else bytes(data.images[row])

    broken = type(data)(data.labels, Broken(), data.num_queries)  # type: ignore[arg-type]
    others = np.delete(np.arange(len(data.images)), 3)
    queries = int((others < data.num_queries).sum())

    class Without:
        def __len__(self) -> int:
            return len(others)

        def __getitem__(self, row: int) -> bytes:
            return bytes(data.images[int(others[row])])

    without = type(data)(data.labels.take(others), Without(), queries)  # type: ignore[arg-type]
    expected = validate(model, without) | {"validation/unreadable": 1}
    # Batches of other images round otherwise, and two rows that are all but equal change places.
    assert validate(model, broken) == pytest.approx(expected, abs=0.5 / queries)
