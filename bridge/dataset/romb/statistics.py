"""The published statistics: blur level and blur severity of every picture of a synthetic set.

Both generations of the published software are read. Their levels count from 0, their blur values
are 1 - BS, and a picture whose value is exactly 1 stands in the list of the most blurred.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from bridge.blur import NUM_LEVELS
from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.dataset.manifest import Adjustment, Rejection
from bridge.dataset.romb.names import WINDOWS, Pictures, pictures_of
from bridge.dataset.romb.npy import read_npy, read_npz
from bridge.dataset.romb.sources import Catalogue, Source

UNKNOWN_LEVEL = 0

_SYNTHETIC = (
    "stats/blur_stats/img_paths_by_blurlevel.json",
    "stats/erosion/img_paths_erosion_by_blurlevel.json",
)
_SYNTHETIC_VALUES = (
    "stats/blur_stats/blur_values_by_blurlevel.npz",
    "stats/erosion/avg_alphas_erosion_by_blurlevel.npz",
)
_DISTRACTORS = ("stats/img_paths.json", "stats/erosion/img_paths.json")
_DISTRACTOR_LEVELS = ("stats/blur_levels.npy", "stats/erosion/blur_levels.npy")
_DISTRACTOR_VALUES = (
    "stats/blur_values.npy",
    "stats/blur_vals.npy",
    "stats/erosion/alphas_erosion.npy",
)
_EDGE = 1e-6
"""A value this close to the edge of a level may be on either side of it."""
_INSIDE = 3e-7
"""Where a severity is moved to so that float32 does not put it on the other side."""


@dataclass(frozen=True)
class Statistics:
    """What is known of N pictures.

    Attributes:
        pictures: which.
        level: int8 [N], 1..10 as in the paper.
        value: float64 [N], 1 - BS, NaN where unknown.
        source: the file that names them, for messages.
    """

    pictures: Pictures
    level: np.ndarray
    value: np.ndarray
    source: str


@dataclass(frozen=True)
class Marks:
    """The labels of the T trajectories of a catalogue.

    Attributes:
        level: int8 [T, 11], 0 where the statistics do not name the picture.
        severity: float32 [T, 11], NaN where unknown.
        missing: pictures, trajectories and objects that the statistics name and that are not there.
        adjusted: labels that contradict each other.
    """

    level: np.ndarray
    severity: np.ndarray
    missing: tuple[Rejection, ...] = ()
    adjusted: tuple[Adjustment, ...] = ()


def synthetic_statistics(source: Source) -> Statistics | None:
    """Of the set that is trained and evaluated on; None where it has none.

    Raises:
        InputError: they cannot be read, or do not belong together.
    """
    name, lists = _json_of(source, _SYNTHETIC)
    if lists is None:
        return None
    if not isinstance(lists, list) or not all(isinstance(paths, list) for paths in lists):
        raise InputError(f"{name} must hold a list of paths for each blur level.")
    lengths = [len(paths) for paths in lists]
    levels = np.repeat(np.arange(len(lists)), lengths)
    values = np.full(len(levels), np.nan)
    values_name, data = first_of(source, _SYNTHETIC_VALUES)
    if data is not None:
        arrays = read_npz(data, values_name)
        parts = [arrays.get(f"arr_{i}", np.zeros(0)) for i in range(len(lists))]
        if [part.shape for part in parts] != [(length,) for length in lengths]:
            raise InputError(f"{values_name} has not a value for each path of {name}.")
        values = _numbers(np.concatenate([np.zeros(0), *parts]), values_name)
    return _statistics(chain.from_iterable(lists), levels, values, name)


def distractor_statistics(source: Source) -> Statistics | None:
    """Of the distractors, as `synthetic_statistics`."""
    name, paths = _json_of(source, _DISTRACTORS)
    if paths is None:
        return None
    if not isinstance(paths, list):
        raise InputError(f"{name} must hold a list of paths.")
    levels = _column(source, _DISTRACTOR_LEVELS, len(paths), name)
    if levels is None:
        raise InputError(f"{name} is there, but not {source.name(_DISTRACTOR_LEVELS[0])}.")
    values = _column(source, _DISTRACTOR_VALUES, len(paths), name)
    return _statistics(
        paths, levels, np.full(len(paths), np.nan) if values is None else values, name
    )


def _column(
    source: Source, candidates: Sequence[str], length: int, paths: str
) -> np.ndarray | None:
    name, data = first_of(source, candidates)
    if data is None:
        return None
    column = _numbers(read_npy(data, name), name)
    if column.shape != (length,):
        raise InputError(f"{name} has not a value for each path of {paths}.")
    return column


def first_of(source: Source, candidates: Sequence[str]) -> tuple[str, bytes | None]:
    """The first of some files that there is, with its name for messages."""
    for path in candidates:
        data = source.file(path)
        if data is not None:
            return source.name(path), data
    return "", None


def _json_of(source: Source, candidates: Sequence[str]) -> tuple[str, Any]:
    name, data = first_of(source, candidates)
    if data is None:
        return name, None
    with reading(name):
        return name, json.loads(data)


def _numbers(values: Any, source: str) -> np.ndarray:
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf":
        raise InputError(f"{source} must hold numbers.")
    return values.astype(np.float64)


def _statistics(
    paths: Iterable[Any], levels: np.ndarray, values: np.ndarray, source: str
) -> Statistics:
    with reading(source):
        texts = pa.array(paths, pa.string())
    # A value of exactly 1 gives the reference's level -1.
    if not ((levels >= -1) & (levels < NUM_LEVELS)).all():
        raise InputError(f"{source} has blur levels outside 0..{NUM_LEVELS - 1}.")
    if ((values < 0) | (values > 1 + _EDGE)).any():
        raise InputError(f"{source} has blur values outside 0..1.")
    level = np.maximum(levels, 0).astype(np.int8) + 1
    return Statistics(pictures_of(texts, source), level, np.minimum(values, 1), source)


def marks_of(catalogue: Catalogue, statistics: Statistics | None) -> Marks:
    """The labels of a catalogue's pictures, as far as the statistics know them."""
    level = np.full((len(catalogue), WINDOWS), UNKNOWN_LEVEL, np.int8)
    severity = np.full((len(catalogue), WINDOWS), np.nan, np.float32)
    if statistics is None:
        return Marks(level, severity)
    pictures = statistics.pictures
    objects = pc.index_in(pictures.object_id, pa.array(catalogue.objects, pa.string()))
    number = objects.fill_null(-1).to_numpy().astype(np.int64)
    wanted = number << 32 | pictures.trajectory
    keys = catalogue.key
    row = np.minimum(np.searchsorted(keys, wanted), max(len(keys) - 1, 0))
    there = (keys[row] == wanted) & (number >= 0) if len(keys) else np.zeros(len(wanted), bool)
    levels, severities, adjusted = _agreed(statistics)
    level[row[there], pictures.window[there]] = levels[there]
    severity[row[there], pictures.window[there]] = severities[there]
    return Marks(level, severity, _missing(pictures, number, there), adjusted)


def _agreed(statistics: Statistics) -> tuple[np.ndarray, np.ndarray, tuple[Adjustment, ...]]:
    """Levels and severities that follow from each other.

    The published level holds, but where the value contradicts it by more than rounding.
    """
    level, value = statistics.level, statistics.value
    low, high = (_levels(np.clip(value + side, 0, 1)) for side in (_EDGE, -_EDGE))
    wrong = np.flatnonzero(((level < low) | (level > high)) & ~np.isnan(value))
    agreed = level.copy()
    agreed[wrong] = _levels(value[wrong])
    # On an edge, float32 could fall to its other side.
    least = np.where(agreed > 1, (agreed - 1) / NUM_LEVELS + _INSIDE, 0)
    severity = np.clip(1 - value, least, agreed / NUM_LEVELS)
    adjusted = tuple(
        Adjustment(
            "blur_level",
            statistics.pictures.image_id[row].as_py(),
            f"{agreed[row]} by its blur value {value[row]:.6g} instead of {level[row]}",
        )
        for row in wrong
    )
    return agreed, severity.astype(np.float32), adjusted


def _levels(value: np.ndarray) -> np.ndarray:
    """The published rule: blur levels 1..10 of values in 0..1, as int8."""
    edges = np.arange(NUM_LEVELS + 1) / NUM_LEVELS
    passed = np.searchsorted(edges, value, side="right")
    return np.clip(NUM_LEVELS + 1 - passed, 1, NUM_LEVELS).astype(np.int8)


def _missing(pictures: Pictures, number: np.ndarray, there: np.ndarray) -> tuple[Rejection, ...]:
    """Objects and trajectories that are named and not there, each once; pictures that are missing
    in a trajectory that is there are found where it is read."""
    gone = ~there & (number < 0)
    objects = pc.unique(pictures.object_id.filter(pa.array(gone))).to_pylist()
    partly = pa.array(~there & (number >= 0))
    names = pc.replace_substring_regex(pictures.image_id.filter(partly), r"/[0-9]+$", "")
    return tuple(
        [Rejection("missing_object", name) for name in sorted(objects)]
        + [Rejection("missing_trajectory", name) for name in sorted(pc.unique(names).to_pylist())]
    )
