"""Building blocks of the procedural objects: grids, revolved and swept curves, prisms."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from bridge.simulator.meshes.mesh import Surface


def grid_surface(points: np.ndarray, repeat: tuple[float, float] = (1, 1)) -> Surface:
    """A surface through a grid of points [M, N, 3].

    The texture runs `repeat` times along the second axis (u) and the first (v).
    """
    rows, columns = points.shape[:2]
    v, u = np.meshgrid(
        np.linspace(0, repeat[1], rows), np.linspace(0, repeat[0], columns), indexing="ij"
    )
    number = np.arange(rows * columns).reshape(rows, columns)
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    faces = np.stack([np.stack([a, b, c], -1), np.stack([a, c, d], -1)]).reshape(-1, 3)
    return Surface(points.reshape(-1, 3), faces, np.stack([u, v], -1).reshape(-1, 2))


def revolve(profile: np.ndarray, repeat: tuple[float, float] = (2, 1), sides: int = 48) -> Surface:
    """Turn a profile [M, 2] of (radius, height), from bottom to top, about the y axis."""
    angle = np.linspace(0, 2 * np.pi, sides + 1)
    radius, height = profile[:, :1], profile[:, 1:]
    points = np.stack(
        [
            radius * np.sin(angle),
            np.broadcast_to(height, (len(profile), sides + 1)),
            radius * np.cos(angle),
        ],
        axis=-1,
    )
    return grid_surface(points, repeat)


def sweep(
    path: np.ndarray,
    radius: np.ndarray | float,
    repeat: tuple[float, float] = (1, 6),
    sides: int = 16,
) -> Surface:
    """A tube of round section along a path [M, 3]; `radius` may be one per point."""
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.empty_like(path)
    side = np.eye(3)[np.abs(tangent[0]).argmin()]
    # Each section starts where the last one did, so the tube does not twist.
    for i, direction in enumerate(tangent):
        side = side - direction * (side @ direction)
        side = side / np.linalg.norm(side)
        across[i] = side
    up = np.cross(tangent, across)
    angle = np.linspace(0, 2 * np.pi, sides + 1)[None, :, None]
    circle = np.cos(angle) * across[:, None] + np.sin(angle) * up[:, None]
    points = path[:, None] + np.broadcast_to(radius, len(path))[:, None, None] * circle
    return grid_surface(points, repeat)


def prism(outline: np.ndarray, thickness: float, taper: float = 1.0) -> list[Surface]:
    """A solid over an outline [M, 2] that can be seen whole from the origin, along y.

    The top is `taper` times the size of the bottom.
    """
    closed = np.concatenate([outline, outline[:1]])
    low, high = -thickness / 2, thickness / 2
    wall = np.stack([_at_height(closed, low), _at_height(closed * taper, high)])
    size = np.abs(outline).max()
    caps = []
    for ring, y in ((outline, low), (outline * taper, high)):
        corners = np.concatenate([_at_height(ring, y), [[0, y, 0]]])
        index = np.arange(len(ring))
        faces = np.stack([index, np.roll(index, -1), np.full(len(ring), len(ring))], -1)
        # Seen from above, x right and z down the page is clockwise in the outline's own axes.
        faces = faces if y < 0 else faces[:, ::-1]
        caps.append(Surface(corners, faces, corners[:, [0, 2]] / (2 * size) + 0.5))
    return [_flip(grid_surface(wall, (3, 1))), *caps]


def box(size: Sequence[float], centre: Sequence[float] = (0, 0, 0)) -> list[Surface]:
    """Six rectangles, each with the texture at one scale for the whole box."""
    scale = max(size)
    faces = []
    for axis in range(3):
        u_axis, v_axis = [(2, 1), (0, 2), (0, 1)][axis]
        for side in (-0.5, 0.5):
            points = np.zeros((2, 2, 3))
            points[..., axis] = side * size[axis]
            points[..., u_axis] = np.array([[-0.5, 0.5], [-0.5, 0.5]]) * size[u_axis]
            points[..., v_axis] = np.array([[-0.5, -0.5], [0.5, 0.5]]) * size[v_axis]
            patch = grid_surface(points, (size[u_axis] / scale, size[v_axis] / scale))
            outwards = np.cross(points[0, 1] - points[0, 0], points[1, 0] - points[0, 0])[axis]
            faces.append(patch if outwards * side > 0 else _flip(patch))
    return [moved(face, centre) for face in faces]


def moved(
    surface: Surface, offset: Sequence[float] = (0, 0, 0), turn: np.ndarray | None = None
) -> Surface:
    """A copy turned by a rotation [3, 3] and then shifted."""
    vertices = surface.vertices if turn is None else surface.vertices @ turn.T
    return Surface(vertices + np.asarray(offset), surface.faces, surface.uv)


def _flip(surface: Surface) -> Surface:
    return Surface(surface.vertices, surface.faces[:, ::-1], surface.uv)


def _at_height(outline: np.ndarray, y: float) -> np.ndarray:
    return np.stack([outline[:, 0], np.full(len(outline), y), outline[:, 1]], -1)
