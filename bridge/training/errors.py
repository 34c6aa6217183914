"""Why a training ends before its end, whoever runs it."""

from __future__ import annotations

from bridge.common.errors import InputError


class TooManyUnreadable(InputError):
    """More images cannot be decoded than training bears."""


class NonFiniteLoss(RuntimeError):
    """A loss or gradient was NaN or infinite; raised on all ranks alike."""
