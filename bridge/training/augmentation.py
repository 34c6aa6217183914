"""Augmentation that leaves blur labels true: flips, crops with the box moved along, colour.

Blur severity is a ratio of areas and opacities, which no flip, scaling or change of colour of the
whole picture alters, as long as all of the object stays in it. Every draw follows from the seed and
the image's place in the plan alone, so it is the same whoever computes it and however often.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F

from bridge.training.recipe import Augmentation

LUMINANCE = (0.299, 0.587, 0.114)


def augment(
    images: torch.Tensor, boxes: torch.Tensor, keys: torch.Tensor, config: Augmentation
) -> tuple[torch.Tensor, torch.Tensor]:
    """Augment B images and their boxes.

    Args:
        images: float [B, 3, H, W] in 0..1.
        boxes: float [B, 4], cx, cy, w, h in 0..1; NaN where unknown: such an image is not cropped.
        keys: int64 [B], one per image; equal keys give equal draws.
        config: what to do.

    Returns:
        New images and boxes of the same shapes.
    """
    if config.is_none:
        return images, boxes
    draws = uniform(keys, 7).to(images.dtype)
    if config.colour:
        images = _colour(images, 1 + config.colour * (2 * draws[:, :3] - 1))
    if not config.flip and not config.crop:
        return images, boxes
    low, size = _crop_window(boxes, draws[:, 3:6], config.crop)
    mirrored = draws[:, 6] < config.flip
    sign = 1 - 2 * mirrored.to(images.dtype)
    centre = low + size / 2
    theta = images.new_zeros(len(images), 2, 3)
    # Output to input coordinates, both in -1..1.
    theta[:, 0, 0] = size[:, 0] * sign
    theta[:, 1, 1] = size[:, 1]
    theta[:, :, 2] = 2 * centre - 1
    grid = F.affine_grid(theta, list(images.shape), align_corners=False)
    moved = F.grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
    corner = (boxes[:, :2] - low) / size
    x = torch.where(mirrored, 1 - corner[:, 0], corner[:, 0])
    boxes = torch.cat([x[:, None], corner[:, 1:], boxes[:, 2:] / size], dim=1)
    return moved.contiguous(memory_format=torch.channels_last), boxes


def _crop_window(
    boxes: torch.Tensor, draws: torch.Tensor, crop: float
) -> tuple[torch.Tensor, torch.Tensor]:
    """Left top corner and size, float [B, 2] each, of windows of the picture's own proportions."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    # A box reaches one pixel less far than the object: see `bounding_box`.
    least = (boxes[:, 2:] + 0.05).amax(dim=1).clamp(max=1)
    size = torch.maximum(1 - crop * draws[:, 0], least)
    size = torch.where(size.isnan(), 1.0, size)[:, None].expand(-1, 2)
    # The window may start anywhere so that it lies in the picture and the object lies in it.
    first = torch.maximum(centre + half + 0.02 - size, torch.zeros_like(size))
    last = torch.minimum(centre - half - 0.02, 1 - size)
    first, last = first.nan_to_num(0.0), last.nan_to_num(0.0)
    low = torch.where(last > first, first + draws[:, 1:3] * (last - first), (first + last) / 2)
    return torch.minimum(low.clamp(min=0), 1 - size), size


def _colour(images: torch.Tensor, factors: torch.Tensor) -> torch.Tensor:
    """Scale brightness, contrast about the mean grey, and saturation: factors [B, 3]."""
    brightness, contrast, saturation = (f[:, None, None, None] for f in factors.unbind(1))
    weights = images.new_tensor(LUMINANCE)[None, :, None, None]
    images = images * brightness
    grey = (images * weights).sum(dim=1, keepdim=True)
    images = grey + saturation * (images - grey)
    mean = grey.mean(dim=(2, 3), keepdim=True)
    return (mean + contrast * (images - mean)).clamp(0, 1)


def uniform(keys: torch.Tensor, count: int) -> torch.Tensor:
    """Numbers in [0, 1) that follow from the keys: float64 [B, count] from int64 [B].

    The finaliser of SplitMix64, in integer arithmetic that is the same on every device.
    """
    steps = torch.arange(1, count + 1, device=keys.device)
    z = keys[:, None] * count + steps
    z = z * -7046029254386353131
    for shift, factor in ((30, -4658895280553007687), (27, -7723592293110705685)):
        z = (z ^ _shifted(z, shift)) * factor
    z = z ^ _shifted(z, 31)
    return _shifted(z, 11).to(torch.float64) / 2**53


def _shifted(values: torch.Tensor, bits: int) -> torch.Tensor:
    """Logical shift to the right; torch's own keeps the sign."""
    return (values >> bits) & ((1 << (64 - bits)) - 1)
