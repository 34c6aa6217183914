"""One way to say that a file is damaged, whatever its parser makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bridge.common.errors import InputError
from bridge.common.storage import refuse_store_error


@contextmanager
def reading(path: str | Path, remedy: str = "") -> Iterator[None]:
    """Turns whatever parsing a file runs into, in the block, into an InputError that names it.

    Damaged and foreign files fail in as many ways as there are bytes, so only parsing belongs into
    the block.

    Args:
        path: of the file.
        remedy: what to do about it, as the end of a sentence.
    """
    end = f": {remedy}." if remedy else "."
    try:
        yield
    except InputError:
        raise
    except FileNotFoundError as error:
        raise InputError(f"{path} is missing{end}") from error
    except PermissionError as error:
        raise InputError(f"{path} may not be read{end}") from error
    except Exception as error:
        if isinstance(error, OSError):
            refuse_store_error(error)
        why = (str(error).strip().splitlines() or [type(error).__name__])[0][:200].rstrip(".")
        raise InputError(f"{path} is damaged ({why}){end}") from error
