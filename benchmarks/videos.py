"""Importing one high-speed video: CPU time and memory, by its number of frames.

    python benchmarks/videos.py
    python benchmarks/videos.py --frames 600 --size 720 1280

A textured square that moves before a textured wall is written as H.264 of 240 frames a second. Each
video is averaged into the default 11 images, of up to 200 frames, by a process of its own.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from threading import Barrier

import numpy as np

from benchmarks.report import Options, Table, in_processes, machine, peak_gb, save
from bridge.common import cli
from bridge.common.record import Count
from bridge.dataset.videos.clip import expose
from bridge.dataset.videos.config import VideoConfig
from bridge.dataset.videos.frames import pyav
from bridge.dataset.videos.layout import find_folders

RATE = 240
_TILE = 40
"""Pixels of the wall's squares."""

TABLE = Table(
    "frames | images | before, MB | at most, MB | CPU s",
    "{frames:,} | {images} | {before:.0f} | {peak:.0f} | {seconds:.1f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is drawn."""

    frames: tuple[Count, ...] = (300, 1200)
    """Of each video."""
    size: tuple[Count, Count] = (1080, 1920)
    """Height and width of the frames."""


@dataclass(frozen=True)
class Import:
    """What one video took; memory in MB, and CPU time in seconds."""

    frames: int
    images: int
    before: float
    peak: float
    seconds: float


def draw(count: int, size: tuple[int, int], seed: int) -> Iterator[np.ndarray]:
    """Frames, uint8 RGB [H, W, 3], of a square that swings to and fro."""
    rng = np.random.default_rng(seed)
    height, width = size
    tiles = (-(-height // _TILE), -(-width // _TILE))
    wall = rng.integers(40, 200, (*tiles, 3)).astype(np.uint8)
    wall = wall.repeat(_TILE, 0).repeat(_TILE, 1)[:height, :width]
    side = height // 6
    square = rng.integers(0, 256, (side, side, 3)).astype(np.uint8)
    for number in range(count):
        frame = wall.copy()
        left = round((width - side) * (0.5 - 0.4 * np.cos(number / 150)))
        frame[height // 2 : height // 2 + side, left : left + side] = square
        yield frame


def write(path: Path, frames: Iterator[np.ndarray], size: tuple[int, int]) -> None:
    """Write frames as a video."""
    av = pyav()
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=RATE)
        stream.height, stream.width = size
        stream.pix_fmt = "yuv420p"
        for pixels in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode())


def measure(_: int, __: Barrier, folder: str, frames: int) -> Import:
    """Import the video in a folder, in this process."""
    (clip,) = find_folders(folder).clips
    before, began = peak_gb(), time.process_time()
    images = len(expose(clip, VideoConfig()).images)
    seconds, peak = time.process_time() - began, peak_gb()
    return Import(frames, images, 1e3 * (before or 0), 1e3 * (peak or 0), seconds)


def run(config: Config) -> list[Import]:
    """Measure and report."""
    found = []
    for count in config.frames:
        with tempfile.TemporaryDirectory() as folder:
            write(Path(folder) / "a.mp4", draw(count, config.size, config.seed), config.size)
            found += in_processes(1, measure, folder, count)
    records = [asdict(one) for one in found]
    title = f"Import of a video of {config.size[1]}x{config.size[0]}, {machine()}"
    save(config.out, [title, TABLE.text(records)], {"videos": records})
    return found


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
