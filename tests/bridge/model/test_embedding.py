from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch

from bridge.common.images import decode_batch, encode
from bridge.model.config import BridgeConfig
from bridge.model.embedding import embed_encoded
from bridge.model.network import Bridge
from tests.factories import picture

SIZE = (24, 32)


@pytest.fixture(scope="module")
def model() -> Bridge:
    torch.manual_seed(0)
    config = BridgeConfig(
        backbone="resnet18", image_size=SIZE, cls_dim=16, aux_dim=8, aux_hidden=8, num_classes=0
    )
    return Bridge(config)


def pictures(count: int) -> list[np.ndarray]:
    return [picture(i, 2, SIZE, np.random.default_rng(i)) for i in range(count)]


def test_equals_embed_and_does_not_depend_on_the_batch_size(model: Bridge) -> None:
    images = pictures(11)
    encoded = [encode(image, "png") for image in images]
    expected = model.embed(torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2)).numpy()
    for batch_size in (1, 4, 64):
        embedded = embed_encoded(model, encoded, batch_size=batch_size)
        np.testing.assert_allclose(embedded.descriptors, expected, atol=1e-5)
        assert embedded.rows.tolist() == list(range(11)) and not embedded.unreadable


def test_unreadable_pictures_are_named_and_the_others_embedded(model: Bridge) -> None:
    encoded = [encode(image) for image in pictures(6)]
    whole = embed_encoded(model, encoded)
    encoded[0] = b"not a picture"
    encoded[4] = encoded[4][:100]
    embedded = embed_encoded(model, encoded, batch_size=2)
    assert embedded.rows.tolist() == [1, 2, 3, 5]
    assert embedded.unreadable.keys() == {0, 4} and all(embedded.unreadable.values())
    np.testing.assert_allclose(embedded.descriptors, whole.descriptors[[1, 2, 3, 5]], atol=1e-5)


def test_nothing_in_nothing_out(model: Bridge) -> None:
    assert embed_encoded(model, []).descriptors.shape == (0, 128)
    only_bad = embed_encoded(model, [b""])
    assert only_bad.descriptors.shape == (0, 128) and list(only_bad.unreadable) == [0]


@pytest.mark.parametrize("image_format", ["jpeg", "png"])
def test_pictures_are_decoded_as_in_training(
    model: Bridge, image_format: Literal["jpeg", "png"]
) -> None:
    large = [picture(i, 2, (100, 130), np.random.default_rng(i)) for i in range(3)]
    encoded = [encode(image, image_format) for image in large]
    pixels = np.empty((3, *SIZE, 3), np.uint8)
    assert decode_batch(encoded, pixels) == {}
    expected = model.embed(torch.from_numpy(pixels).permute(0, 3, 1, 2)).numpy()
    views = [memoryview(data) for data in encoded]
    np.testing.assert_allclose(embed_encoded(model, views).descriptors, expected, atol=1e-5)
