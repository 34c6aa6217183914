"""The network: shapes, the equivalence of batches, and the promises of `embed`."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.model.classifiers import ArcFace, CurricularFace
from bridge.model.config import HEADS, QUICK, BridgeConfig, HeadName
from bridge.model.network import Bridge, GeM

SMALL = BridgeConfig(
    backbone="resnet18",
    image_size=(48, 64),
    cls_dim=24,
    aux_dim=16,
    aux_hidden=8,
    descriptor_dim=12,
    num_classes=5,
)
SUBSETS = [heads for size in (1, 2, 3) for heads in combinations(HEADS, size)]


@pytest.fixture(scope="module")
def model() -> Bridge:
    torch.manual_seed(0)
    return Bridge(SMALL)


def pictures(*shape: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)


@pytest.mark.parametrize("heads", SUBSETS, ids="+".join)
def test_any_heads(heads: tuple[HeadName, ...]) -> None:
    model = Bridge(replace(SMALL, heads=heads))
    output = model(torch.rand(2, 3, 48, 64))
    assert output.descriptor.shape == (2, 12)
    assert (output.visibility is not None) == ("blur" in heads)
    assert (output.box is not None) == ("loc" in heads)
    assert model.fuse.in_features == 24 * ("cls" in heads) + 16 * len(set(heads) - {"cls"})


def test_predictions_are_fractions(model: Bridge) -> None:
    output = model(torch.rand(3, 3, 48, 64))
    assert output.visibility is not None and output.box is not None
    assert output.visibility.shape == (3,) and output.box.shape == (3, 4)
    for values in (output.visibility, output.box):
        assert ((values > 0) & (values < 1)).all()


@pytest.mark.parametrize(
    "config",
    [SMALL, replace(SMALL, norm="frozen"), replace(QUICK, num_classes=4)],
    ids=["none", "frozen", "quick"],
)
def test_a_batch_equals_its_images_one_by_one_in_training(config: BridgeConfig) -> None:
    """Why all seven images of a tuple can go through the network at once."""
    model = Bridge(config).train()
    images = torch.rand(7, 3, 48, 64)
    single = torch.cat([model(image[None]).descriptor for image in images])
    torch.testing.assert_close(model(images).descriptor, single, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [(48, 64), (33, 45), (120, 31), (240, 320)])
def test_any_image_size(model: Bridge, size: tuple[int, int]) -> None:
    images = pictures(2, 3, *size)
    assert model(images.float() / 255).descriptor.shape == (2, 12)
    descriptors = model.embed(images)
    torch.testing.assert_close(descriptors.norm(dim=1), torch.ones(2))


def test_embed_is_the_same_for_bytes_and_fractions(model: Bridge) -> None:
    images = pictures(3, 3, 60, 50)
    assert torch.equal(model.embed(images), model.embed(images.float() / 255))
    half = model.embed((images.float() / 255).half())
    assert half.dtype == torch.float32


def test_embed_normalises_what_forward_gives(model: Bridge) -> None:
    images = torch.rand(2, 3, 48, 64)
    descriptor = model(images).descriptor.detach()
    expected = descriptor / descriptor.norm(dim=1, keepdim=True)
    torch.testing.assert_close(model.embed(images), expected)


def test_embed_shrinks_without_aliasing(model: Bridge) -> None:
    """A fine checkerboard is grey from afar; every third pixel of it is a checkerboard again."""
    board = (torch.arange(144)[:, None] + torch.arange(192)) % 2 * 255
    board = board.to(torch.uint8).expand(1, 3, 144, 192)
    grey = model.embed(torch.full((1, 3, 48, 64), 0.5))
    sampled = model.embed(board[:, :, 1::3, 1::3])
    assert (model.embed(board) - grey).norm() < 0.2 * (sampled - grey).norm()


def test_embed_leaves_every_module_in_its_mode() -> None:
    model = Bridge(replace(SMALL, norm="batch", backbone="resnet18")).train()
    model.heads.eval()
    before = [module.training for module in model.modules()]
    state = {name: value.clone() for name, value in model.state_dict().items()}
    embedded = model.embed(pictures(4, 3, 48, 64))
    assert [module.training for module in model.modules()] == before
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert not embedded.requires_grad
    assert torch.equal(embedded, model.eval().embed(pictures(4, 3, 48, 64)))


def test_embed_of_nothing(model: Bridge) -> None:
    assert model.embed(pictures(0, 3, 48, 64)).shape == (0, 12)


@pytest.mark.parametrize(
    ("images", "reason"),
    [
        (torch.zeros(3, 48, 64), "shape"),
        (torch.zeros(2, 48, 64, 3), "shape"),
        (torch.zeros(2, 3, 0, 64), "shape"),
        (torch.zeros(2, 3, 48, 64, dtype=torch.int64), "uint8"),
        (torch.full((2, 3, 48, 64), 255.0), "0..1"),
        (torch.full((2, 3, 48, 64), float("nan")), "0..1"),
    ],
)
def test_embed_refuses_what_is_no_image(model: Bridge, images: torch.Tensor, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        model.embed(images)


def test_half_width_floats_keep_pooling_and_norms_precise(model: Bridge) -> None:
    images = torch.rand(2, 3, 48, 64)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = model(images).descriptor
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow.norm(dim=1), torch.ones(2), rtol=0, atol=1e-4)
    assert (narrow * model(images).descriptor).sum(dim=1).min() > 0.99


def test_imagenet_normalisation_is_part_of_the_network() -> None:
    model = Bridge(replace(SMALL, imagenet_norm=True)).eval()
    plain = Bridge(SMALL).eval()
    plain.load_state_dict(model.state_dict())
    images = torch.rand(1, 3, 48, 64)
    mean = torch.tensor([0.485, 0.456, 0.406])[:, None, None]
    std = torch.tensor([0.229, 0.224, 0.225])[:, None, None]
    expected = plain((images - mean) / std).descriptor
    torch.testing.assert_close(model(images).descriptor, expected)


def test_every_parameter_learns(model: Bridge) -> None:
    output = model(torch.rand(2, 3, 48, 64))
    assert output.visibility is not None and output.box is not None and model.classifier is not None
    logits = model.classifier(output.descriptor, torch.tensor([0, 3]))
    (logits.logsumexp(1).sum() + output.visibility.sum() + output.box[:, 0].sum()).backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name
    model.zero_grad()


def test_classifiers() -> None:
    assert type(Bridge(SMALL).classifier) is CurricularFace
    assert type(Bridge(replace(SMALL, classifier="arcface")).classifier) is ArcFace
    assert Bridge(replace(SMALL, num_classes=0)).classifier is None


@pytest.mark.parametrize(
    "change",
    [
        {"heads": ()},
        {"heads": ("loc", "cls")},
        {"heads": ("cls", "box")},
        {"descriptor_dim": 0},
        {"num_classes": -1},
    ],
)
def test_impossible_configurations(change: dict[str, object]) -> None:
    with pytest.raises(InputError):
        BridgeConfig(**change)  # type: ignore[arg-type]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**31), st.floats(1, 8))
def test_gem_lies_between_mean_and_maximum(seed: int, p: float) -> None:
    features = torch.rand(2, 4, 5, 6, generator=torch.Generator().manual_seed(seed))
    pooled = GeM(p)(features)
    assert (pooled >= features.mean(dim=(2, 3)) - 1e-5).all()
    assert (pooled <= features.amax(dim=(2, 3)) + 1e-5).all()


def test_gem_of_one_is_the_mean_and_negative_values_count_as_none() -> None:
    features = torch.tensor([1.0, 3.0, -8.0, 0.0]).reshape(1, 1, 2, 2)
    torch.testing.assert_close(GeM(1.0)(features), torch.tensor([[1.0]]), rtol=0, atol=1e-5)
    expected = torch.tensor([[((1 + 27) / 4) ** (1 / 3)]])
    torch.testing.assert_close(GeM()(features), expected)
