from __future__ import annotations

import numpy as np
import pytest

from bridge.simulator.meshes.simplification import simplify
from bridge.simulator.meshes.surface import Surface
from bridge.simulator.objects.shapes import grid_surface


def hills(cells: int) -> Surface:
    """A bumpy sheet whose texture coordinates are its x and y; v and tint jump at x = 0.5.

    The two sides have vertices of their own, as on both sides of a texture seam.
    """
    line = np.linspace(0, 1, cells + 1)
    halves = []
    for number, x in enumerate((line[: cells // 2 + 1], line[cells // 2 :])):
        xs, ys = np.meshgrid(x, line)
        points = np.stack([xs, ys, 0.05 * np.sin(7 * xs) * np.sin(9 * ys)], -1)
        sheet = grid_surface(points)
        uv = points.reshape(-1, 3)[:, :2] + [0, 5 * number]
        halves.append((sheet.vertices, sheet.faces, uv, np.full((len(uv), 3), float(number))))
    left, right = halves
    return Surface(
        np.concatenate([left[0], right[0]]),
        np.concatenate([left[1], right[1] + len(left[0])]),
        np.concatenate([left[2], right[2]]),
        np.concatenate([left[3], right[3]]),
    )


def test_texture_coordinates_stay_on_their_side_of_a_seam() -> None:
    sheet = hills(120)
    (result,) = simplify([sheet], 4000)
    assert 3500 <= len(result.faces) <= 4000
    assert result.uv is not None
    uv, points, tint = (a[result.faces] for a in (result.uv, result.vertices, result.tint))
    side = tint[:, :1, :1]
    assert (tint == side).all()
    step = 1 / 120
    error = np.abs(uv - points[..., :2] - np.concatenate([side * 0, side * 5], axis=2))
    assert np.quantile(error, 0.99) < 2 * step
    assert error.max() < 10 * step


def test_nothing_opens_at_a_seam_or_between_surfaces() -> None:
    sheet = hills(60)
    half = len(sheet.faces) // 2
    two = [Surface(sheet.vertices, f, sheet.uv, sheet.tint) for f in np.split(sheet.faces, [half])]
    parts = simplify(two, 2000)
    assert len(parts) == 2
    corners = np.concatenate([part.vertices[part.faces] for part in parts])
    _, place = np.unique(corners.reshape(-1, 3), axis=0, return_inverse=True)
    ends = place.reshape(-1, 3)
    edges = np.stack([ends, np.roll(ends, -1, axis=1)], -1).reshape(-1, 2)
    rows, uses = np.unique(np.sort(edges, axis=1), axis=0, return_counts=True)
    points = corners.reshape(-1, 3)[np.unique(place, return_index=True)[1]]
    inner = (np.abs(points[rows].mean(axis=1)[:, :2] - 0.5) < 0.4).all(axis=1)
    assert (uses[inner] == 2).all()


def test_shape_and_attributes_survive() -> None:
    sheet = hills(100)
    normals = np.tile([0.0, 0, 1], (len(sheet.vertices), 1))
    textured = Surface(sheet.vertices, sheet.faces, sheet.uv, sheet.tint, normals)
    (result,) = simplify([textured], 3000)
    points = result.vertices[np.unique(result.faces)]
    height = 0.05 * np.sin(7 * points[:, 0]) * np.sin(9 * points[:, 1])
    assert np.abs(points[:, 2] - height).max() < 1e-3
    assert result.normals is not None
    assert len(result.normals) == len(result.vertices)
    assert [*points.min(axis=0)[:2], *points.max(axis=0)[:2]] == pytest.approx(
        [0, 0, 1, 1], abs=0.01
    )


def test_flat_surfaces_reach_the_target() -> None:
    line = np.linspace(0, 1, 129)
    x, y = np.meshgrid(line, line)
    sheet = grid_surface(np.stack([x, y, 0 * x], -1))
    flat = Surface(sheet.vertices, sheet.faces, sheet.uv, np.ones((len(sheet.vertices), 3)))
    (result,) = simplify([flat], 2000)
    assert len(result.faces) <= 2000
    assert np.abs(result.vertices[:, 2]).max() < 1e-4
