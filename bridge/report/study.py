"""The report of a study: one self-contained page, its tables as files, and its numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from bridge.common import storage
from bridge.metrics.repeats import Repeats
from bridge.report.html import section_files
from bridge.report.paper import NUM_SYNTHETIC_OBJECTS, paper_scores
from bridge.report.study_data import Studied, StudyData
from bridge.report.study_sections import study_sections
from bridge.report.templates import render


def write_study(folder: str | Path, data: StudyData) -> None:
    """Write `figures/*`, `report.html` and `study.json` in this order, each whole or not at all."""
    sections, document = study_sections(data), study_document(data)
    page = render(
        "study.html",
        title=data.title,
        notes=_notes(data),
        sections=sections,
        provenance=json.dumps(dict(data.provenance), indent=2, ensure_ascii=False),
    )
    for name, content in section_files(sections).items():
        storage.write_bytes(storage.join(folder, "figures", name), content)
    storage.write_bytes(storage.join(folder, "report.html"), page.encode())
    storage.write_json(storage.join(folder, "study.json"), document)


def study_document(data: StudyData) -> dict[str, Any]:
    """The content of `study.json`. Every mAP and difference of mAPs is a fraction."""
    return {
        "title": data.title,
        "reference": data.reference,
        "missing": list(data.missing),
        "configurations": {one.name: _configuration(one) for one in data.studied},
        "differences": {
            protocol: {
                name: {
                    "map": found.map,
                    "confidence": list(found.interval),
                    "counts": found.counts,
                    "seeds_apart": found.seeds_apart,
                    "by_query_blur_level": {
                        str(level): {"map": value, "confidence": list(bounds)}
                        for level, (value, bounds) in found.by_query_blur_level.items()
                    },
                }
                for name, found in differences.items()
            }
            for protocol, differences in data.differences.items()
        },
        "provenance": dict(data.provenance),
    }


def _configuration(one: Studied) -> dict[str, Any]:
    return {
        "seeds": list(one.seeds),
        "tables": dict(one.tables),
        "costs": [asdict(cost) for cost in one.costs],
        "protocols": {name: _protocol(repeats) for name, repeats in one.protocols.items()},
    }


def _protocol(repeats: Repeats) -> dict[str, Any]:
    overall, by_level = repeats.intervals()
    return {
        "map": repeats.map,
        "map_by_seed": repeats.by_seed.tolist(),
        "std": repeats.std,
        "confidence": list(overall),
        "map_by_query_blur_level": _text_keys(repeats.by_query_blur_level()),
        "confidence_by_query_blur_level": _text_keys(by_level),
        "map_by_database_blur_level": {
            str(level): _text_keys(repeats.by_query_blur_level(level))
            for level in repeats.database_blur_levels
        },
        "num_queries": repeats.num_queries,
        "num_objects": len(np.unique(repeats.query_labels)),
        "num_database": repeats.num_database,
        "k": repeats.k,
    }


def _text_keys(by_level: Mapping[int, Any]) -> dict[str, Any]:
    return {str(level): value for level, value in sorted(by_level.items())}


def _notes(data: StudyData) -> list[str]:
    repeats = next(iter(data.studied[0].protocols.values()))
    queries = round(paper_scores("1")["Synthetic queries"].overall)
    notes = [
        f"Evaluated: {repeats.num_queries:,} queries of "
        f"{len(np.unique(repeats.query_labels)):,} objects. Numbers marked “paper” are those it "
        f"prints, measured on its own {queries:,} queries of {NUM_SYNTHETIC_OBJECTS} objects: "
        "they compare with those here only where the same images were evaluated."
    ]
    if data.missing:
        runs = "run is" if len(data.missing) == 1 else "runs are"
        names = ", ".join(data.missing)
        notes.append(f"Not complete: {len(data.missing)} {runs} not finished ({names}).")
    return notes
