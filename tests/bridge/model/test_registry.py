"""Tests of bridge/model/registry.py and method.py: any method goes everywhere BRIDGE goes."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

import bridge
from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.dataset.manifest import open_manifest
from bridge.model.checkpoint import load, save_model
from bridge.model.config import BridgeConfig, ModelConfig
from bridge.model.embedding import embed_encoded
from bridge.model.method import Description, RetrievalModel, build_classifier
from bridge.model.network import Bridge
from bridge.model.registry import METHODS, Method, restore_config
from bridge.training.cost import estimate
from bridge.training.examples import draw_examples
from bridge.training.losses import LossConfig
from bridge.training.recipe import Recipe
from bridge.training.selection import select_training_images
from bridge.training.trainer import Trainer
from bridge.training.validation import load_validation_data
from tests.factories import make_dataset


@dataclass(frozen=True)
class MeanConfig(ModelConfig):
    """A method of one average, with an option of its own."""

    method: ClassVar = "mean"  # type: ignore[misc]

    hidden: int = 8


class Mean(RetrievalModel):
    """The average over the map, projected twice; says nothing besides."""

    def __init__(self, config: MeanConfig, weights: str = "none") -> None:
        super().__init__(config, weights)
        self.hidden = nn.Linear(self.backbone.num_features, config.hidden)
        self.project = nn.Linear(config.hidden, config.descriptor_dim)
        self.classifier = build_classifier(config)

    def describe_features(self, features: torch.Tensor) -> Description:
        return Description(self.project(self.hidden(features.mean(dim=(2, 3))).relu()))


@pytest.fixture
def mean(monkeypatch: pytest.MonkeyPatch) -> MeanConfig:
    monkeypatch.setitem(METHODS, "mean", Method(MeanConfig, Mean))
    return MeanConfig(backbone="resnet18", image_size=(24, 32), descriptor_dim=12)


def test_models_by_name() -> None:
    model = bridge.create_model(
        "bridge", backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8
    )
    assert isinstance(model, Bridge) and model.classifier is None
    assert model.config == BridgeConfig("resnet18", (24, 32), num_classes=0, cls_dim=16, aux_dim=8)
    assert model.embed(torch.zeros(2, 3, 24, 32)).shape == (2, 128)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        (
            "nonsense",
            {},
            "`method` must be one of bridge, delg, dolg, token, pretrained, histogram, not",
        ),
        ("bridge", {"colour": 1}, "The method bridge has no options 'colour'."),
        ("bridge", {"cls_dim": 0}, "`cls_dim` must be at least 1, not 0."),
        ("bridge", {"backbone": "nonsense"}, "There is no backbone named 'nonsense'"),
    ],
)
def test_what_cannot_be_built_is_said(method: str, options: dict, message: str) -> None:
    with pytest.raises(InputError) as error:
        bridge.create_model(method, **options)
    assert message in str(error.value)


def test_options_of_one_method_are_not_anothers(mean: MeanConfig) -> None:
    with pytest.raises(InputError, match="no options 'hidden'"):
        bridge.create_model("bridge", hidden=3)
    with pytest.raises(InputError, match="no options 'cls_dim'"):
        restore_config("mean", {"cls_dim": 3}, "The model x")


def test_folders_say_which_method_they_hold(mean: MeanConfig, tmp_path: Path) -> None:
    model = Mean(replace(mean, num_classes=3))
    save_model(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["method"] == "mean" and config["model"]["hidden"] == 8
    assert "Descriptor model: mean" in (tmp_path / "README.md").read_text()
    again = load(tmp_path)
    assert isinstance(again, Mean) and again.config == model.config
    images = torch.rand(2, 3, 24, 32)
    torch.testing.assert_close(again.embed(images), model.embed(images), rtol=0, atol=0)
    (tmp_path / "config.json").write_text(json.dumps(config | {"method": "other"}))
    with pytest.raises(InputError, match="holds the method 'other'"):
        load(tmp_path)


def test_folders_of_before_methods_had_names_hold_bridge(tmp_path: Path) -> None:
    save_model(Bridge(BridgeConfig("resnet18", (24, 32), cls_dim=16, aux_dim=8)), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    del config["method"]
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert isinstance(load(tmp_path), Bridge)


def test_another_method_trains_validates_and_embeds(mean: MeanConfig, tmp_path: Path) -> None:
    folder = str(tmp_path / "data")
    make_dataset(tmp_path / "data", {"train": 3, "validation": 3}, trajectories=6)
    manifest = open_manifest(folder)
    recipe = Recipe(epochs=2, batch_size=6, learning_rate=1e-3, loss=LossConfig(classification=1))
    data = select_training_images(folder, manifest, recipe).load()
    model = Mean(replace(mean, num_classes=3))
    trainer = Trainer(model, recipe, data, load_validation_data(folder, manifest, 0))
    before = model.project.weight.detach().clone()
    events = list(trainer.run())
    assert events[-1].step == trainer.total_steps and not torch.equal(model.project.weight, before)
    assert 0 <= events[-1].metrics["validation/map"] <= 1
    assert not {"loss/blur", "loss/localisation"} & events[-1].metrics.keys()
    assert draw_examples(model, trainer.example_batch(2)).ndim == 3
    assert estimate(model, recipe, images_per_step=7, total_steps=1, device="cpu").parameters
    trainer.save_model(tmp_path / "model")
    picture = encode(np.zeros((24, 32, 3), np.uint8))
    embedded = embed_encoded(bridge.load(tmp_path / "model"), [picture])
    assert embedded.descriptors.shape == (1, 12)
    assert embedded.blur_severity is None and embedded.boxes is None
