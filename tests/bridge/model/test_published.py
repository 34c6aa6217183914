"""The paper's network with known weights: values of the published code, in its own file format."""

from __future__ import annotations

import zlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import bridge
from bridge.common.errors import InputError
from bridge.model.classifiers import CurricularFace
from bridge.model.config import PAPER, BridgeConfig
from bridge.model.method import Description
from bridge.model.network import Bridge
from bridge.model.published import authors_state_dict, from_authors_state_dict

TARGETS = torch.tensor([5, 700])
COLUMNS = [0, 1, 5, 700]


def synthetic(name: str, shape: torch.Size) -> torch.Tensor:
    """Weights that follow from a tensor's published name alone."""
    if name.endswith("pooling.p"):
        return torch.full(shape, 3.0)
    if name == "classifier.t":
        return torch.zeros(shape)
    normals = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(tuple(shape))
    factor = np.sqrt(2 / np.prod(shape[1:])) if len(shape) > 1 else 0.01
    return torch.from_numpy((normals * factor).astype(np.float32))


def synthetic_image() -> np.ndarray:
    y, x, c = np.meshgrid(np.arange(240), np.arange(320), np.arange(3), indexing="ij")
    return ((3 * x + 5 * y + 40 * c + x * y // 7) % 256).astype(np.uint8)


@pytest.fixture(scope="module")
def weights() -> dict[str, torch.Tensor]:
    template = authors_state_dict(Bridge(PAPER))
    return {name: synthetic(name, value.shape) for name, value in template.items()}


@pytest.fixture(scope="module")
def model(weights: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Bridge:
    """Loaded from a file in the published format."""
    path = tmp_path_factory.mktemp("published") / "best.pkl"
    torch.save({"epoch": 3, "model_state": weights, "val_mAP": torch.tensor(0.5)}, path)
    return bridge.load(path)


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    image = torch.from_numpy(synthetic_image()).permute(2, 0, 1)
    return torch.stack([image, image.flip(1)])


@pytest.fixture(scope="module")
def output(model: Bridge, images: torch.Tensor) -> Description:
    with torch.no_grad():
        return model(images.float() / 255)


def logits_and_t(model: Bridge, descriptors: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """As the published code computes them: `t` moves by 0.01, in evaluation too."""
    classifier = CurricularFace(128, 792, momentum=0.01)
    assert model.classifier is not None
    classifier.load_state_dict(model.classifier.state_dict())
    with torch.no_grad():
        return classifier(descriptors, TARGETS), classifier.t


def assert_close(actual: torch.Tensor, expected: object) -> None:
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-3, atol=1e-5)


def test_descriptors_of_the_published_code(output: Description) -> None:
    first = [0.0737766, -0.0394210, 0.1886832, 0.0088498, 0.0258791, 0.1533162, -0.1783523]
    assert_close(output.descriptor[0, :7], first)
    assert_close(output.descriptor[1, :4], [0.0743112, -0.0376905, 0.1876338, 0.0056059])
    # Not 1, but for the published epsilon; sums of 128 squares round in their last bits.
    np.testing.assert_allclose(output.descriptor.norm(dim=1), [0.9999972, 0.9999973], atol=1e-6)


def test_predictions_of_the_published_code(output: Description) -> None:
    assert output.visibility is not None and output.box is not None
    assert_close(output.visibility, [0.4943261, 0.4941727])
    assert_close(output.box[0], [0.5039638, 0.4936299, 0.4988252, 0.5044365])
    assert_close(output.box[1], [0.5037885, 0.4936004, 0.4989326, 0.5044801])


def test_logits_of_the_published_code(model: Bridge, output: Description) -> None:
    logits, t = logits_and_t(model, output.descriptor)
    assert_close(logits[0, COLUMNS], [0.1015466, 0.0749561, -5.9634910, 0.0407252])
    assert_close(logits[1, COLUMNS], [0.1036208, 0.0723014, 0.0771619, -3.3422408])
    np.testing.assert_allclose(t, [-5.8721e-05], rtol=1e-3)


def test_all_golden_values(model: Bridge, output: Description, shared_reference: Path) -> None:
    golden = np.load(shared_reference / "golden" / "model_golden.npz")
    np.testing.assert_array_equal(golden["image"], synthetic_image())
    logits, t = logits_and_t(model, output.descriptor)
    assert output.visibility is not None and output.box is not None
    computed = {
        "descriptor": output.descriptor,
        "blur": output.visibility[:, None],
        "loc": output.box,
        "arc_logits": logits,
        "arc_t": t,
    }
    for name, value in computed.items():
        error = np.abs(value.numpy() - golden[name]).max() / np.abs(golden[name]).max()
        assert error < 1e-3, name


def test_names_and_shapes_are_the_published_ones(model: Bridge, shared_reference: Path) -> None:
    import json

    published = json.loads((shared_reference / "golden" / "state_dict_shapes.json").read_text())
    ours = {name: list(value.shape) for name, value in authors_state_dict(model).items()}
    assert list(ours) == list(published)
    assert ours == published


def test_export_gives_back_what_was_loaded(model: Bridge, weights: dict[str, torch.Tensor]) -> None:
    exported = authors_state_dict(model)
    assert len(exported) == 74
    assert all(torch.equal(exported[name], value) for name, value in weights.items())


def test_a_bare_state_dict_without_classifier(
    weights: dict[str, torch.Tensor], model: Bridge, images: torch.Tensor, tmp_path: Path
) -> None:
    kept = {k: v for k, v in weights.items() if not k.startswith("classifier.")}
    torch.save(kept, tmp_path / "weights.pth")
    bare = bridge.load(tmp_path / "weights.pth")
    assert bare.classifier is None and bare.config.num_classes == 0
    small = images[:, :, :64, :64]
    with torch.no_grad():
        expected = model(small.float() / 255).descriptor
        assert torch.equal(bare(small.float() / 255).descriptor, expected)


def test_the_number_of_classes_is_read_from_the_file(weights: dict[str, torch.Tensor]) -> None:
    fewer = weights | {"classifier.weight": weights["classifier.weight"][:12]}
    assert from_authors_state_dict(fewer).config == replace(PAPER, num_classes=12)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"whitening_p2.0.bias": None}, r"1 missing \(first: fuse.bias\)"),
        ({"whitening_p9.0.bias": torch.zeros(1)}, r"1 unexpected \(first: whitening_p9.0.bias\)"),
        ({"whitening_p2.0.bias": torch.zeros(7)}, r"fuse.bias is \[7\] instead of \[128\]"),
    ],
)
def test_other_tensors_are_refused(
    weights: dict[str, torch.Tensor], change: dict[str, torch.Tensor | None], reason: str
) -> None:
    changed = {k: v for k, v in (weights | change).items() if v is not None}
    with pytest.raises(InputError, match=reason):
        from_authors_state_dict(changed)


def test_another_architecture_is_not_exported() -> None:
    small = Bridge(BridgeConfig(backbone="resnet18", num_classes=3))
    with pytest.raises(InputError, match="paper's own architecture"):
        authors_state_dict(small)
