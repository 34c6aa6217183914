"""Evaluations and pictures that the report's tests show."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bridge.metrics import (
    PerLevelResult,
    RetrievalResult,
    evaluate_by_database_blur_level,
    evaluate_retrieval,
)


def _rows(noise: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Descriptors, labels and blur levels 1, 2 and 6 of 240 images of 5 objects."""
    generator = np.random.default_rng(0)
    labels = generator.integers(5, size=240)
    levels = generator.choice([1, 2, 6], 240)
    centres = generator.standard_normal((5, 8))
    return centres[labels] + noise * generator.standard_normal((240, 8)), labels, levels


@pytest.fixture
def evaluate() -> Callable[..., RetrievalResult]:
    """Evaluation of 40 queries of blur levels 1, 2 and 6; less noise gives better descriptors."""

    def run(noise: float, k: int | None = None) -> RetrievalResult:
        x, labels, levels = _rows(noise)
        return evaluate_retrieval(
            x[:40], x[40:], labels[:40], labels[40:], k=k, query_blur_levels=levels[:40]
        )

    return run


@pytest.fixture
def evaluate_per_level() -> Callable[..., PerLevelResult]:
    """The same queries against the database images of one blur level at a time."""

    def run(noise: float, k: int | None = None) -> PerLevelResult:
        x, labels, levels = _rows(noise)
        return evaluate_by_database_blur_level(
            x[:40],
            x[40:],
            labels[:40],
            labels[40:],
            k=k,
            query_blur_levels=levels[:40],
            database_blur_levels=levels[40:],
        )

    return run


@pytest.fixture
def encode() -> Callable[..., bytes]:
    """An encoded picture in a format that PIL knows by name; small unless a size is given."""

    def run(image_format: str = "JPEG", size: tuple[int, int] = (16, 12)) -> bytes:
        pixels = np.random.default_rng(0).integers(256, size=(*size[::-1], 3), dtype=np.uint8)
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, image_format)
        return buffer.getvalue()

    return run
