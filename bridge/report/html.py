"""One self-contained page about an evaluation, its figures as files, and its numbers as JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from bridge.common import storage
from bridge.report.data import ReportData
from bridge.report.document import metrics_document
from bridge.report.gallery import gallery_html
from bridge.report.image_sections import ablations_section, estimates_section, images_section
from bridge.report.sections import Section, retrieval_sections
from bridge.report.summary import cards, paper_note
from bridge.report.tables import table_csv
from bridge.report.templates import render


def report_html(data: ReportData) -> str:
    """The whole page; it loads nothing from anywhere."""
    return _page(data, *_sections(data))


def write_report(folder: str | Path, data: ReportData) -> None:
    """Write `figures/*`, `report.html` and `metrics.json`, each whole or not at all, in this order.

    A figure is an .svg, a .png and a .csv of its numbers; a table of its own is a .csv.
    Raises InputError for a gallery image that is no picture, and ValueError or TypeError for
    provenance that is not JSON; nothing is written then.
    """
    retrieval, rest = _sections(data)
    page, document = _page(data, retrieval, rest), metrics_document(data)
    json.dumps(document, allow_nan=False)
    for name, content in section_files([*retrieval, *rest]).items():
        storage.write_bytes(storage.join(folder, "figures", name), content)
    storage.write_bytes(storage.join(folder, "report.html"), page.encode())
    storage.write_json(storage.join(folder, "metrics.json"), document)


def _sections(data: ReportData) -> tuple[list[Section], list[Section]]:
    """The sections before the galleries and those after them."""
    rest = (estimates_section(data), images_section(data), ablations_section(data))
    return retrieval_sections(data), [section for section in rest if section is not None]


def _page(data: ReportData, retrieval: Sequence[Section], rest: Sequence[Section]) -> str:
    return render(
        "template.html",
        title=data.title,
        method=data.methods[0].name,
        cards=cards(data),
        paper_note=paper_note(data),
        retrieval=retrieval,
        galleries=gallery_html(data.galleries),
        has_boxes=any(t.boxes for g in data.galleries for t in (g.query, *g.results)),
        rest=rest,
        provenance=json.dumps(dict(data.provenance), indent=2, ensure_ascii=False),
    )


def section_files(sections: Sequence[Section]) -> dict[str, bytes]:
    """Content of the figures' and tables' files by name."""
    files: dict[str, bytes] = {}
    for section in sections:
        for plot in (*section.plots, *section.file_plots):
            files |= plot.files()
        for table in section.tables:
            if table.name:
                files[f"{table.name}.csv"] = table_csv(table).encode()
    return files
