"""What is in the shards of an imported set, as pure functions.

They have the same bytes wherever and however often they are made, and the bytes of their pictures
are those that were published.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from bridge.blur import blur_level, blur_severity, blur_value, bounding_box
from bridge.common.images import UnreadableImage
from bridge.dataset.manifest import Rejection, ShardResult
from bridge.dataset.romb.names import FILES, WINDOWS
from bridge.dataset.romb.png import check_png, opacity
from bridge.dataset.romb.sources import Source
from bridge.dataset.romb.zips import DamagedMember
from bridge.dataset.schema import image_id, to_table
from bridge.dataset.shards import write_shard

MISSING, DAMAGED = "missing_image", "damaged_image"
EMPTY = "empty_trajectory"
DAMAGED_ALPHA = "damaged_alpha"
"""Reasons of rejections; the last is of a picture that is in the dataset, but for what only its
opacity could tell."""


@dataclass(frozen=True)
class Trajectory:
    """A trajectory of a synthetic set.

    Attributes:
        object_id: `<category>/<model>`.
        number: of the trajectory.
        level: int8 [11], blur levels 1..10, 0 where the statistics do not name the picture.
        severity: float32 [11], NaN where unknown.
        members: `MEMBER` [22], places of its `FILES` in the archives; None for loose files.
    """

    object_id: str
    number: int
    level: np.ndarray
    severity: np.ndarray
    members: np.ndarray | None = None

    @property
    def name(self) -> str:
        """`<category>/<model>/<trajectory>`, its path in the set."""
        return f"{self.object_id}/{self.number:03d}"


@dataclass(frozen=True)
class TrajectoryTask:
    """One shard: its file, and the trajectories in it, which are of one source."""

    path: str
    split: str
    source: Source
    trajectories: tuple[Trajectory, ...]


def make_trajectory_shard(task: TrajectoryTask, dataset: str, read_alpha: bool) -> ShardResult:
    """Read the trajectories of a shard and write it (atomically) into the dataset.

    Pictures that are missing or damaged are left out and reported.

    Args:
        task: what to read.
        dataset: folder of the dataset.
        read_alpha: work out boxes, and what the statistics do not say, from the pictures of the
            objects alone where they are there.
    """
    tables = [to_table([])]
    rejections: list[Rejection] = []
    for trajectory in task.trajectories:
        rows = list(_rows(task.source, trajectory, read_alpha, rejections))
        tables.append(to_table(rows))
    table = pa.concat_tables(tables)
    record = write_shard(dataset, task.path, task.split, table)
    return ShardResult.of(record, table, rejections)


def _rows(
    source: Source, trajectory: Trajectory, read_alpha: bool, rejections: list[Rejection]
) -> Iterator[dict[str, Any]]:
    """The pictures of a trajectory as rows of a shard; what is left out goes to `rejections`."""
    missing = []
    for window in range(WINDOWS):
        name = image_id(trajectory.object_id, trajectory.number, window)
        try:
            data = _read(source, trajectory, window)
            check_png(data)
        except FileNotFoundError:
            missing.append(Rejection(MISSING, name))
            continue
        except (DamagedMember, UnreadableImage, OSError) as error:
            rejections.append(Rejection(DAMAGED, name, _why(error)))
            continue
        labels = _labels(source, trajectory, window, read_alpha, rejections)
        yield {
            "image": {"bytes": data, "path": f"{name}.png"},
            "image_id": name,
            "object_id": trajectory.object_id,
            "category": trajectory.object_id.partition("/")[0],
            "trajectory": trajectory.number,
            "window": window,
            "background_id": None,
        } | labels
    if len(missing) == WINDOWS:
        missing = [Rejection(EMPTY, trajectory.name)]
    rejections += missing


def _read(source: Source, trajectory: Trajectory, slot: int) -> bytes:
    member = None if trajectory.members is None else trajectory.members[slot]
    return source.picture(f"{trajectory.name}/{FILES[slot]}", member)


def _labels(
    source: Source,
    trajectory: Trajectory,
    window: int,
    read_alpha: bool,
    rejections: list[Rejection],
) -> dict[str, Any]:
    """From the statistics, and from the opacity of the object where they say nothing."""
    alpha = _alpha(source, trajectory, window, rejections) if read_alpha else None
    level: int | None = int(trajectory.level[window]) or None
    known = float(trajectory.severity[window])
    severity = None if math.isnan(known) else known
    if alpha is not None and (level is None or severity is None):
        measured = blur_severity(alpha)
        if level is None or blur_level(measured) == level:
            level, severity = blur_level(measured), measured
    return {
        "blur_level": level,
        "blur_severity": severity,
        "mean_opacity": None if alpha is None else blur_value(alpha, erosion=0),
        "bbox": None if alpha is None else bounding_box(alpha),
    }


def _alpha(
    source: Source, trajectory: Trajectory, window: int, rejections: list[Rejection]
) -> np.ndarray | None:
    try:
        return opacity(_read(source, trajectory, WINDOWS + window))
    except FileNotFoundError:
        return None
    except (DamagedMember, UnreadableImage, OSError) as error:
        name = image_id(trajectory.object_id, trajectory.number, window)
        rejections.append(Rejection(DAMAGED_ALPHA, name, _why(error)))
        return None


def _why(error: Exception) -> str:
    # An OSError tells its path, which is known.
    return error.strerror or str(error) if isinstance(error, OSError) else str(error)
