"""Vertex normals for meshes that come without: smooth surfaces stay smooth, boxes keep edges."""

from __future__ import annotations

import numpy as np

from bridge.common.compiled import compiled

CREASE_COSINE = float(np.cos(np.deg2rad(40)))
"""Triangles that meet at a sharper angle than 40 degrees keep normals of their own."""


def smooth_between_creases(
    vertices: np.ndarray, faces: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Area-weighted normals over the neighbours within the crease angle.

    Vertices at one place count as neighbours even where a texture seam divides them.

    Args:
        vertices: float64 [V, 3].
        faces: int [F, 3], none degenerate.

    Returns:
        source: int64 [N], the vertex that each new vertex repeats.
        normals: float64 [N, 3], unit length.
        faces: int64 [F, 3] in the numbering of the new vertices.
    """
    corner_vertex = faces.astype(np.int64).ravel()
    first, second, third = vertices[faces].swapaxes(0, 1)
    area_normals = np.cross(second - first, third - first)
    _, place = np.unique(
        np.ascontiguousarray(np.round(vertices, 7) + 0.0).view("V24").ravel(), return_inverse=True
    )
    corner_place = place[corner_vertex]
    order = np.argsort(corner_place, kind="stable")
    ends = np.flatnonzero(np.diff(corner_place[order], append=-1)) + 1
    normals = _corner_normals(area_normals, order, ends, CREASE_COSINE)
    return _merge_equal(corner_vertex, normals)


def _merge_equal(
    corner_vertex: np.ndarray, normals: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Corners with the same vertex and (almost) the same normal become one vertex again."""
    x, y, z = np.round(normals.T * 511).astype(np.int64) + 512
    key = (((corner_vertex << 10 | x) << 10 | y) << 10) | z
    _, first, renumbered = np.unique(key, return_index=True, return_inverse=True)
    return corner_vertex[first], normals[first], renumbered.reshape(-1, 3)


@compiled(error_model="numpy")
def _corner_normals(
    area_normals: np.ndarray, order: np.ndarray, ends: np.ndarray, crease_cosine: float
) -> np.ndarray:
    """Normal of each triangle corner; `order` lists the corners place by place."""
    normals = np.empty((len(order), 3))
    lengths = np.sqrt((area_normals**2).sum(axis=1))
    start = 0
    for end in ends:
        for i in order[start:end]:
            own = area_normals[i // 3] / lengths[i // 3]
            total = np.zeros(3)
            for j in order[start:end]:
                other = area_normals[j // 3]
                if (own * other).sum() >= crease_cosine * lengths[j // 3]:
                    total += other
            normals[i] = total / np.sqrt((total * total).sum())
        start = end
    return normals
