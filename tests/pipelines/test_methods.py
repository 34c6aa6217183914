"""Whatever the method: trained, indexed, evaluated and searched by the same commands."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.model.baselines.config import DelgConfig, DolgConfig, TokenConfig
from bridge.model.checkpoint import save_model
from bridge.model.registry import create_model
from bridge.training.presets import single_images
from pipelines import build_index, evaluate, search, train
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.search import SearchConfig
from pipelines.stages.train_options import TrainConfig
from tests.factories import make_dataset
from tests.searchable import without_actors

SMALL: dict[str, Any] = {"backbone": "resnet18", "image_size": (24, 32)}
TRAINED = {
    "delg": DelgConfig(**SMALL),
    "dolg": DolgConfig(**SMALL),
    "token": TokenConfig(width=32, **SMALL),
}

MakeModel = Callable[[str], str]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("methods") / "data"
    make_dataset(folder, {"train": 3, "validation": 3, "test": 4})
    return str(folder)


@pytest.fixture
def make_model(data: str, training: TrainConfig, tmp_path: Path, ray_cluster: None) -> MakeModel:
    def make(method: str) -> str:
        if method not in TRAINED:
            size = {"image_size": (24, 32), "bins": 4}
            options = size if method == "histogram" else SMALL
            save_model(create_model(method, **options), tmp_path / "model")
            return str(tmp_path / "model")
        config = replace(
            training,
            method=method,  # type: ignore[arg-type]
            data=data,
            out=str(tmp_path / "run"),
            num_workers=0,
            model=TRAINED[method],
            recipe=single_images(replace(training.recipe, epochs=1)),
        )
        return train.run(config).model

    return make


@pytest.mark.parametrize("method", ["delg", "dolg", "token", "pretrained", "histogram"])
def test_a_method_goes_through_the_chain(
    method: str, data: str, make_model: MakeModel, tmp_path: Path
) -> None:
    index, report = str(tmp_path / "index"), str(tmp_path / "report")
    with without_actors():
        build_index.run(BuildIndexConfig(model=make_model(method), data=data, out=index))
    results = evaluate.run(EvaluateConfig(index=index, out=report))
    assert 0 < results["index"]["mixed"].map["retrieved"] <= 1
    picture = tmp_path / "picture.jpg"
    picture.write_bytes(read_labels(data, open_manifest(data), "test").read_images()[0])
    [answer] = search.run(SearchConfig(images=(picture,), index=index, top=3))
    assert len(answer["results"]) == 3
    # None of them says how blurred an image is, or where the object is.
    assert answer["blur_severity"] is answer["bbox"] is None
