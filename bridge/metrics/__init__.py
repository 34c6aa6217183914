"""Retrieval, measured: exact rankings, average precision and its confidence (Sec. 5).

Arrays go in and numbers come out.
"""

from bridge.metrics.average_precision import (
    DENOMINATORS,
    K_BY_PROTOCOL,
    average_precision,
    evaluate_by_database_blur_level,
    evaluate_retrieval,
)
from bridge.metrics.confidence import Confidence, bootstrap, standard_error
from bridge.metrics.precision_sums import UNLABELLED
from bridge.metrics.reranking import Reranking, best_rows
from bridge.metrics.results import PerLevelResult, RetrievalResult, merge_results

__all__ = [
    "DENOMINATORS",
    "K_BY_PROTOCOL",
    "UNLABELLED",
    "Confidence",
    "PerLevelResult",
    "Reranking",
    "RetrievalResult",
    "average_precision",
    "best_rows",
    "bootstrap",
    "evaluate_by_database_blur_level",
    "evaluate_retrieval",
    "merge_results",
    "standard_error",
]
