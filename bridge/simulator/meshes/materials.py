"""Materials of mesh files: colours, and pictures of every kind as textures."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from PIL import Image

from bridge.simulator.meshes.mipmaps import MAX_TEXTURE_SIDE, OPAQUE_FROM
from bridge.simulator.meshes.surface import Remark

DISPLAY_GAMMA = 1 / 2.2

PICTURE_FOLDERS = ("", "images", "textures", "materials/textures")
"""Where a picture may lie that is not where the file says, from the object's folder."""


@dataclass(frozen=True)
class Material:
    """What a file says about the colour of its parts.

    Attributes:
        tint: display-space RGB in 0..1, a factor of the texture.
        texture: uint8 [h, w, 3 or 4] as in `Surface`, or None.
        uv_transform: [2, 3], applied to (u, v, 1) with v pointing up; None changes nothing.
        remarks: what of it could not be had.
    """

    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    texture: np.ndarray | None = None
    uv_transform: np.ndarray | None = None
    remarks: tuple[Remark, ...] = ()


def display(linear: np.ndarray) -> np.ndarray:
    """Linear light, in 0..1 or in whole numbers of the type's range, in display space."""
    values = np.asarray(linear)
    scale = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return np.clip(values / scale, 0, 1) ** DISPLAY_GAMMA


def find_file(folder: Path, name: str) -> Path | None:
    """The file that a material names, or None.

    Where it is not at the place named, its base name is looked for, in any case, in the folder of
    the mesh and the one above it, and in their usual folders for pictures.
    """
    relative = name.strip().strip('"').replace("\\", "/")
    if relative and (folder / relative).is_file():
        return folder / relative
    wanted = relative.rsplit("/", 1)[-1].lower()
    # The folder above is the object's own only where the mesh has a folder of its own.
    roots = [folder, folder.parent] if folder.name in ("meshes", "models") else [folder]
    for place in (root / part for root in roots for part in PICTURE_FOLDERS):
        if place.is_dir():
            for path in sorted(place.iterdir()):
                if path.name.lower() == wanted and path.is_file():
                    return path
    return None


def read_picture(picture: Image.Image) -> np.ndarray:
    """Any kind of picture as uint8 RGB [h, w, 3], or RGBA [h, w, 4] where it has transparency.

    Raises:
        OSError, ValueError, SyntaxError: the picture is damaged.
    """
    # JPEG files far larger than needed are decoded at a half, a quarter or an eighth.
    width, height = picture.size
    shrink = MAX_TEXTURE_SIDE / max(width, height)
    picture.draft(None, (int(width * shrink), int(height * shrink)))
    if picture.mode.startswith("I") or picture.mode == "F":
        values = np.asarray(picture, np.float64)
        full = 1 if picture.mode == "F" else 65535
        grey = np.clip(values / full * 255, 0, 255).astype(np.uint8)
        return np.repeat(grey[..., None], 3, axis=2)
    see_through = picture.mode in ("RGBA", "LA", "PA", "La", "RGBa")
    if see_through or "transparency" in picture.info:
        return np.asarray(picture.convert("RGBA"))
    return np.asarray(picture.convert("RGB"))


def cut_out(texture: np.ndarray, cutoff: float = 0.5) -> np.ndarray:
    """The texture with holes where its alpha is below `cutoff`; without alpha if there are none.

    Glass, which is nowhere as opaque as the cutoff, is drawn whole but for what has no opacity at
    all: renderers know holes alone.
    """
    if texture.shape[2] == 4 and cutoff > 0:
        # The scale puts the cutoff where a hole begins.
        scaled = texture[..., 3] * (OPAQUE_FROM / 255 / cutoff) + 1e-9
        alpha = np.minimum(scaled, 255).astype(np.uint8)
        if not (alpha >= OPAQUE_FROM).any():
            alpha = np.where(texture[..., 3] > 0, 255, 0).astype(np.uint8)
        if (alpha < OPAQUE_FROM).any() and (alpha >= OPAQUE_FROM).any():
            return np.concatenate([texture[..., :3], alpha[..., None]], axis=2)
    return np.ascontiguousarray(texture[..., :3])
