"""The report of an evaluation: `metrics.json` and one self-contained `report.html`."""

from bridge.report.data import MethodResult, ReportData
from bridge.report.gallery import Gallery, Tile
from bridge.report.html import write_report

__all__ = ["Gallery", "MethodResult", "ReportData", "Tile", "write_report"]
