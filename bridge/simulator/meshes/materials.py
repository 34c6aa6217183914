"""Materials of mesh files: colours, and pictures of every kind as textures."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
from PIL import Image

from bridge.common.files import PICTURE_SUFFIXES
from bridge.common.images import eight_bits, is_see_through
from bridge.common.places import Place
from bridge.simulator.meshes.mipmaps import MAX_TEXTURE_SIDE, OPAQUE_FROM
from bridge.simulator.meshes.surface import Remark
from bridge.simulator.meshes.text import keys, spellings
from bridge.simulator.meshes.wrap import WrappedTexture

DISPLAY_GAMMA = 1 / 2.2

PICTURE_FOLDERS = ("", "images", "textures", "materials/textures")
"""Where a picture may lie that is not where the file says, from the object's folder."""

_CONFUSED = (*PICTURE_SUFFIXES, ".tga", ".dds", ".psd")
"""Pictures that are converted now and then, while the files that name them stay as they are."""


@dataclass(frozen=True)
class Material:
    """What a file says about the colour of its parts.

    Attributes:
        tint: display-space RGB in 0..1, a factor of the texture.
        texture: as in `Surface`, with what lies beyond its edges, or None.
        uv_transform: [2, 3], applied to (u, v, 1) with v pointing up; None changes nothing.
        is_invisible: its parts have an opacity of 0.
        remarks: what of it could not be had.
    """

    tint: np.ndarray = field(default_factory=lambda: np.ones(3))
    texture: WrappedTexture | None = None
    uv_transform: np.ndarray | None = None
    is_invisible: bool = False
    remarks: tuple[Remark, ...] = ()


def display(linear: np.ndarray) -> np.ndarray:
    """Linear light, in 0..1 or in whole numbers of the type's range, in display space."""
    values = np.asarray(linear)
    scale = np.iinfo(values.dtype).max if np.issubdtype(values.dtype, np.integer) else 1
    return np.clip(values / scale, 0, 1) ** DISPLAY_GAMMA


def find_file(folder: Place, name: str) -> Place | None:
    """The file that a material names, or None.

    Where it is not at the place named, its base name is looked for, in any case, encoding and form
    of Unicode, in the folder of the mesh and the one above it, and in their usual folders for
    pictures; then a picture of that name with another suffix. A percent sign is one, before it is
    the beginning of a character of a URI.
    """
    written = name.strip().strip('"').replace("\\", "/")
    names = list(dict.fromkeys(one for s in spellings(written) for one in (s, unquote(s))))
    for relative in filter(None, names):
        if _is_file(folder / relative):
            return folder / relative
    wanted = {key for one in names for key in keys(one.rsplit("/", 1)[-1])} - {""}
    stems = {os.path.splitext(key)[0] for key in wanted if key.endswith(_CONFUSED)}
    alike = None
    for path in _nearby(folder):
        found = keys(path.name)
        if found & wanted and path.is_file():
            return path
        if alike is None and path.suffix.lower() in PICTURE_SUFFIXES:
            same = {os.path.splitext(key)[0] for key in found} & stems
            alike = path if same and path.is_file() else None
    return alike


def _is_file(path: Place) -> bool:
    """Also of names that no disk takes, such as those that are too long."""
    return os.path.isfile(path) if isinstance(path, Path) else path.is_file()


def _nearby(folder: Place) -> Iterator[Place]:
    """What is in the folders in which a picture may lie, in the order of their rank."""
    # The folder above is the object's own only where the mesh has a folder of its own.
    roots = [folder, folder.parent] if folder.name in ("meshes", "models") else [folder]
    for place in (root / part for root in roots for part in PICTURE_FOLDERS):
        if place.is_dir():
            files: list[Any] = sorted(place.iterdir())
            yield from files


def read_picture(picture: Image.Image) -> np.ndarray:
    """Any kind of picture as uint8 RGB [h, w, 3], or RGBA [h, w, 4] where it has transparency.

    Raises:
        OSError, ValueError, SyntaxError: the picture is damaged.
    """
    # JPEG files far larger than needed are decoded at a half, a quarter or an eighth.
    width, height = picture.size
    shrink = MAX_TEXTURE_SIDE / max(width, height)
    picture.draft(None, (int(width * shrink), int(height * shrink)))
    shallow = eight_bits(picture)
    return np.asarray(shallow.convert("RGBA" if is_see_through(shallow) else "RGB"))


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
