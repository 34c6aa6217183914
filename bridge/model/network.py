"""BRIDGE: from an image to a descriptor that is robust to object motion blur (Sec. 3.1, Fig. 2).

Where the paper's text and the published weights differ, this follows the weights: a GeM pooling
per head, ReLU after each projection, and L2 norms after pooling and at the end.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from torch import nn

from bridge.common.errors import InputError
from bridge.model.backbones import Norm, build_backbone
from bridge.model.classifiers import ArcFace, CurricularFace

HeadName = Literal["cls", "blur", "loc"]
HEADS: tuple[HeadName, ...] = get_args(HeadName)
"""All heads, in the order in which their features are concatenated."""
OUTPUTS = {"cls": 0, "blur": 1, "loc": 4}
"""Numbers that a head predicts."""
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


@dataclass(frozen=True)
class ModelConfig:
    """The architecture. The defaults are the paper's.

    Raises:
        InputError: no heads, unknown ones or another order, or sizes that are not positive.
    """

    backbone: str = "resnet50"
    """resnet18 .. resnet152 (torchvision), else the name of a convolutional network of timm."""
    image_size: tuple[int, int] = (240, 320)
    """Height and width to which `embed` brings images."""
    norm: Norm = "none"
    """What becomes of BatchNorm: removed (none, the paper's), removed with its effect kept in the
    convolutions (folded), with frozen statistics, or ordinary (batch)."""
    stem_pool: bool = False
    """Keep the max-pooling of torchvision's ResNets: a quarter of the cost, half the resolution."""
    imagenet_norm: bool = False
    """Subtract ImageNet's mean and divide by its standard deviation; the paper only scales."""
    heads: tuple[HeadName, ...] = HEADS
    """Heads whose features make the descriptor."""
    cls_dim: int = 2048
    """C_c: features of the classification head."""
    aux_dim: int = 1024
    """C_b and C_l: features of the blur estimation and localisation heads."""
    aux_hidden: int = 256
    """Hidden units between those features and the prediction."""
    descriptor_dim: int = 128
    """d."""
    num_classes: int = 792
    """N: training objects; 0 leaves the classifier out."""
    classifier: Literal["curricular", "arcface"] = "curricular"
    """CurricularFace (behind the published numbers) or ArcFace (the paper's Eq. 10)."""
    arcface_margin: float = 0.15
    """m of Eq. 10, radians."""
    arcface_scale: float = 30.0
    """gamma of Eq. 9."""

    def __post_init__(self) -> None:
        if not self.heads or self.heads != tuple(h for h in HEADS if h in self.heads):
            raise InputError(
                f"The heads {self.heads} must be one or more of {HEADS}, in this order."
            )
        sizes = (*self.image_size, self.cls_dim, self.aux_dim, self.aux_hidden, self.descriptor_dim)
        if min(sizes) < 1 or self.num_classes < 0:
            raise InputError("The sizes of a model must be positive numbers.")


PAPER = ModelConfig()
QUICK = ModelConfig(
    backbone="tf_efficientnet_lite0",
    image_size=(60, 80),
    norm="folded",
    imagenet_norm=True,
    cls_dim=512,
    aux_dim=256,
)
"""For two CPU cores; meant to start from ImageNet weights."""


class BridgeOutput(NamedTuple):
    """What the network says about B images.

    Attributes:
        descriptor: float32 [B, d], of length 1 up to the 1e-6 in the divisor (`embed` is exact).
        blur: float32 [B], predicted 1 - BS in (0, 1); None without that head.
        box: float32 [B, 4], predicted cx, cy, w, h in (0, 1); None without that head.
    """

    descriptor: torch.Tensor
    blur: torch.Tensor | None
    box: torch.Tensor | None


class GeM(nn.Module):
    """Generalised mean over the positions of a feature map, with a learned power (Eq. 1)."""

    def __init__(self, p: float = 3.0) -> None:
        super().__init__()
        self.p = nn.Parameter(torch.full((1,), p))

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """float32 [B, C, h, w] to [B, C]; values below 1e-6 count as 1e-6."""
        return features.clamp(min=1e-6).pow(self.p).mean(dim=(-2, -1)).pow(1 / self.p)


class Head(nn.Module):
    """One branch of Fig. 2: pool, project, and predict what the head is trained on."""

    def __init__(self, channels: int, dim: int, hidden: int, outputs: int) -> None:
        super().__init__()
        self.gem = GeM()
        self.project = nn.Linear(channels, dim)
        self.outputs = outputs
        if outputs:
            self.hidden = nn.Linear(dim, hidden)
            self.predict = nn.Linear(hidden, outputs)

    def forward(self, features: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Map [B, C, h, w] to features [B, dim] and predictions [B, outputs] in (0, 1)."""
        projected = self.project(_unit(self.gem(features))).relu()
        if not self.outputs:
            return projected, None
        return projected, self.predict(self.hidden(projected).relu()).sigmoid()


class Bridge(nn.Module):
    """The network of Fig. 2, with the classifier that only training uses.

    Attributes:
        config: the architecture.
        classifier: `classifier(descriptor, objects)` gives logits; None without classes.
    """

    def __init__(self, config: ModelConfig, weights: str = "none") -> None:
        """Build the network; `weights` of the backbone as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does.
        """
        super().__init__()
        self.config = config
        self.backbone = build_backbone(
            config.backbone, norm=config.norm, weights=weights, keep_stem_pool=config.stem_pool
        )
        # Twice as fast as the default layout on CPUs, and what tensor cores want.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        channels = self.backbone.num_features
        dims = {h: config.cls_dim if h == "cls" else config.aux_dim for h in config.heads}
        self.heads = nn.ModuleDict(
            {h: Head(channels, dim, config.aux_hidden, OUTPUTS[h]) for h, dim in dims.items()}
        )
        self.fuse = nn.Linear(sum(dims.values()), config.descriptor_dim)
        self.classifier = _classifier(config)
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if config.imagenet_norm else ((0.0,), (1.0,))
        self.register_buffer("_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(std)[:, None, None], persistent=False)

    def forward(self, images: torch.Tensor) -> BridgeOutput:
        """Describe images float [B, 3, H, W] with values in 0..1, at the size they have."""
        if self.config.imagenet_norm:
            images = (images - self._mean) / self._std
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        # Cubes and norms leave the range and the precision of half-width floats.
        with torch.autocast(images.device.type, enabled=False):
            return self._describe(features.float())

    def _describe(self, features: torch.Tensor) -> BridgeOutput:
        """Eq. 2, on a float32 map [B, C, h, w]."""
        outputs = {name: head(features) for name, head in self.heads.items()}
        projected = torch.cat([features for features, _ in outputs.values()], dim=1)
        blur = outputs["blur"][1].squeeze(1) if "blur" in outputs else None
        box = outputs["loc"][1] if "loc" in outputs else None
        return BridgeOutput(_unit(self.fuse(projected)), blur, box)

    def embed(self, images: torch.Tensor) -> torch.Tensor:
        """Descriptors for retrieval, whatever mode the network is in.

        Args:
            images: RGB [B, 3, H, W] on any device, uint8 or float with values in 0..1; other sizes
                than the network's are resized (bilinear, antialiased).

        Returns:
            float32 [B, d] of length 1, on the network's device.

        Raises:
            ValueError: another shape or type, or floats outside 0..1.
        """
        return self.describe(images).descriptor

    @torch.no_grad()
    def describe(self, images: torch.Tensor) -> BridgeOutput:
        """`embed`, and what the blur and the localisation head say of the same images."""
        _check_images(images)
        pixels = images.to(self.fuse.weight.device)
        pixels = pixels.float() if images.is_floating_point() else pixels.float() / 255
        if not len(images):
            return self._nothing()
        if tuple(pixels.shape[2:]) != self.config.image_size:
            pixels = F.interpolate(pixels, self.config.image_size, mode="bilinear", antialias=True)
        with _evaluating(self):
            output = self(pixels)
        return output._replace(descriptor=F.normalize(output.descriptor))

    def _nothing(self) -> BridgeOutput:
        """What there is to say about no images."""
        empty = self.fuse.weight.new_zeros
        return BridgeOutput(
            empty(0, self.config.descriptor_dim, dtype=torch.float32),
            empty(0, dtype=torch.float32) if "blur" in self.heads else None,
            empty(0, 4, dtype=torch.float32) if "loc" in self.heads else None,
        )


def _classifier(config: ModelConfig) -> ArcFace | CurricularFace | None:
    if not config.num_classes:
        return None
    kind = CurricularFace if config.classifier == "curricular" else ArcFace
    size = (config.descriptor_dim, config.num_classes)
    return kind(*size, config.arcface_margin, config.arcface_scale)


def _unit(vectors: torch.Tensor) -> torch.Tensor:
    return vectors / (vectors.norm(dim=1, keepdim=True) + 1e-6)


def _check_images(images: torch.Tensor) -> None:
    if images.ndim != 4 or images.shape[1] != 3 or 0 in images.shape[2:]:
        raise ValueError(f"Images must have the shape [B, 3, H, W], not {list(images.shape)}.")
    if images.dtype != torch.uint8 and not images.is_floating_point():
        raise ValueError(f"Images must be uint8, or float with values in 0..1, not {images.dtype}.")
    if images.is_floating_point() and len(images):
        low, high = (float(value) for value in images.aminmax())
        # Resampling filters overshoot by rounding errors.
        if not (low >= -1e-3 and high <= 1 + 1e-3):
            raise ValueError(f"Float images must lie in 0..1, not in {low:g}..{high:g}.")


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Evaluation mode inside, every submodule's own mode again afterwards."""
    modes = [(child, child.training) for child in module.modules()]
    module.eval()
    try:
        yield
    finally:
        for child, training in modes:
            child.training = training
