"""The tables of a run of benchmarks/gpu.py, from its figures alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from benchmarks.report import Table, fill

CHECKS = Table(
    "check | found | bound | within it | note",
    "{check} | {found:.2g} | {bound:.2g} | {verdict} | {note}",
)
PRODUCTS = Table("product of matrices | side | TFLOP/s", "{product} | {side:,} | {tflops:.1f}")
STEPS = Table(
    "preset | variant | images per step | images/s | TFLOP/s | share | peak memory, GB "
    "| first step, s | times the loop | note",
    "{preset} | {variant} | {images} | {images_per_second:,.1f} | {tflops:.1f} | {share:.1%} "
    "| {peak_memory_gb:.1f} | {first_step_seconds:.1f} | {times_the_loop:.1f} | {note}",
)
EMBEDDINGS = Table(
    "way | batch | images/s | TFLOP/s | share | peak memory, GB",
    "{way} | {batch} | {images_per_second:,.0f} | {tflops:.1f} | {share:.1%} "
    "| {peak_memory_gb:.1f}",
)
RANKINGS = Table(
    "queries | database | k | seconds | similarities alone | peak memory, GB",
    "{queries:,} | {database:,} | {cut_off} | {seconds:.2f} | {product_seconds:.2f} "
    "| {peak_memory_gb:.1f}",
)
GL = Table(
    "device | size | trajectories | images/s | median ms per trajectory",
    "{device} | {image_size} | {trajectories} | {images_per_second:,.0f} "
    "| {median_ms_per_trajectory:.1f}",
)

Figures = Mapping[str, Any]


def tables(figures: Figures) -> str:
    """Markdown of all that was measured, and what was not, and why."""
    parts = [
        "# On a GPU",
        fill(
            "{gpu}; {processor}; torch {torch}.",
            figures["machine"],
        ),
    ]
    if figures["tiny"]:
        parts.append("Of a tiny size, which tries the program: its times tell nothing.")
    for title, content in (
        ("Correctness", _checks(figures)),
        ("The chip", _chip(figures)),
        ("Training", _training(figures)),
        ("Embedding", _embedding(figures)),
        ("Ranking", _rankings(figures)),
        ("Rendering", _table(GL, rows(figures, "gl"))),
    ):
        parts += [f"## {title}", *content] if content else []
    gaps = [
        f"- {name}: {section['status']}"
        for name, section in figures["sections"].items()
        if section["status"] != "done"
    ]
    return "\n\n".join([*parts, *(["## Not done", "\n".join(gaps)] if gaps else [])])


def rows(figures: Figures, *sections: str) -> list[dict[str, Any]]:
    """Of some sections, as far as they were done."""
    found = (figures["sections"].get(name, {}) for name in sections)
    return [row for section in found for row in section.get("rows", ())]


def _table(table: Table, records: list[dict[str, Any]]) -> list[str]:
    return [table.text(records)] if records else []


def _checks(figures: Figures) -> list[str]:
    verdicts = {True: "yes", False: "NO"}
    records = [row | {"verdict": verdicts[row["passed"]]} for row in rows(figures, "checks")]
    text = (
        "Distances from what the CPU computes. Bounds follow from the roundings of the arithmetic: "
        "see benchmarks/gpu_checks.py."
    )
    return [text, *_table(CHECKS, records)] if records else []


def _chip(figures: Figures) -> list[str]:
    found = rows(figures, "chip")
    copies = [
        f"Copying reads and writes {row['gb_per_second']:,.0f} GB/s."
        for row in found
        if "copy" in row
    ]
    return [*_table(PRODUCTS, [row for row in found if "product" in row]), *copies]


def _shared(figures: Figures, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """With the share of the chip's own product of bf16 matrices, where both are known."""
    best = [row["tflops"] for row in rows(figures, "chip") if row.get("product") == "bf16"]
    return [
        row | {"share": row["tflops"] / best[0]} if best and "tflops" in row else row
        for row in records
    ]


def _training(figures: Figures) -> list[str]:
    records = _shared(figures, rows(figures, "training", "training-compiled"))
    loops = [row["images_per_second"] for row in records if "loop" in row["variant"]]
    for row in records:
        if loops and row["preset"] == "paper" and "images_per_second" in row:
            row["times_the_loop"] = row["images_per_second"] / loops[0]
    records.sort(key=lambda row: row["preset"])
    text = (
        "Whole optimisation steps; TFLOP/s are three times the forward pass, the share is that of "
        "the bf16 product of matrices. The published loop takes one image at a time."
    )
    return [text, *_table(STEPS, records)] if records else []


def _embedding(figures: Figures) -> list[str]:
    records = rows(figures, "embedding", "embedding-compiled")
    return _table(EMBEDDINGS, _shared(figures, records))


def _rankings(figures: Figures) -> list[str]:
    records = [row | {"cut_off": row["k"] or "all"} for row in rows(figures, "ranking")]
    return _table(RANKINGS, records)
