"""Importing the published data: images/s of one core, and what its size costs the driver.

    python benchmarks/published.py
    python benchmarks/published.py --trajectories 4 --members 20000 --paths 10000 --selected 1000

Made-up pictures of the published size are read from loose files and from an archive. Archive lists,
statistics and selections of the published length are read once, in a process of its own each.
"""

from __future__ import annotations

import io
import json
import multiprocessing
import shutil
import struct
import tempfile
import time
import zipfile
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.report import Options, Table, machine, peak_gb, save
from bridge.common import cli
from bridge.common.images import encode
from bridge.common.record import Count
from bridge.dataset.romb.archives import read_archives
from bridge.dataset.romb.names import FILES, WINDOWS
from bridge.dataset.romb.npy import read_npy
from bridge.dataset.romb.plan import Plan, make_romb_shard
from bridge.dataset.romb.sets import synthetic_set
from bridge.dataset.romb.sources import Folder, catalogue_of
from bridge.dataset.romb.statistics import marks_of, synthetic_statistics

HEIGHT, WIDTH = 240, 320
OBJECT = "02691156/0123456789abcdef0123456789abcdef"

READING = Table(
    "from | labels from | images | kB each | CPU s | images/s of a core",
    "{source} | {labels} | {images:,} | {kilobytes:.0f} | {seconds:.2f} | {rate:,.0f}",
)
DRIVER = Table(
    "what is read | of it | CPU s | peak memory, GB",
    "{what} | {count:,} | {seconds:.1f} | {peak_gb:.2f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """How much."""

    trajectories: Count = 60
    """Of 11 images each, that are read."""
    members: Count = 3_004_320
    """Files in the list of an archive: 1138 objects, 120 trajectories, 22 files."""
    paths: Count = 1_502_160
    """Pictures that the statistics name."""
    selected: Count = 91_621
    """Pictures in the largest selection, each with a class of 193."""


def pictures(folder: Path, trajectories: int) -> int:
    """Write a set with statistics; returns the bytes of its pictures."""
    rng = np.random.default_rng(0)
    smooth = np.asarray(
        Image.fromarray(rng.integers(0, 256, (9, 12, 3), np.uint8)).resize((WIDTH, HEIGHT))
    )
    names = []
    size = 0
    for number in range(trajectories):
        place = folder / OBJECT / f"{number:03d}"
        place.mkdir(parents=True)
        for window in range(WINDOWS):
            noisy = smooth + rng.normal(0, 2, smooth.shape)
            data = encode(noisy.clip(0, 255).astype(np.uint8), "png")
            (place / FILES[window]).write_bytes(data)
            (place / FILES[WINDOWS + window]).write_bytes(_blurred(smooth, window))
            names.append(f"{OBJECT}/{number:03d}/{FILES[WINDOWS + window]}")
            size += len(data)
    _statistics(folder, names)
    return size


def _blurred(colours: np.ndarray, window: int) -> bytes:
    columns = np.abs(np.arange(WIDTH) - WIDTH / 2)
    alpha = np.clip((60 - columns) / (1 + 4 * window), 0, 1) * 255
    rgba = np.dstack([colours, np.broadcast_to(alpha, (HEIGHT, WIDTH))]).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(rgba).save(buffer, "PNG")
    return buffer.getvalue()


def _statistics(folder: Path, names: list[str]) -> None:
    stats = folder / "stats/blur_stats"
    stats.mkdir(parents=True)
    parts = [names[level::10] for level in range(10)]
    (stats / "img_paths_by_blurlevel.json").write_text(json.dumps(parts))
    values = [np.full(len(part), 0.95 - level / 10) for level, part in enumerate(parts)]
    np.savez(stats / "blur_values_by_blurlevel.npz", *values)


def reading(folder: Path, trajectories: int) -> list[dict[str, Any]]:
    """Rows of the first table."""
    tree, archive = folder / "synthetic_data", folder / "synthetic_data.zip"
    size = pictures(tree, trajectories)
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as file:
        for path in tree.rglob("*"):
            file.write(path, path.relative_to(folder))
    numbers = {OBJECT: np.arange(trajectories, dtype=np.int32)}
    sources = {
        "loose files": (Folder(str(tree)), catalogue_of(numbers)),
        "an archive": read_archives([str(archive)]),
    }
    rows = []
    for name, source in sources.items():
        plan = Plan.of(synthetic_set(*source, 0, 90).parts)
        # Whatever is done once in a process is no cost of an image.
        make_romb_shard(plan[0], str(folder / "out"), True)
        for alpha in (False, True):
            started = time.process_time()
            results = [make_romb_shard(task, str(folder / "out"), alpha) for task in plan]
            seconds = time.process_time() - started
            images = sum(result.record.rows for result in results)
            rows.append(
                {
                    "source": name,
                    "labels": "statistics, boxes from alpha" if alpha else "statistics",
                    "images": images,
                    "kilobytes": size / images / 1e3,
                    "seconds": seconds,
                    "rate": images / seconds,
                }
            )
    return rows


def make_list(folder: Path, members: int) -> None:
    """An archive of which only the list is there."""
    path = folder / "list.zip"
    size = 1000
    with path.open("wb") as file:
        file.seek(members * (size + 100))
        start = file.tell()
        for number in range(members):
            trajectory, slot = divmod(number, len(FILES))
            model, trajectory = divmod(trajectory, 120)
            name = f"synthetic_data/02691156/{model:032x}/{trajectory:03d}/{FILES[slot]}".encode()
            offset = number * (size + 100)
            extra = struct.pack("<2HQ", 1, 8, offset)
            head = (b"PK\1\2", 45, 3, 45, 0, 0, 0, 0, 0, 0, size, size, len(name), len(extra))
            file.write(struct.pack("<4s4B4H3L5H2L", *head, 0, 0, 0, 0, 0xFFFFFFFF))
            file.write(name + extra)
        end = file.tell()
        sizes = (end - start, start)
        file.write(struct.pack("<4sQ2H2L4Q", b"PK\6\6", 44, 45, 45, 0, 0, members, members, *sizes))
        file.write(struct.pack("<4sLQL", b"PK\6\7", 0, end, 1))
        most = (0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 0)
        file.write(struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, *most))


def read_list(folder: Path, _: int) -> None:
    """The trajectories in it."""
    read_archives([str(folder / "list.zip")])


def make_statistics(folder: Path, paths: int) -> None:
    """Statistics of many pictures."""
    trajectories = -(-paths // WINDOWS)
    names = [
        f"02691156/{t // 120:032x}/{t % 120:03d}/{k}_blurred.png"
        for t in range(trajectories)
        for k in range(WINDOWS)
    ][:paths]
    _statistics(folder, names)


def read_statistics(folder: Path, paths: int) -> None:
    """The labels of the trajectories that they are of."""
    models = -(-paths // (120 * WINDOWS))
    numbers = np.arange(120, dtype=np.int32)
    catalogue = catalogue_of({f"02691156/{model:032x}": numbers for model in range(models)})
    marks_of(catalogue, synthetic_statistics(Folder(str(folder))))


def make_selection(folder: Path, selected: int) -> None:
    """A pickled selection as it was published."""
    chosen: dict[str, list[Any]] = {}
    for number in range(selected):
        model = f"{number % 193:032x}"
        one_hot = np.zeros(193)
        one_hot[number % 193] = 1
        path = f"/data/synthetic_data/02691156/{model}/{number % 120:03d}/3_rendered.png"
        chosen.setdefault(model, []).append((path, np.float64(0.5), 4, one_hot))
    np.save(folder / "selection.npy", np.array(chosen, dtype=object), allow_pickle=True)


def read_selection(folder: Path, _: int) -> None:
    """All of it."""
    read_npy((folder / "selection.npy").read_bytes(), "selection.npy")


Step = Callable[[Path, int], None]
SUBJECTS: dict[str, tuple[Step, Step]] = {
    "the list of an archive": (make_list, read_list),
    "statistics": (make_statistics, read_statistics),
    "a selection": (make_selection, read_selection),
}
"""What is made, and how it is read."""


def measure(what: str, count: int, folder: Path) -> dict[str, Any]:
    """A row of the second table; making and reading have a process of their own each."""
    make, read = SUBJECTS[what]
    context = multiprocessing.get_context("spawn")
    for step in (make, read):
        with ProcessPoolExecutor(1, mp_context=context) as pool:
            seconds, peak = pool.submit(_cost, step, folder, count).result()
    return {"what": what, "count": count, "seconds": seconds, "peak_gb": peak}


def _cost(step: Step, folder: Path, count: int) -> tuple[float, float | None]:
    """CPU seconds, and the most memory of this process in GB."""
    started = time.process_time()
    step(folder, count)
    return time.process_time() - started, peak_gb()


def run(config: Config) -> None:
    """Measure and report."""
    folder = Path(tempfile.mkdtemp(prefix="published-"))
    try:
        rows = reading(folder, config.trajectories)
        counts = (config.members, config.paths, config.selected)
        driver = []
        for what, count in zip(SUBJECTS, counts, strict=True):
            place = folder / what.replace(" ", "_")
            place.mkdir()
            driver.append(measure(what, count, place))
    finally:
        shutil.rmtree(folder)
    parts = ["# Importing the published data", machine(), READING.text(rows), DRIVER.text(driver)]
    save(config.out, parts, {"reading": rows, "driver": driver})


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
