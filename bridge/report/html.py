"""One self-contained page about an evaluation, and the same numbers as JSON beside it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from markupsafe import Markup

from bridge import storage
from bridge.metrics import RetrievalResult
from bridge.report.data import ReportData, metrics_document
from bridge.report.gallery import gallery_html
from bridge.report.plots import blur_level_histogram, map_plot
from bridge.report.tables import Table, database_level_table, level_spread, map_table
from bridge.report.templates import render

_TITLES = {"mixed": "Without distractors", "mixed_with_distractors": "With distractors"}
_DENOMINATOR_TITLES = {
    "retrieved": "divided by the positives found in the top k (as in the paper)",
    "capped": "divided by min(k, positives)",
    "all": "divided by all positives",
}


@dataclass(frozen=True)
class _Section:
    """What the page shows of one protocol."""

    title: str
    metric: str
    result: RetrievalResult
    tables: dict[str, Table]
    plot: Markup
    database_levels: Table | None
    spread: tuple[float, float] | None


def report_html(data: ReportData) -> str:
    """The whole page; it loads nothing from anywhere."""
    sections = [_section(data, protocol) for protocol in data.protocol_names()]
    return render(
        "template.html",
        title=data.title,
        method=data.methods[0].name,
        sections=sections,
        histogram=_histogram(sections),
        galleries=gallery_html(data.galleries),
        provenance=json.dumps(dict(data.provenance), indent=2, ensure_ascii=False),
    )


def write_report(folder: str | Path, data: ReportData) -> None:
    """Write `report.html` and `metrics.json` into the folder, each of them whole or not at all.

    Raises InputError for a gallery image that is no JPEG, PNG or WebP, and ValueError or TypeError
    for provenance that is not JSON; nothing is written then.
    """
    page, document = report_html(data), metrics_document(data)
    json.dumps(document, allow_nan=False)
    storage.write_bytes(storage.join(folder, "report.html"), page.encode())
    storage.write_json(storage.join(folder, "metrics.json"), document)


def _section(data: ReportData, protocol: str) -> _Section:
    results = data.results(protocol)
    result = next(iter(results.values()))
    # Without a cut-off the denominators agree, so one table says it all.
    denominators = ["retrieved"] if result.k is None else list(_DENOMINATOR_TITLES)
    by_level = bool(result.by_database_blur_level)
    return _Section(
        title=_TITLES.get(protocol, protocol.replace("_", " ").capitalize()),
        metric=f"mAP@{result.k or 'all'}",
        result=result,
        tables={_DENOMINATOR_TITLES[name]: map_table(results, name) for name in denominators},
        plot=Markup(map_plot(results)) if result.map_by_query_blur_level else Markup(),
        database_levels=database_level_table(result) if by_level else None,
        spread=level_spread(result) if by_level else None,
    )


def _histogram(sections: list[_Section]) -> Markup:
    counts = next((s.result.num_queries_by_blur_level for s in sections), {})
    return Markup(blur_level_histogram(counts)) if counts else Markup()
