"""Colourful repeating textures for the built-in objects."""

from __future__ import annotations

import colorsys
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw

SIZE = 256

Palette = np.ndarray
"""uint8 [K, 3]; the first colour is the ground of the pattern."""


def make_texture(rng: np.random.Generator) -> np.ndarray:
    """Draw a texture, uint8 RGB [256, 256, 3], whose opposite edges fit together."""
    pattern = PATTERNS[rng.integers(len(PATTERNS))]
    return pattern(rng, _palette(rng))


def _palette(rng: np.random.Generator) -> Palette:
    """Five colours of clearly different hue or lightness."""
    hue = rng.uniform()
    step = rng.choice([0.08, 0.33, 0.5])
    colours = [
        colorsys.hsv_to_rgb((hue + i * step + rng.normal(0, 0.03)) % 1, rng.uniform(0.35, 1), value)
        for i, value in enumerate(rng.permutation([0.35, 0.6, 0.8, 0.95, 1.0]))
    ]
    return np.round(np.array(colours) * 255).astype(np.uint8)


def _grid() -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[0:SIZE, 0:SIZE] / SIZE
    return x, y


def _stripes(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    across, down = rng.choice([(0, 3), (4, 0), (2, 2), (3, -3), (1, 5), (6, 0), (0, 8)])
    widths = rng.dirichlet(np.full(len(palette), 2.0))
    return palette[np.searchsorted(np.cumsum(widths)[:-1], (across * x + down * y) % 1)]


def _checker(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    columns, rows = 2 * rng.integers(1, 6, 2)
    column, row = (x * columns).astype(int), (y * rows).astype(int)
    accents = rng.integers(0, 12, (rows, columns))
    index = (column + row) % 2
    return palette[np.where(accents[row, column] < 3, accents[row, column] + 2, index)]


def _dots(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    count = int(rng.integers(2, 6))
    row = np.floor(y * 2 * count)
    dx = (x * count + 0.5 * (row % 2)) % 1 - 0.5
    dy = (y * 2 * count) % 1 - 0.5
    radius = np.hypot(dx, dy / 2)
    outer = rng.uniform(0.18, 0.24)
    ring = np.where(radius < outer * rng.uniform(0.3, 0.7), 2, 1)
    colour = 1 + (ring + row.astype(int)) % 4
    return palette[np.where(radius < outer, colour, 0)]


def _noise(rng: np.random.Generator, first: int = 2, octaves: int = 5) -> np.ndarray:
    """Smooth periodic noise [256, 256], about unit variance."""
    total = np.zeros((SIZE, SIZE), np.float32)
    for octave in range(octaves):
        cells = first * 2**octave
        lattice = np.tile(rng.normal(0, 0.6**octave, (cells, cells)).astype(np.float32), (3, 3))
        picture = Image.fromarray(lattice).resize(
            (SIZE, SIZE), Image.Resampling.BICUBIC, (cells, cells, 2 * cells, 2 * cells)
        )
        total += np.asarray(picture)
    return total / total.std()


def _marble(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    across, down = rng.integers(1, 4, 2)
    wave = np.sin(2 * np.pi * (across * x + down * y) + rng.uniform(1, 3) * _noise(rng))
    position = (wave + 1) / 2 * (len(palette) - 1.001)
    low = position.astype(int)
    share = (position - low)[..., None]
    return (palette[low] * (1 - share) + palette[low + 1] * share).astype(np.uint8)


def _camouflage(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    noise = _noise(rng, int(rng.integers(2, 6)), 3)
    return palette[np.searchsorted([-0.9, -0.2, 0.4, 1.0], noise)]


def _patches(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """Cells around random points, with dark seams."""
    x, y = _grid()
    points = rng.uniform(0, 1, (rng.integers(8, 24), 2))
    dx = np.abs(x.ravel()[:, None] - points[:, 0])
    dy = np.abs(y.ravel()[:, None] - points[:, 1])
    distance = np.hypot(np.minimum(dx, 1 - dx), np.minimum(dy, 1 - dy))
    nearest = np.partition(distance, 1, axis=1)[:, :2]
    colours = palette[rng.integers(0, len(palette), len(points))][distance.argmin(axis=1)]
    colours[nearest[:, 1] - nearest[:, 0] < rng.uniform(0, 0.02)] = palette.min(axis=0) // 3
    return colours.reshape(SIZE, SIZE, 3)


def _bricks(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    rows, columns = 2 * int(rng.integers(2, 6)), int(rng.integers(2, 6))
    row = (y * rows).astype(int)
    shifted = (x * columns + 0.5 * (row % 2)) % columns
    colour = rng.integers(1, len(palette), (rows, columns))[row, shifted.astype(int)]
    joint = (shifted % 1 < 0.06) | ((y * rows) % 1 < 0.12)
    return palette[np.where(joint, 0, colour)]


def _zigzag(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    teeth, bands = rng.integers(2, 6), rng.integers(1, 4)
    height = np.abs((x * teeth) % 1 - 0.5) * rng.uniform(0.2, 0.6)
    return palette[(((y + height) * bands * len(palette)) % len(palette)).astype(int)]


def _plaid(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    repeats = rng.integers(1, 4, 2)
    picture = np.broadcast_to(palette[0].astype(float), (SIZE, SIZE, 3)).copy()
    for colour in palette[1:]:
        for axis, repeat in zip((x, y), repeats, strict=True):
            band = np.abs((axis * repeat + rng.uniform()) % 1 - 0.5) < rng.uniform(0.03, 0.15)
            picture[band] = 0.4 * picture[band] + 0.6 * colour
    return picture.astype(np.uint8)


def _label(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    """A printed packet: blocks of colour, lines that look like text, discs."""
    picture = Image.fromarray(np.broadcast_to(palette[0], (SIZE, SIZE, 3)).copy())
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(12, 20)):
        left, top = rng.integers(-10, 220, 2).tolist()
        width, height = rng.integers(25, 90, 2).tolist()
        colour = tuple(palette[rng.integers(1, len(palette))].tolist())
        box = (left, top, left + width, top + height)
        kind = rng.integers(3)
        if kind == 0:
            draw.rectangle(box, colour)
        elif kind == 1:
            draw.ellipse(box, colour)
        else:
            for line in range(top, top + height, 8):
                draw.line((left, line, left + rng.uniform(0.4, 1) * width, line), colour, 4)
    return np.asarray(picture)


def _rings(rng: np.random.Generator, palette: Palette) -> np.ndarray:
    x, y = _grid()
    wave = np.cos(2 * np.pi * (x - rng.uniform())) + np.cos(2 * np.pi * (y - rng.uniform()))
    return palette[((wave + 2) * rng.uniform(1, 4)).astype(int) % len(palette)]


PATTERNS: tuple[Callable[[np.random.Generator, Palette], np.ndarray], ...] = (
    _stripes,
    _checker,
    _dots,
    _marble,
    _camouflage,
    _patches,
    _bricks,
    _zigzag,
    _plaid,
    _label,
    _rings,
)
