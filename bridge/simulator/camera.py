"""The camera that all renderers share, and where in the image it shows things.

It is at the origin and looks along -z, with x to the right and y up, in scene units. Its lens has
50 mm and the longer side of its sensor 36 mm. Objects are three times the size of a `Mesh`, and
what is nearer than `NEAR` is cut away.

Places in the image are in pixels, x to the right and y down, from its upper left corner: the
middle of the first pixel is (0.5, 0.5).

Example: an image of 240x320 pixels has a focal length of 320 * 50 / 36 = 444.4 pixels. The point
(1, 0.5, -6), 6 units in front of the camera, is shown at x = 160 + 444.4 * 1 / 6 = 234.1 and
y = 120 - 444.4 * 0.5 / 6 = 83.0:

    project(np.array([1, 0.5, -6]), (240, 320))  # [234.07, 82.96, 6.0]
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

LENS = 50
"""Focal length in mm."""
SENSOR = 36
"""Longer side of the sensor in mm."""
OBJECT_SCALE = 3.0
"""Scene units per unit of a `Mesh`, whose box has a diagonal of 1."""
NEAR = 0.1
"""Distance along the view from which on things are shown, in scene units."""


class PixelBox(NamedTuple):
    """A half-open range of columns and rows of an image."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def is_empty(self) -> bool:
        """Whether it holds no pixel."""
        return self.left >= self.right or self.top >= self.bottom

    @property
    def slices(self) -> tuple[slice, slice]:
        """Rows and columns, to index an image with."""
        return slice(self.top, self.bottom), slice(self.left, self.right)


def focal_length(image_size: tuple[int, int]) -> float:
    """In pixels of an image of (H, W) pixels, whose longer side is that of the sensor."""
    return max(image_size) * (LENS / SENSOR)


def to_camera(points: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    """Points of a mesh in camera space.

    Args:
        points: [N, 3] in units of the mesh.
        rotation: [3, 3], or [T, 3, 3] for T poses.
        translation: [3] or [T, 3] in scene units.

    Returns:
        [N, 3] or [T, N, 3] in scene units.
    """
    return points @ (OBJECT_SCALE * rotation.swapaxes(-1, -2)) + translation[..., None, :]


def project(
    points: np.ndarray, image_size: tuple[int, int], offset: tuple[float, float] = (0.0, 0.0)
) -> np.ndarray:
    """Where the camera shows points.

    Args:
        points: [..., 3] in camera space.
        image_size: (H, W) in pixels.
        offset: shift of the image to the right and down, in pixels.

    Returns:
        [..., 3]: x and y in pixels, and the distance along the view in scene units. Points nearer
        than `NEAR`, which are not shown, get the x and y that they would have at that distance.
    """
    height, width = image_size
    distance = -points[..., 2]
    scale = focal_length(image_size) / np.maximum(distance, NEAR)
    x = width / 2 + offset[0] + points[..., 0] * scale
    y = height / 2 + offset[1] - points[..., 1] * scale
    return np.stack([x, y, distance], axis=-1)


def box_corners(vertices: np.ndarray) -> np.ndarray:
    """Corners [8, 3] of the box around vertices [V, 3]; what encloses them encloses these."""
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    return np.where(np.indices((2, 2, 2)).reshape(3, 8).T, high, low)


def touched_pixels(seen: np.ndarray, image_size: tuple[int, int], margin: int) -> PixelBox:
    """The pixels that an object may touch.

    Args:
        seen: [..., 3] from `project`: points whose convex hull holds the object, at one or
            several instants.
        image_size: (H, W) in pixels.
        margin: pixels more on each side.

    Returns:
        A box inside the image; all of the image where a part of the object is nearer than `NEAR`,
        since what is cut away there may be shown anywhere, and no pixel where all of it is.
    """
    height, width = image_size
    distance = seen[..., 2]
    if distance.max() <= NEAR:
        return PixelBox(0, 0, 0, 0)
    if distance.min() <= NEAR:
        return PixelBox(0, 0, width, height)
    places, sides = seen[..., :2].reshape(-1, 2), np.array([width, height])
    left, top = np.clip(np.floor(places.min(axis=0)) - margin, 0, sides).astype(int).tolist()
    right, bottom = np.clip(np.ceil(places.max(axis=0)) + margin, 0, sides).astype(int).tolist()
    return PixelBox(left, top, right, bottom)
