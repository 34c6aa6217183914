"""The report of an evaluation: `metrics.json`, one self-contained `report.html`, and figures."""

from bridge.report.data import MethodResult, ReportData
from bridge.report.estimates import Estimates
from bridge.report.gallery import Gallery, Tile
from bridge.report.html import write_report

__all__ = ["Estimates", "Gallery", "MethodResult", "ReportData", "Tile", "write_report"]
