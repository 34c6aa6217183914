"""Whether what lies in a folder is what the present options would make."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bridge.common.errors import InputError


def config_difference(old: Mapping[str, Any], new: Mapping[str, Any]) -> str:
    """Names and values of the options in which two configurations differ, for a message."""
    missing = "(absent)"
    names = sorted(k for k in {*old, *new} if old.get(k, missing) != new.get(k, missing))
    return ", ".join(
        f"{k} {_short(old.get(k, missing))} instead of {_short(new.get(k, missing))}" for k in names
    )


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 100 else f"{text[:97]}..."


def refuse_difference(
    folder: str, content: str, old: Mapping[str, Any], new: Mapping[str, Any]
) -> None:
    """Raise InputError where `folder`, made with `old`, is not what `new` would make.

    `content` says what the folder holds then, e.g. "a run with another configuration".
    """
    difference = config_difference(old, new)
    if difference:
        raise InputError(
            f"{folder} holds {content} ({difference}): choose another `out` or remove it."
        )
