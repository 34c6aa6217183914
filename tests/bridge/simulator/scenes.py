"""Simple objects whose pictures can be predicted."""

from __future__ import annotations

import numpy as np

from bridge.simulator.meshes.mesh import Mesh, Surface, build_mesh

HALF = 3 / np.sqrt(8)
"""Half the side of a `square` in scene units: its diagonal is 3."""


def square(
    texture: np.ndarray | None = None, tint: tuple[float, float, float] = (1, 1, 1), cells: int = 1
) -> Mesh:
    """A square facing +z, cut into cells x cells pairs of triangles."""
    line = np.linspace(0, 1, cells + 1)
    y, x = np.meshgrid(line, line, indexing="ij")
    points = np.stack([x, y, 0 * x], -1).reshape(-1, 3)
    number = np.arange((cells + 1) ** 2).reshape(cells + 1, cells + 1)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    uv = points[:, :2]
    return build_mesh([Surface(points, faces, uv, np.array(tint, float), texture=texture)])


def quads(*corners: np.ndarray) -> Mesh:
    """Quadrilaterals [4, 3] of their own tint: red, green, blue in turn."""
    return build_mesh(
        [
            Surface(quad, np.array([[0, 1, 2], [0, 2, 3]]), tint=np.eye(3)[i % 3])
            for i, quad in enumerate(corners)
        ]
    )
