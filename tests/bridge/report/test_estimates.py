"""Tests of bridge/report/estimates.py."""

from __future__ import annotations

import numpy as np
import pytest

from bridge.report.estimates import EstimateErrors, Estimates, box_iou

UNKNOWN = [np.nan] * 4


def test_overlap_of_boxes_by_hand() -> None:
    first = [[0.5, 0.5, 0.4, 0.4], [0.2, 0.2, 0.2, 0.2], [0.5, 0.5, 0, 0], UNKNOWN]
    second = [[0.7, 0.5, 0.4, 0.4], [0.8, 0.8, 0.2, 0.2], [0.5, 0.5, 0, 0], [0.5, 0.5, 1, 1]]
    overlaps = box_iou(first, second)
    assert overlaps[:3] == pytest.approx([0.08 / 0.24, 0, 0])
    assert np.isnan(overlaps[3])
    assert box_iou(first[:2], first[:2]) == pytest.approx([1, 1])


def test_errors_are_means_over_what_is_known() -> None:
    box, half = [0.5, 0.5, 0.2, 0.4], [0.5, 0.5, 0.2, 0.2]
    estimates = Estimates(
        blur_levels=np.array([1, 1, 1, 4]),
        blur_severity=np.array([0.05, 0.1, np.nan, 0.35]),
        predicted_blur_severity=np.array([0.15, 0.06, 0.5, 0.45]),
        bbox=np.array([box, box, box, UNKNOWN]),
        predicted_bbox=np.array([box, half, UNKNOWN, box]),
    )
    first, second = estimates.by_blur_level().items()
    assert first == (1, EstimateErrors(3, pytest.approx(0.07), pytest.approx(0.75)))
    assert second == (4, EstimateErrors(1, pytest.approx(0.1), None))
    assert estimates.overall() == EstimateErrors(4, pytest.approx(0.08), pytest.approx(0.75))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("blur_levels", np.array([1.0, 2.0])),
        ("blur_severity", np.zeros(3)),
        ("predicted_bbox", np.zeros((2, 3))),
    ],
)
def test_other_shapes_are_refused(name: str, value: np.ndarray) -> None:
    arrays = {
        "blur_levels": np.array([1, 2]),
        "blur_severity": np.zeros(2),
        "predicted_blur_severity": np.zeros(2),
        "bbox": np.zeros((2, 4)),
        "predicted_bbox": np.zeros((2, 4)),
    }
    Estimates(**arrays)
    with pytest.raises(ValueError, match=name):
        Estimates(**arrays | {name: value})
