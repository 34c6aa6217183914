"""What every method of retrieval is to the rest of the software, whatever its architecture.

A method maps images to descriptors, and may say how visible the object is and where. Trainer,
embedding, index and search know this interface alone; `registry` builds a method by its name.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, NamedTuple, Self

import torch
import torch.nn.functional as F
from torch import nn

from bridge.common.errors import InputError
from bridge.model.backbones import build_backbone
from bridge.model.classifiers import ArcFace, CurricularFace
from bridge.model.config import ModelConfig

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Description(NamedTuple):
    """What a network says about B images.

    Attributes:
        descriptor: float32 [B, d]; of length 1 where it comes from `describe`.
        visibility: float32 [B], predicted 1 - BS in (0, 1); None where the method does not tell.
        box: float32 [B, 4], predicted cx, cy, w, h in (0, 1); None where it does not tell.
    """

    descriptor: torch.Tensor
    visibility: torch.Tensor | None = None
    box: torch.Tensor | None = None


class RetrievalModel(nn.Module, ABC):
    """A network for retrieval, with the classifier that only training uses.

    Subclasses add what follows the encoder, and then the classifier with `build_classifier`.

    Attributes:
        inner_map: whether `describe_features` is given a pair of maps, that of twice the resolution
            first.
        config: the architecture.
        backbone: the encoder.
        classifier: `classifier(descriptor, objects)` gives logits; None without classes.
    """

    inner_map: ClassVar[bool] = False
    classifier: ArcFace | CurricularFace | None

    def __init__(self, config: ModelConfig, weights: str = "none") -> None:
        """Build the encoder; `weights` of it as in `build_backbone`.

        Raises:
            InputError: as `build_backbone` does.
        """
        super().__init__()
        self.config = config
        self.backbone = build_backbone(
            config.backbone,
            norm=config.norm,
            weights=weights,
            keep_stem_pool=config.stem_pool,
            inner_map=self.inner_map,
        )
        # Twice as fast as the default layout on CPUs, and what tensor cores want.
        self.backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        mean, std = (IMAGENET_MEAN, IMAGENET_STD) if config.imagenet_norm else ((0.0,), (1.0,))
        self.register_buffer("_mean", torch.tensor(mean)[:, None, None], persistent=False)
        self.register_buffer("_std", torch.tensor(std)[:, None, None], persistent=False)

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self._mean.device

    @abstractmethod
    def describe_features(self, features: Any) -> Description:
        """What follows the encoder, of its float32 map [B, C, h, w]; differentiable.

        With `inner_map` it is a pair: [B, C', 2h, 2w], and the map.
        """

    def forward(self, images: torch.Tensor) -> Description:
        """Describe images float [B, 3, H, W] with values in 0..1, at the size they have."""
        if self.config.imagenet_norm:
            images = (images - self._mean) / self._std
        features = self.backbone(images.contiguous(memory_format=torch.channels_last))
        # Cubes and norms leave the range and the precision of half-width floats.
        with torch.autocast(images.device.type, enabled=False):
            if isinstance(features, tuple):
                return self.describe_features(tuple(part.float() for part in features))
            return self.describe_features(features.float())

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
    def describe(self, images: torch.Tensor) -> Description:
        """`embed`, and what the method says besides of the same images."""
        _check_images(images)
        pixels = images.to(self.device)
        pixels = pixels.float() if images.is_floating_point() else pixels.float() / 255
        if not len(images):
            return self._nothing()
        if tuple(pixels.shape[2:]) != self.config.image_size:
            pixels = F.interpolate(pixels, self.config.image_size, mode="bilinear", antialias=True)
        with _evaluating(self):
            output = self(self.restored(pixels))
        return output._replace(descriptor=F.normalize(output.descriptor))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write a MODEL folder, as `bridge.model.checkpoint.save_model`."""
        _checkpoint().save_model(self, folder)

    @classmethod
    def from_pretrained(cls, path: str | Path, device: str | torch.device = "cpu") -> Self:
        """Load a network of this class, as `bridge.load`.

        Raises:
            InputError: as `bridge.load`, or it is a network of another method.
        """
        model = _checkpoint().load(path, device)
        if not isinstance(model, cls):
            raise InputError(f"{path} holds the method {model.config.method}.")
        return model

    def restored(self, images: torch.Tensor) -> torch.Tensor:
        """Images of the network's size as they are described: float [B, 3, H, W] to the same."""
        return images

    def _nothing(self) -> Description:
        """What there is to say about no images."""
        device, predictions = self.device, self.config.predictions
        return Description(
            torch.empty(0, self.config.descriptor_dim, device=device),
            torch.empty(0, device=device) if "visibility" in predictions else None,
            torch.empty(0, 4, device=device) if "box" in predictions else None,
        )


def _checkpoint() -> ModuleType:
    """What writes and reads networks, and so knows all of them: they know it by name alone."""
    return import_module("bridge.model.checkpoint")


def build_classifier(config: ModelConfig) -> ArcFace | CurricularFace | None:
    """The margin classifier of an architecture; None where it has no classes."""
    if not config.num_classes:
        return None
    kind = CurricularFace if config.classifier == "curricular" else ArcFace
    size = (config.descriptor_dim, config.num_classes)
    return kind(*size, config.arcface_margin, config.arcface_scale)


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
