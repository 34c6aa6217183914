"""What lies behind the object: crops of photos, or procedural pictures where there are none."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

import numpy as np
from PIL import Image

from bridge.common.errors import InputError
from bridge.common.files import PICTURE_SUFFIXES, shown
from bridge.common.images import UnreadableImage, decode
from bridge.common.places import folders_in, place, sizes_of

MAX_BAD_DRAWS = 20
CELLS = 3
"""The published backgrounds are cells of a grid of 3x3 over square photos."""
_SHARPNESS = 2
"""Pixels along each side that a photo decoded at reduced size has for each of the image."""

CropRule = Literal["aspect", "cell"]


@dataclass(frozen=True)
class Background:
    """A picture of the size of the image, uint8 RGB [H, W, 3], and where it came from."""

    pixels: np.ndarray
    background_id: str


class Backgrounds(Protocol):
    """A source of backgrounds.

    Attributes:
        names: the photos that may be drawn; none where backgrounds are generated.
        rejected: why, by name, for the photos that could not be read.
        passed_over: what else the folder holds, in words; empty where that is nothing.
        shared: datasets and distractors draw from the same photos.
    """

    names: Sequence[str]
    rejected: dict[str, str]
    passed_over: str
    shared: bool

    def sizes(self) -> list[int]:
        """Bytes of each photo."""

    def sample(self, rng: np.random.Generator, image_size: tuple[int, int]) -> Background:
        """Draw a background of (H, W) pixels."""


class PhotoBackgrounds:
    """Random crops of the photos in a folder.

    Photos are divided by their file names between datasets and distractors, so that a background
    never gives away which distractor is related to a query. A folder too small for that is
    `shared`.

    Args:
        folder: searched with all its sub-folders for `PICTURE_SUFFIXES`, as `Folders` does.
        subset: the half to draw from.
        crop: "aspect" takes the largest part with the proportions of the image (`crop_aspect`),
            "cell" a stretched ninth, as for the published data (`crop_cell`).

    Raises:
        InputError: the folder is missing or holds no photo.
    """

    def __init__(
        self,
        folder: str | Path,
        subset: Literal["dataset", "distractors"],
        crop: CropRule = "aspect",
    ) -> None:
        self._root = place(folder)
        self._crop = crop
        self.rejected: dict[str, str] = {}
        if not self._root.is_dir():
            raise InputError(f"The background folder {shown(self._root)} does not exist.")
        folders = folders_in(self._root, PICTURE_SUFFIXES)
        names = sorted(path[len(folders.root) :].lstrip("/") for path in folders.files())
        self.passed_over = folders.summary()
        if not names:
            others = f"; passed over: {self.passed_over}" if self.passed_over else ""
            raise InputError(
                f"The background folder {shown(self._root)} holds no photo "
                f"({', '.join(PICTURE_SUFFIXES)}){others}."
            )
        own = [name for name in names if _subset(name) == subset]
        self.shared = not own
        self.names: Sequence[str] = own or names

    def sizes(self) -> list[int]:
        """Bytes of each photo."""
        return sizes_of([str(self._root / name) for name in self.names])

    def sample(self, rng: np.random.Generator, image_size: tuple[int, int]) -> Background:
        """Draw a photo and crop it to (H, W) pixels; unreadable ones are skipped.

        Raises:
            InputError: many photos in a row could not be read.
        """
        for _ in range(MAX_BAD_DRAWS):
            name = self.names[int(rng.integers(len(self.names)))]
            try:
                photo = decode(
                    (self._root / name).read_bytes(), at_least=_needed(image_size, self._crop)
                )
            except (OSError, UnreadableImage) as error:
                # The message of an OSError has the path in it, which differs between machines.
                why = error.strerror if isinstance(error, OSError) else None
                self.rejected[name] = why or str(error)
                continue
            crop = crop_aspect if self._crop == "aspect" else crop_cell
            return Background(crop(photo, rng, image_size), name)
        raise InputError(
            f"{MAX_BAD_DRAWS} photos in a row of {shown(self._root)} could not be read, "
            f"e.g. {name}: {self.rejected[name]}."
        )


def _needed(image_size: tuple[int, int], crop: CropRule) -> tuple[int, int]:
    """Size (H, W) of a whole photo from which a crop is still sharp."""
    factor = _SHARPNESS * (CELLS if crop == "cell" else 1)
    return factor * image_size[0], factor * image_size[1]


def _subset(name: str) -> str:
    # Not by the folders: which of them count depends on where a command begins to search.
    odd = hashlib.sha256(name.rsplit("/", 1)[-1].encode()).digest()[0] % 2
    return "distractors" if odd else "dataset"


def crop_aspect(
    photo: np.ndarray, rng: np.random.Generator, image_size: tuple[int, int]
) -> np.ndarray:
    """The largest part of a photo with the proportions of (H, W), at a random place, resized."""
    height, width = image_size
    scale = min(photo.shape[0] / height, photo.shape[1] / width)
    crop_height, crop_width = height * scale, width * scale
    top = rng.uniform(0, photo.shape[0] - crop_height)
    left = rng.uniform(0, photo.shape[1] - crop_width)
    box = (left, top, left + crop_width, top + crop_height)
    picture = Image.fromarray(photo).resize((width, height), Image.Resampling.BICUBIC, box)
    return np.asarray(picture)


def crop_cell(
    photo: np.ndarray, rng: np.random.Generator, image_size: tuple[int, int]
) -> np.ndarray:
    """A random cell of a 3x3 grid over a square of the photo, stretched to (H, W).

    The square has the length of the photo's shorter side and a random place along the longer one.
    Cells of the published photos, 256x256 pixels, are 85x85 pixels.
    """
    shorter = min(photo.shape[:2])
    side = max(shorter // CELLS, 1)
    row, column = divmod(int(rng.integers(CELLS**2)), CELLS)
    # A photo of fewer than three pixels has fewer cells.
    top = min(row * side, shorter - side) + int(rng.integers(photo.shape[0] - shorter + 1))
    left = min(column * side, shorter - side) + int(rng.integers(photo.shape[1] - shorter + 1))
    cell = Image.fromarray(np.ascontiguousarray(photo[top : top + side, left : left + side]))
    height, width = image_size
    return np.asarray(cell.resize((width, height), Image.Resampling.BICUBIC))


class ProceduralBackgrounds:
    """Pictures of clouds of colour over several scales, with some edges, stripes and blobs."""

    def __init__(self) -> None:
        self.names: Sequence[str] = ()
        self.rejected: dict[str, str] = {}
        self.passed_over = ""
        self.shared = False

    def sizes(self) -> list[int]:
        """Nothing: generated pictures have no files."""
        return []

    def sample(self, rng: np.random.Generator, image_size: tuple[int, int]) -> Background:
        """Draw a picture of (H, W) pixels; its id is the number that it was made from."""
        number = int(rng.integers(2**48))
        pixels = procedural_background(np.random.default_rng(number), image_size)
        return Background(pixels, f"procedural/{number:012x}")


def procedural_background(rng: np.random.Generator, image_size: tuple[int, int]) -> np.ndarray:
    """A picture uint8 RGB [H, W, 3] whose detail falls off with frequency as in photos.

    It is drawn at half size: the photos of the published data are enlarged crops, as soft.
    """
    height, width = (side // 2 + 1 for side in image_size)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(height, width)
    picture = np.full((height, width, 3), rng.uniform(60, 190, 3), np.float32)
    for _ in range(rng.integers(3, 8)):
        weight = rng.uniform(0.4, 0.9) * _structure(rng, x, y)[..., None]
        picture += weight * (_muted_colour(rng) - picture)
    for octave in range(1, 7):
        cells = (2**octave, 2 ** (octave + 1), 3)
        noise = rng.normal(0, rng.uniform(20, 65) / octave**0.8, cells).astype(np.float32)
        noise = 0.6 * noise.mean(axis=2, keepdims=True) + 0.4 * noise
        picture += _enlarge(noise, (height, width))
    pixels = np.clip(picture, 0, 255).astype(np.uint8)
    size = (image_size[1], image_size[0])
    return np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))


def _muted_colour(rng: np.random.Generator) -> np.ndarray:
    return (rng.uniform(20, 235) + rng.normal(0, 30, 3)).astype(np.float32)


def _structure(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Mask [H, W] in 0..1 of a half plane, a row of stripes or a blob."""
    angle = rng.uniform(0, np.pi)
    across = np.cos(angle) * (x - rng.uniform(0.1, 0.9)) + np.sin(angle) * (
        y - rng.uniform(0.1, 0.7)
    )
    along = np.cos(angle) * y - np.sin(angle) * x
    sharpness = rng.uniform(20, 400)
    kind = rng.integers(3)
    if kind == 0:
        inside = across
    elif kind == 1:
        inside = np.minimum(
            np.sin(across * rng.uniform(20, 120)) * 0.02, rng.uniform(0.03, 0.2) - np.abs(across)
        )
    else:
        length = rng.uniform(0.5, 2)
        inside = rng.uniform(0.05, 0.25) - np.hypot(across, along * length - rng.uniform(-0.5, 0.5))
    return 1 / (1 + np.exp(-np.clip(inside * sharpness, -30, 30)))


def _enlarge(channels: np.ndarray, image_size: tuple[int, int]) -> np.ndarray:
    height, width = image_size
    planes = [
        Image.fromarray(np.ascontiguousarray(channels[..., k])).resize(
            (width, height), Image.Resampling.BICUBIC
        )
        for k in range(3)
    ]
    return np.stack([np.asarray(plane) for plane in planes], axis=-1)
