"""Triangles of one material, as files and shapes give them, and why an object is rejected."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from bridge.common.images import without_addresses

MeshFault = Literal["unreadable", "no_faces", "no_texture", "bad_geometry"]

Remark = tuple[str, str]
"""What was changed to make an object usable: a stable reason for counting, and a detail."""


class MeshError(Exception):
    """An object that cannot be rendered; `reason` is stable and meant for counting."""

    def __init__(self, reason: MeshFault, detail: str) -> None:
        # Details are recorded, and two runs must record the same.
        detail = without_addresses(detail)
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.reason}: {self.detail}"


@dataclass(frozen=True)
class Surface:
    """Triangles of one material, before they become part of a `Mesh`.

    Attributes:
        vertices: [V, 3], any unit.
        faces: int [F, 3].
        uv: [V, 2] with v pointing up in the texture; None without a texture.
        tint: RGB factor of the texture in display space, [V, 3] or [3], in 0..1.
        normals: [V, 3]; None derives them, keeping edges sharper than the crease angle.
        texture: uint8 RGB [h, w, 3], or RGBA [h, w, 4] where texels of alpha below 128 are holes,
            or None. Surfaces that share a texture share the array.
    """

    vertices: np.ndarray
    faces: np.ndarray
    uv: np.ndarray | None = None
    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    normals: np.ndarray | None = None
    texture: np.ndarray | None = None
