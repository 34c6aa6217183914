"""What an INDEX tells of its method beside the rankings: estimates, and what was searched."""

from __future__ import annotations

import numpy as np

from bridge.dataset.roles import DATABASE, DATABASE_PER_LEVEL, DISTRACTOR, QUERY
from bridge.index.folder import Descriptors
from bridge.report import Estimates


def estimates(rows: Descriptors) -> Estimates | None:
    """What the heads say about the images whose blur is known; None without such heads."""
    # Database images are among those of the per-level database, or are like them.
    known = np.isin(rows.roles, (QUERY, DATABASE_PER_LEVEL)) & np.isfinite(rows.blur_severities)
    chosen = rows.take(known)
    heads = (chosen.predicted_blur_severities, chosen.predicted_boxes)
    if not any(np.isfinite(values).any() for values in heads):
        return None
    return Estimates(
        blur_levels=chosen.blur_levels,
        blur_severity=chosen.blur_severities,
        predicted_blur_severity=chosen.predicted_blur_severities,
        bbox=chosen.boxes,
        predicted_bbox=chosen.predicted_boxes,
    )


def blur_severities(rows: Descriptors) -> dict[str, np.ndarray]:
    """Known blur severities by what the images are in the evaluation."""
    roles = {"queries": QUERY, "database": DATABASE, "distractors": DISTRACTOR}
    values = {name: rows.blur_severities[rows.roles == role] for name, role in roles.items()}
    return {name: known for name, known in values.items() if np.isfinite(known).any()}
