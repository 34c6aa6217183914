"""Fewer triangles for huge meshes, by quadric edge collapse, with their textures kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bridge.simulator.meshes.surface import Surface
from bridge.simulator.meshes.weld import weld

_NOISE = 1e-6
"""Where a surface is exactly flat, the best place for a vertex is the solution of a singular
system: collapses are then refused one by one, for minutes. This much noise, less than a thousandth
of a pixel, makes them take a second."""


def simplify(surfaces: Sequence[Surface], target: int) -> list[Surface]:
    """Collapse edges until about `target` triangles are left over all surfaces together.

    Vertices at one place are collapsed as one, so that neither texture seams nor borders between
    materials open. Each remaining triangle keeps its material and its side of every seam: a
    corner takes texture coordinates, tint and normal from the nearest of the vertices that became
    it within one seamless patch.

    Args:
        surfaces: vertices in units of about the box diagonal, no triangle without an area.
        target: triangles to keep; a mesh that cannot be reduced so far keeps more.
    """
    vertices = np.concatenate([s.vertices for s in surfaces])
    starts = np.cumsum([0] + [len(s.vertices) for s in surfaces])
    faces = np.concatenate([s.faces + start for s, start in zip(surfaces, starts, strict=False)])
    place, first = weld(vertices)
    positions, collapsed = _collapse(vertices[first], place[faces], target)
    merged = collapsed[place]
    ends = merged[faces]
    alive = (ends != np.roll(ends, 1, axis=1)).all(axis=1)
    distance = np.linalg.norm(vertices - positions[merged], axis=1)
    nearest = _nearest(merged, _patches(faces, len(vertices)), distance)
    kept = nearest[faces]
    simplified = []
    face_starts = np.cumsum([0] + [len(s.faces) for s in surfaces])
    for i, surface in enumerate(surfaces):
        own_faces = slice(face_starts[i], face_starts[i + 1])
        own_vertices = slice(starts[i], starts[i + 1])
        simplified.append(
            replace(
                surface,
                vertices=positions[merged[own_vertices]],
                faces=kept[own_faces][alive[own_faces]] - starts[i],
            )
        )
    return simplified


def _collapse(
    points: np.ndarray, triangles: np.ndarray, target: int
) -> tuple[np.ndarray, np.ndarray]:
    """New positions [N, 3], and the new vertex [P] that each place became."""
    # Imported late: almost no object needs it.
    import fast_simplification

    noise = np.random.default_rng(0).normal(scale=_NOISE, size=points.shape)
    positions, _, collapses = fast_simplification.simplify(
        points + noise, triangles, target_count=target, return_collapses=True
    )
    _, _, mapping = fast_simplification.replay_simplification(points, triangles, collapses)
    return np.asarray(positions), np.asarray(mapping)


def _patches(faces: np.ndarray, num_vertices: int) -> np.ndarray:
    """The seamless patch of each vertex, int [V]."""
    start, end = faces[:, :2].ravel(), faces[:, 1:].ravel()
    links = coo_array((np.ones(len(start), bool), (start, end)), (num_vertices, num_vertices))
    return connected_components(links, directed=False)[1]


def _nearest(merged: np.ndarray, patch: np.ndarray, distance: np.ndarray) -> np.ndarray:
    """For each vertex the one nearest to the new position, of its patch and new vertex, int [V]."""
    order = np.lexsort((distance, patch, merged))
    starts = np.ones(len(order), bool)
    starts[1:] = (np.diff(merged[order]) != 0) | (np.diff(patch[order]) != 0)
    nearest = np.empty(len(order), np.int64)
    nearest[order] = order[starts][np.cumsum(starts) - 1]
    return nearest
