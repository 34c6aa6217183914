"""The floors: frozen features and colours, which go wherever a trained model goes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import bridge
from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.model.baselines.pooling import PowerMean
from bridge.model.checkpoint import load, save_model
from bridge.model.embedding import embed_encoded
from bridge.model.registry import create_model

COLOURS = {"image_size": (24, 32), "bins": 4}


def test_pretrained_features_are_those_of_the_backbone() -> None:
    model = create_model(
        "pretrained", backbone="tf_efficientnet_lite0", image_size=(60, 80), weights="imagenet"
    )
    assert model.classifier is None and model.config.descriptor_dim == 1280
    images = torch.rand(2, 3, 60, 80)
    with torch.no_grad():
        pooled = PowerMean()(model.eval().backbone((images - model._mean) / model._std))
    torch.testing.assert_close(
        model.embed(images), torch.nn.functional.normalize(pooled), rtol=1e-4, atol=1e-6
    )


def test_a_histogram_counts_colours() -> None:
    model = create_model("histogram", image_size=(2, 2), bins=3)
    # Two pixels black, one white, one half-way to full red: the nine corners are 0, 0.5 and 1.
    pixels = torch.zeros(1, 3, 2, 2)
    pixels[0, :, 0, 1] = 1
    pixels[0, 0, 1, 1] = 0.25
    descriptor = model.embed(pixels)
    expected = torch.zeros(3, 3, 3)
    expected[0, 0, 0] = 2.5
    expected[1, 0, 0] = 0.5
    expected[2, 2, 2] = 1
    torch.testing.assert_close(descriptor[0], (expected.flatten() / 4).sqrt())


def test_a_histogram_knows_no_places() -> None:
    model = create_model("histogram", **COLOURS)
    images = torch.rand(2, 3, 24, 32)
    torch.testing.assert_close(model.embed(images.flip(3)), model.embed(images))
    other = model.embed(torch.rand(2, 3, 24, 32) * 0.3)
    assert ((other * model.embed(images)).sum(dim=1) < 0.9).all()


@pytest.mark.parametrize(
    ("method", "options", "size"),
    [
        ("histogram", COLOURS, 64),
        ("pretrained", {"backbone": "test_resnet", "image_size": (48, 64)}, 96),
    ],
)
def test_folders_of_them_embed(
    method: str, options: dict[str, Any], size: int, tmp_path: Path
) -> None:
    model = create_model(method, **options)
    save_model(model, tmp_path)
    again = load(tmp_path)
    assert again.config == model.config and again.config.descriptor_dim == size
    assert "without any training" in (tmp_path / "README.md").read_text()
    rng = np.random.default_rng(0)
    pictures = [encode(rng.integers(0, 256, (48, 64, 3), dtype=np.uint8)) for _ in range(3)]
    embedded = embed_encoded(bridge.load(tmp_path), pictures)
    assert embedded.descriptors.shape == (3, size) and embedded.boxes is None
    np.testing.assert_allclose(np.linalg.norm(embedded.descriptors, axis=1), 1, rtol=1e-5)
    assert embed_encoded(again, []).descriptors.shape == (0, size)


@pytest.mark.parametrize(
    ("method", "options", "message"),
    [
        ("pretrained", {"num_classes": 3}, "has nothing to train: `num_classes` is 0"),
        ("histogram", {"num_classes": 3}, "has nothing to train: `num_classes` is 0"),
        ("pretrained", {"backbone": "resnet18", "descriptor_dim": 128}, "network is 512, not 128"),
        ("histogram", {"bins": 4, "descriptor_dim": 128}, "network is 64, not 128"),
        ("histogram", {"bins": 1}, "`bins` must be at least 2"),
        ("histogram", {"weights": "imagenet"}, "pixels has no weights"),
        ("histogram", {"backbone": "resnet18"}, "has the `backbone` pixels"),
        ("histogram", {"imagenet_norm": True}, "has no `imagenet_norm`"),
    ],
)
def test_what_they_have_not_is_refused(method: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        create_model(method, **options)
    assert message in str(error.value)
