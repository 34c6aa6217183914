"""Folders below a temporary one that anybody may write in: taken only where they are this user's.

Whoever comes first owns a name there. A folder of another user, or one that others may write in,
could hold anything by the time that it is read.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from bridge.common.errors import InputError


def private_folder(path: Path, remedy: str) -> Path:
    """The folder, made where it is missing; others can neither read nor write it then.

    Args:
        path: of the folder.
        remedy: what to do where it cannot be used, as a sentence.

    Raises:
        InputError: it belongs to somebody else, others can write in it, or it cannot be made.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = path.lstat()
    except OSError as error:
        raise InputError(f"{path} cannot be used: {error.strerror}. {remedy}") from error
    if stat.S_ISLNK(found.st_mode) or found.st_uid != os.getuid():
        raise InputError(f"{path} belongs to somebody else. {remedy}")
    if stat.S_IMODE(found.st_mode) & 0o022:
        raise InputError(f"Others can write in {path}. {remedy}")
    return path
