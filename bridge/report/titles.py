"""What the page calls protocols and metrics."""

from __future__ import annotations

PROTOCOL_TITLES = {
    "mixed": "Without distractors",
    "mixed_with_distractors": "With distractors",
    "real": "Real images",
    "per_level": "One database blur level at a time",
    "per_level_with_distractors": "One database blur level at a time, with distractors",
}


def protocol_title(protocol: str) -> str:
    """What the page calls a protocol."""
    return PROTOCOL_TITLES.get(protocol, protocol.replace("_", " ").capitalize())


def metric_name(k: int | None) -> str:
    """mAP@all, mAP@100 and so on."""
    return f"mAP@{k or 'all'}"
