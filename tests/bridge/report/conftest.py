"""Evaluations and pictures that the report's tests show."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image

from bridge.metrics import RetrievalResult, evaluate_retrieval


@pytest.fixture
def evaluate() -> Callable[..., RetrievalResult]:
    """Evaluation of 40 queries of blur levels 1, 2 and 6; less noise gives better descriptors."""

    def run(noise: float, k: int | None = None, per_level: bool = False) -> RetrievalResult:
        generator = np.random.default_rng(0)
        labels = generator.integers(5, size=240)
        levels = generator.choice([1, 2, 6], 240)
        centres = generator.standard_normal((5, 8))
        descriptors = centres[labels] + noise * generator.standard_normal((240, 8))
        return evaluate_retrieval(
            descriptors[:40],
            descriptors[40:],
            labels[:40],
            labels[40:],
            k=k,
            query_blur_levels=levels[:40],
            database_blur_levels=levels[40:] if per_level else None,
        )

    return run


@pytest.fixture
def encode() -> Callable[[str], bytes]:
    """A small encoded picture in a format that PIL knows by name."""

    def run(image_format: str = "JPEG") -> bytes:
        buffer = io.BytesIO()
        Image.new("RGB", (16, 12), (200, 30, 60)).save(buffer, image_format)
        return buffer.getvalue()

    return run
