"""Functions that numba compiles; what it makes of them is kept, wherever that may be.

Numba keeps it beside the source or in the user's home. An installation that can only be read, used
by somebody without a home, has neither: numba refuses to compile anything then.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba

from bridge.common.errors import InputError
from bridge.common.private_folder import private_folder


def compiled(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator as `numba.njit` with these options; the functions do not hold Python's lock."""

    def decorate(function: Callable[..., Any]) -> Any:
        def compile_(cache: bool) -> Any:
            return numba.njit(cache=cache, nogil=True, **options)(function)

        try:
            return compile_(cache=True)
        except RuntimeError:
            # Numba found no place that it can write in.
            return compile_(cache=_keeps_elsewhere())

    return decorate


def _keeps_elsewhere() -> bool:
    """Let numba keep its files in a temporary folder; False where there is none either."""
    # What is kept there is run: nobody else may write in it.
    folder = Path(tempfile.gettempdir()) / f"bridge-numba-{os.getuid()}"
    try:
        numba.config.CACHE_DIR = str(private_folder(folder, ""))
    except InputError:
        return False
    return os.access(folder, os.W_OK)
