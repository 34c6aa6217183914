"""How well the blur and localisation heads know what they see (paper, Sec. 3.3, Eq. 7-8)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray


@dataclass(frozen=True)
class EstimateErrors:
    """Means over some images; None where no image has both the truth and the estimate."""

    num_images: int
    blur_severity_error: float | None
    """Mean absolute error of the blur severity, in 0..1."""
    box_iou: float | None
    """Mean intersection over union of the estimated and the true box, in 0..1."""


@dataclass(frozen=True)
class Estimates:
    """Estimates for N images whose truth is known.

    `blur_levels`: int [N]. `blur_severity`, `predicted_blur_severity`: float [N] in 0..1.
    `bbox`, `predicted_bbox`: float [N, 4], (cx, cy, w, h) in units of the image size.
    NaN is unknown. Raises ValueError for other shapes and for blur levels that are not integers.
    """

    blur_levels: NDArray[np.integer]
    blur_severity: NDArray[np.floating]
    predicted_blur_severity: NDArray[np.floating]
    bbox: NDArray[np.floating]
    predicted_bbox: NDArray[np.floating]

    def __post_init__(self) -> None:
        if self.blur_levels.ndim != 1 or self.blur_levels.dtype.kind not in "iu":
            raise ValueError("blur_levels must be integers [N].")
        number = len(self.blur_levels)
        for name, shape in (
            ("blur_severity", (number,)),
            ("predicted_blur_severity", (number,)),
            ("bbox", (number, 4)),
            ("predicted_bbox", (number, 4)),
        ):
            found = getattr(self, name).shape
            if found != shape:
                raise ValueError(f"{name} must be {list(shape)}, not {list(found)}.")

    def overall(self) -> EstimateErrors:
        """Over all images."""
        return self._errors(np.ones(len(self.blur_levels), bool))

    def by_blur_level(self) -> dict[int, EstimateErrors]:
        """Over the images of each blur level, ascending; only levels with images."""
        return {
            int(level): self._errors(self.blur_levels == level)
            for level in np.unique(self.blur_levels)
        }

    def _errors(self, chosen: NDArray[np.bool_]) -> EstimateErrors:
        errors = np.abs(self.predicted_blur_severity[chosen] - self.blur_severity[chosen])
        overlaps = box_iou(self.predicted_bbox[chosen], self.bbox[chosen])
        return EstimateErrors(int(chosen.sum()), _known_mean(errors), _known_mean(overlaps))


def box_iou(first: ArrayLike, second: ArrayLike) -> NDArray[np.float64]:
    """Intersection over union in 0..1 of boxes [N, 4] (cx, cy, w, h), pair by pair: float64 [N].

    NaN where either box has a NaN; 0 where both boxes are empty.
    """
    one, other = np.asarray(first, np.float64), np.asarray(second, np.float64)
    low = np.maximum(one[:, :2] - one[:, 2:] / 2, other[:, :2] - other[:, 2:] / 2)
    high = np.minimum(one[:, :2] + one[:, 2:] / 2, other[:, :2] + other[:, 2:] / 2)
    shared = np.maximum(high - low, 0).prod(axis=1)
    union = one[:, 2:].prod(axis=1) + other[:, 2:].prod(axis=1) - shared
    return shared / np.where(union == 0, 1, union)


def _known_mean(values: NDArray[np.floating]) -> float | None:
    known = values[np.isfinite(values)]
    return float(known.mean(dtype=np.float64)) if known.size else None
