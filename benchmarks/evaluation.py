"""Speed and memory of exact evaluation, at the sizes of the paper, on random descriptors.

    python benchmarks/evaluation.py                                  under a minute
    python benchmarks/evaluation.py --preset paper                   mAP@all of Table 1's images
    python benchmarks/evaluation.py --preset distractors             mAP@100 with 1.1 million more
    python benchmarks/evaluation.py --preset per_level --out FILE    against one level at a time

Three ways see the same data in the same run: the product of all descriptors alone (NumPy's matrix
product, all cores), `bridge.metrics` in a fresh process whose peak memory is read, and the
published code's way on a sample of the queries: every row sorted, one-hot labels in that order.
CPU time tells what a busy machine hides; it is of all cores together.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from benchmarks.descriptors import like_descriptors
from benchmarks.report import Options, Table, in_processes, machine, peak_gb, save
from bridge.common import cli
from bridge.common.record import Count
from bridge.metrics import UNLABELLED, evaluate_by_database_blur_level, evaluate_retrieval

if TYPE_CHECKING:
    import torch

LEVEL_SHARES = np.array([18_871, 17_508, 17_888, 18_029, 12_546, 6_779]) / 91_621
"""Of the blur levels 1..6 in the database (paper, Table 1)."""

PRODUCT_FLOPS = 4e11
"""Of the sample of the product, a few seconds on two cores."""

TABLE = Table("figure | wall clock | CPU time", "{figure} | {wall:,.2f} | {cpu:,.2f}")


@dataclass(frozen=True)
class Size:
    """Numbers of images, the cut-off, and whether the database is taken level by level."""

    queries: int
    database: int
    distractors: int = 0
    k: int | None = None
    per_level: bool = False


Preset = Literal["quick", "paper", "distractors", "per_level", "per_level_with_distractors"]
PRESETS: dict[Preset, Size] = {
    "quick": Size(2_000, 91_621),
    "paper": Size(20_995, 91_621),
    "distractors": Size(20_995, 91_621, 1_091_939, k=100),
    "per_level": Size(20_995, 91_621, per_level=True),
    "per_level_with_distractors": Size(20_995, 91_621, 1_091_939, k=100, per_level=True),
}


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is measured."""

    preset: Preset = "quick"
    """Numbers of images (paper, Table 1) and cut-off."""
    queries: Count | None = None
    """Number of queries, if not the preset's."""
    reference_queries: Count = 20
    """Queries that are evaluated in the published code's way."""
    objects: Count = 193
    """Number of objects, drawn uniformly for every image; distractors are of as many others."""
    dimension: Count = 128
    """Length of the descriptors."""
    noise: float = 2.0
    """Scatter of the images of an object as a share of that of the objects: higher is harder."""
    device: str = "cpu"
    """Of `bridge.metrics`: cpu, or cuda."""


class Data(NamedTuple):
    """Descriptors float32 [., d], object numbers (-1 for distractors) and blur levels 1..6."""

    queries: NDArray[np.float32]
    database: NDArray[np.float32]
    query_labels: NDArray[np.int64]
    database_labels: NDArray[np.int64]
    query_levels: NDArray[np.int64]
    database_levels: NDArray[np.int64]


def random_data(config: Config, size: Size) -> Data:
    """Images of random objects, see `benchmarks.descriptors`."""
    rng = np.random.default_rng(config.seed)
    known, total = size.queries + size.database, size.queries + size.database + size.distractors
    objects = rng.integers(config.objects, size=total)
    objects[known:] += config.objects
    levels = rng.choice(np.arange(1, 7), total, p=LEVEL_SHARES)
    made = like_descriptors(total, config.dimension, config.seed, objects, config.noise)
    objects[known:] = UNLABELLED
    q = size.queries
    return Data(made[:q], made[q:], objects[:q], objects[q:], levels[:q], levels[q:])


def clock() -> NDArray[np.float64]:
    """Now, in seconds of [wall clock, CPU time of this process]."""
    return np.array([time.perf_counter(), time.process_time()])


def product_seconds(data: Data) -> NDArray[np.float64]:
    """Seconds [wall, CPU] of the product of all descriptors, from that of some queries."""
    total = 2.0 * len(data.queries) * data.database.size
    block = min(256, len(data.queries))
    scores = np.empty((block, min(8_192, len(data.database))), np.float32)
    done, start = 0.0, clock()
    while done < min(total, PRODUCT_FLOPS):
        for first in range(0, len(data.database) - scores.shape[1] + 1, scores.shape[1]):
            rows = data.database[first : first + scores.shape[1]]
            np.matmul(data.queries[:block], rows.T, out=scores)
            done += 2.0 * block * rows.size
    return (clock() - start) * total / done


def measure_ours(rank: int, start: object, config: Config, size: Size) -> dict[str, Any]:
    """Seconds [wall, CPU], GB at peak, and AP of all queries; for a process of its own.

    The kernels are compiled, or loaded, before the clock starts.
    """
    data = random_data(config, size)
    few = replace(size, queries=64, database=2_000, distractors=min(size.distractors, 2_000))
    _evaluate(random_data(config, few), size, config.device)
    began = clock()
    precision = _evaluate(data, size, config.device)
    seconds = clock() - began
    return {"seconds": seconds, "peak_gb": peak_gb(), "average_precision": precision}


def _evaluate(data: Data, size: Size, device: str) -> NDArray[np.float64]:
    """AP `retrieved` of every query, as a mean over the database levels if these are separate."""
    arguments = data.queries, data.database, data.query_labels, data.database_labels
    if not size.per_level:
        result = evaluate_retrieval(*arguments, k=size.k, device=device)
        return result.average_precision["retrieved"]
    levels = evaluate_by_database_blur_level(
        *arguments,
        k=size.k,
        query_blur_levels=data.query_levels,
        database_blur_levels=data.database_levels,
        device=device,
    )
    parts = levels.by_database_blur_level.values()
    return np.mean([part.average_precision["retrieved"] for part in parts], axis=0)


def measure_reference(data: Data, size: Size, num_queries: int) -> dict[str, Any]:
    """Seconds [wall, CPU] for all queries, from the first few, and AP of these.

    As in the published code, with labels in float32 where that has float64, and torch's threads.
    """
    # Not above: in the process whose memory is read, torch would be part of it.
    import torch

    one_hot = torch.zeros(len(data.database), int(data.query_labels.max()) + 1)
    real = np.flatnonzero(data.database_labels != UNLABELLED)
    one_hot[real, data.database_labels[real]] = 1
    levels = data.database_levels if size.per_level else np.zeros_like(data.database_levels)
    groups = [torch.from_numpy(np.flatnonzero(levels == level)) for level in np.unique(levels)]
    parts = [(torch.from_numpy(data.database)[rows], one_hot[rows]) for rows in groups]
    start = clock()
    precision = [
        np.mean([sorted_average_precision(query, *part, int(label), size.k) for part in parts])
        for query, label in zip(
            torch.from_numpy(data.queries[:num_queries]), data.query_labels, strict=False
        )
    ]
    seconds = (clock() - start) * (len(data.queries) / num_queries)
    return {"seconds": seconds, "average_precision": np.array(precision)}


def sorted_average_precision(
    query: torch.Tensor, database: torch.Tensor, one_hot: torch.Tensor, label: int, k: int | None
) -> float:
    """AP of one query over the positives found in the first k."""
    import torch

    wanted = torch.zeros(one_hot.shape[1])
    wanted[label] = 1
    order = torch.argsort(database @ query, descending=True)
    hits = (one_hot[order] @ wanted)[:k].double()
    precisions = hits.cumsum(0) / torch.arange(1, len(hits) + 1)
    return float((precisions * hits).sum() / hits.sum().clamp(min=1))


def run(config: Config, size: Size | None = None) -> dict[str, Any]:
    """All figures of one size; prints them, and writes them if a file is given."""
    size = size or PRESETS[config.preset]
    size = replace(size, queries=config.queries or size.queries)
    [ours] = in_processes(1, measure_ours, config, size)
    data = random_data(config, size)
    product = product_seconds(data)
    few = min(config.reference_queries, size.queries)
    reference = measure_reference(data, size, few)
    difference = ours["average_precision"][:few] - reference["average_precision"]
    times = {
        "bridge.metrics, s": ours["seconds"],
        "product alone, s": product,
        "times the product": ours["seconds"] / product,
        f"published way, s ({few} queries)": reference["seconds"],
        "times faster than that": reference["seconds"] / ours["seconds"],
    }
    figures = {
        "preset": config.preset,
        "size": asdict(size),
        "times": [
            {"figure": name, "wall": wall, "cpu": cpu} for name, (wall, cpu) in times.items()
        ],
        "peak_gb": ours["peak_gb"],
        "map": ours["average_precision"].mean(),
        "largest_difference_of_average_precision": np.abs(difference).max(),
    }
    parts = [
        f"{size.queries:,} queries, {size.database:,} images, {size.distractors:,} distractors, "
        f"k = {size.k or 'all'}{', level by level' if size.per_level else ''}: "
        f"mAP {figures['map']:.4f}. {machine()}.",
        TABLE.text(figures["times"]),
        f"Peak memory, descriptors included: {figures['peak_gb']:.2f} GB. Largest difference of AP "
        f"to the published way: {figures['largest_difference_of_average_precision']:.1e}.",
    ]
    save(config.out, parts, figures)
    return figures


if __name__ == "__main__":
    cli.main(run, Config, description=__doc__)
