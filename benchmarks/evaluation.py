"""Speed and memory of exact evaluation, at the sizes of the paper, on random descriptors.

    python benchmarks/evaluation.py                                  under a minute
    python benchmarks/evaluation.py --preset paper                   mAP@all of Table 1's images
    python benchmarks/evaluation.py --preset distractors             mAP@100 with 1.1 million more
    python benchmarks/evaluation.py --preset per_level --json FILE   against one level at a time

Three ways see the same data in the same run: the product of all descriptors alone (NumPy's matrix
product, all cores), `bridge.metrics` in a fresh process whose peak memory is read, and the
published code's way on a sample of the queries: every row sorted, one-hot labels in that order.
CPU time tells what a busy machine hides; it is of all cores together.
"""

from __future__ import annotations

import json
import multiprocessing
import resource
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import tyro
from numpy.typing import NDArray

from benchmarks.tables import machine, table
from bridge.metrics import UNLABELLED, evaluate_by_database_blur_level, evaluate_retrieval

if TYPE_CHECKING:
    import torch

LEVEL_SHARES = np.array([18_871, 17_508, 17_888, 18_029, 12_546, 6_779]) / 91_621
"""Of the blur levels 1..6 in the database (paper, Table 1)."""

PRODUCT_FLOPS = 4e11
"""Of the sample of the product, a few seconds on two cores."""


@dataclass(frozen=True)
class Size:
    """Numbers of images, the cut-off, and whether the database is taken level by level."""

    queries: int
    database: int
    distractors: int = 0
    k: int | None = None
    per_level: bool = False


PRESETS = {
    "quick": Size(2_000, 91_621),
    "paper": Size(20_995, 91_621),
    "distractors": Size(20_995, 91_621, 1_091_939, k=100),
    "per_level": Size(20_995, 91_621, per_level=True),
    "per_level_with_distractors": Size(20_995, 91_621, 1_091_939, k=100, per_level=True),
}


@dataclass(frozen=True)
class Config:
    """What is measured."""

    preset: Literal["quick", "paper", "distractors", "per_level", "per_level_with_distractors"] = (
        "quick"
    )
    """Numbers of images (paper, Table 1) and cut-off."""
    queries: int | None = None
    """Number of queries, if not the preset's."""
    reference_queries: int = 20
    """Queries that are evaluated in the published code's way."""
    objects: int = 193
    """Number of objects, drawn uniformly for every image."""
    dimension: int = 128
    """Length of the descriptors."""
    noise: float = 2.0
    """Norm of the noise that is added to an object's unit-length descriptor: higher is harder."""
    device: str = "cpu"
    """Of `bridge.metrics`: cpu, or cuda."""
    seed: int = 0
    """Seed of the random data."""
    json: Path | None = None
    """File for the figures."""


@dataclass(frozen=True)
class Data:
    """Descriptors float32 [., d], object numbers (-1 for distractors) and blur levels 1..6."""

    queries: NDArray[np.float32]
    database: NDArray[np.float32]
    query_labels: NDArray[np.int64]
    database_labels: NDArray[np.int64]
    query_levels: NDArray[np.int64]
    database_levels: NDArray[np.int64]


def random_data(config: Config, size: Size) -> Data:
    """Descriptors scattered around the directions of objects; distractors have their own."""
    generator = np.random.default_rng(config.seed)
    num_centres = 2 * config.objects
    centres = generator.standard_normal((num_centres, config.dimension), np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)

    def images(objects: NDArray[np.int64]) -> NDArray[np.float32]:
        found = generator.standard_normal((len(objects), config.dimension), np.float32)
        found *= np.float32(config.noise / np.sqrt(config.dimension))
        for start in range(0, len(objects), 10_000):
            part = found[start : start + 10_000]
            part += centres[objects[start : start + 10_000]]
            part /= np.linalg.norm(part, axis=1, keepdims=True)
        return found

    query_labels = generator.integers(config.objects, size=size.queries)
    real = generator.integers(config.objects, size=size.database)
    others = generator.integers(config.objects, num_centres, size=size.distractors)
    levels = [
        generator.choice(np.arange(1, 7), number, p=LEVEL_SHARES)
        for number in (size.queries, size.database + size.distractors)
    ]
    return Data(
        images(query_labels),
        images(np.concatenate([real, others])),
        query_labels,
        np.concatenate([real, np.full(size.distractors, UNLABELLED)]),
        *levels,
    )


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


def measure_ours(config: Config, size: Size) -> dict[str, Any]:
    """Seconds [wall, CPU], GB at peak, and AP of the first queries; for a process of its own.

    The kernels are compiled, or loaded, before the clock starts.
    """
    data = random_data(config, size)
    few = min(8, size.queries)
    _evaluate(Data(*(values[:few] for values in vars(data).values())), size, config.device)
    part = max(64 * (size.k or 0), few)
    warm = Data(
        data.queries[:few], data.database[:part], data.query_labels[:few],
        data.database_labels[:part], data.query_levels[:few], data.database_levels[:part],
    )  # fmt: skip
    _evaluate(warm, size, config.device)
    start = clock()
    precision = _evaluate(data, size, config.device)
    seconds = clock() - start
    unit = 1 if sys.platform == "darwin" else 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9
    return {
        "seconds": seconds,
        "peak_gb": peak,
        "map": float(precision.mean()),
        "average_precision": precision[: config.reference_queries].tolist(),
    }


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

    database = torch.from_numpy(data.database)
    levels = data.database_levels if size.per_level else np.zeros_like(data.database_levels)
    groups = [torch.from_numpy(np.flatnonzero(levels == level)) for level in np.unique(levels)]
    parts = [database[rows] for rows in groups] if size.per_level else [database]
    one_hot = torch.zeros(len(database), int(data.query_labels.max()) + 1)
    real = np.flatnonzero(data.database_labels != UNLABELLED)
    one_hot[real, data.database_labels[real]] = 1
    labels = [one_hot[rows] for rows in groups] if size.per_level else [one_hot]
    start = clock()
    precision = [
        np.mean(
            [
                sorted_average_precision(query, part, label, int(wanted), size.k)
                for part, label in zip(parts, labels, strict=True)
            ]
        )
        for query, wanted in zip(
            torch.from_numpy(data.queries[:num_queries]), data.query_labels, strict=False
        )
    ]
    seconds = (clock() - start) * (len(data.queries) / num_queries)
    return {"seconds": seconds, "average_precision": [float(value) for value in precision]}


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
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as process:
        ours = process.submit(measure_ours, config, size).result()
    data = random_data(config, size)
    product = product_seconds(data)
    num_queries = min(config.reference_queries, size.queries)
    reference = measure_reference(data, size, num_queries)
    difference = np.subtract(ours.pop("average_precision"), reference.pop("average_precision"))
    figures = {
        "machine": machine(),
        "preset": config.preset,
        "size": asdict(size),
        "seconds": _seconds(ours["seconds"]),
        "product_seconds": _seconds(product),
        "ratio_to_product": _seconds(ours["seconds"] / product),
        "reference_queries": num_queries,
        "reference_seconds": _seconds(reference["seconds"]),
        "ratio_to_reference": _seconds(reference["seconds"] / ours["seconds"]),
        "peak_gb": ours["peak_gb"],
        "map": ours["map"],
        "largest_difference_of_average_precision": float(np.abs(difference).max()),
    }
    print(text(figures))
    if config.json is not None:
        config.json.parent.mkdir(parents=True, exist_ok=True)
        config.json.write_text(json.dumps(figures, indent=1) + "\n")
    return figures


def _seconds(values: NDArray[np.float64]) -> dict[str, float]:
    return {"wall": float(values[0]), "cpu": float(values[1])}


def text(figures: dict[str, Any]) -> str:
    """The figures as a table for people."""
    size = Size(**figures["size"])
    levels = ", level by level" if size.per_level else ""

    def row(name: str, key: str, form: str) -> tuple[str, str, str]:
        wall, cpu = figures[key].values()
        return name, format(wall, form), format(cpu, form)

    rows = [
        row("bridge.metrics, s", "seconds", ".1f"),
        row("product alone, s", "product_seconds", ".1f"),
        row("times the product", "ratio_to_product", ".2f"),
        row(
            f"published way, s ({figures['reference_queries']} queries)",
            "reference_seconds",
            ",.0f",
        ),
        row("times faster than that", "ratio_to_reference", ",.0f"),
    ]
    return "\n".join(
        [
            f"{size.queries:,} queries, {size.database:,} images, "
            f"{size.distractors:,} distractors, k = {size.k or 'all'}{levels}: "
            f"mAP {figures['map']:.4f}",
            figures["machine"],
            table((figures["preset"], "wall clock", "CPU time"), rows),
            f"peak memory, descriptors included: {figures['peak_gb']:.2f} GB",
            "largest difference of AP to the published way: "
            f"{figures['largest_difference_of_average_precision']:.1e}",
        ]
    )


if __name__ == "__main__":
    run(tyro.cli(Config, description=__doc__))
