"""Why a training ends before its end, whoever runs it."""

from __future__ import annotations

from bridge.common.errors import Failed, InputError


class TooManyUnreadable(InputError):
    """More images cannot be decoded than training bears."""


class DamagedCheckpoint(InputError):
    """A checkpoint is not what was written."""


class NonFiniteLoss(Failed):
    """A loss or gradient was NaN or infinite; raised on all ranks alike."""
