"""The folder where a node keeps its caches: one writer at a time, and no more than has room.

Both locks are the kernel's (`flock`), which lets go of them when their process ends, however it
ends:

- on `lock` in the folder, exclusive, by the one process that writes or removes files;
- on each cache file, shared, by every process that maps it, for as long as it does. A file that is
  locked is never removed. (One that was opened but not yet locked may be: a file without a name
  stays readable until the last process has let go of it.)
"""

from __future__ import annotations

import fcntl
import math
import mmap
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from bridge.common.errors import Failed, InputError
from bridge.common.private_folder import private_folder

LOCK = "lock"
DEFAULT_GB = 50.0

# Nothing else is touched: the folder may be one that other programs use.
_CACHE = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}\.arrow")
_TEMPORARY = re.compile(r"[0-9a-f]{16}-[0-9a-f]{16}(\.arrow)?\.tmp-[0-9a-f]{8}")


def cache_folder() -> Path:
    """Where a node keeps its caches: BRIDGE_CACHE, or a temporary folder of this user.

    Raises:
        InputError: the temporary folder is somebody else's, or others can write in it.
    """
    if given := os.environ.get("BRIDGE_CACHE"):
        return Path(given)
    default = Path(tempfile.gettempdir()) / f"bridge-cache-{os.getuid()}"
    return private_folder(default, "Let the environment variable BRIDGE_CACHE name another folder.")


def most_bytes() -> float:
    """What all caches of the folder may take together: BRIDGE_CACHE_GB (10^9 bytes), or 50.

    Raises InputError where that is not a number from 0.
    """
    given = os.environ.get("BRIDGE_CACHE_GB") or DEFAULT_GB
    with suppress(ValueError):
        size = float(given)
        if size >= 0 and not math.isnan(size):
            return size * 1e9
    raise InputError(f"BRIDGE_CACHE_GB is {given!r}, not a number of gigabytes from 0.")


def map_file(path: Path) -> mmap.mmap | None:
    """The file, mapped for reading and marked as used now; None where there is none.

    It counts as in use until the mapping is gone.
    """
    try:
        file = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(file, fcntl.LOCK_SH)
        with suppress(PermissionError):
            os.utime(file)
        # The mapping keeps a duplicate of the descriptor, and a lock lasts as long as any.
        return mmap.mmap(file, 0, access=mmap.ACCESS_READ)
    finally:
        os.close(file)


@contextmanager
def only_writer(folder: Path) -> Iterator[None]:
    """Waits until no other process of the node writes in the folder; then none does in the block.

    What killed writers left is removed first. Raises InputError where the folder cannot be
    written or locked.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o666)
    except OSError as error:
        raise _unusable(folder, error) from error
    try:
        _wait_for(lock, folder)
        for path in _matching(folder, _TEMPORARY):
            path.unlink(missing_ok=True)
        yield
    finally:
        # Said aloud, because a forked child has the descriptor too.
        fcntl.flock(lock, fcntl.LOCK_UN)
        os.close(lock)


def _wait_for(lock: int, folder: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
    except OSError as error:
        raise _unusable(folder, error) from error


def make_room(folder: Path, needed: int) -> tuple[int, int]:
    """Remove caches, least recently used first, until `needed` more bytes keep within the limit.

    Only for the `only_writer`. Where the disk has less room than the limit allows, that much more
    is removed. Files in use stay, even if the limit is exceeded then: what is trained on has to
    be somewhere.

    Returns:
        How many files were removed, and their bytes.

    Raises:
        Failed: the disk has no room for so much; nothing was removed then.
    """
    status = {path: path.stat() for path in _matching(folder, _CACHE)}
    sizes = {path: status[path].st_size for path in status}
    idle = [path for path in status if _unused(path)]
    free = shutil.disk_usage(folder).free
    if free + sum(sizes[path] for path in idle) < needed:
        raise no_room(folder, needed, f"{readable(free)} are free")
    excess = max(sum(sizes.values()) + needed - most_bytes(), needed - free)
    removed: list[int] = []
    for path in sorted(idle, key=lambda path: status[path].st_mtime_ns):
        if sum(removed) < excess and _unused(path, remove=True):
            removed.append(sizes[path])
    return len(removed), sum(removed)


def no_room(folder: Path, needed: int, why: str) -> Failed:
    """The error of a disk too full for `needed` more bytes."""
    return Failed(
        f"The images of this dataset take {readable(needed)} in {folder}, but {why}: make room "
        "there, or let the environment variable BRIDGE_CACHE name a folder on another disk."
    )


def readable(size: float) -> str:
    """Bytes as a person reads them, e.g. "2.9 GB" or "0.3 MB"."""
    return f"{size / 1e9:,.1f} GB" if size >= 1e9 else f"{size / 1e6:,.1f} MB"


def _unused(path: Path, *, remove: bool = False) -> bool:
    """Whether no process maps the file (nor may this one change it); it may be removed at once."""
    try:
        file = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if remove:
            path.unlink()
        return True
    except OSError:
        return False
    finally:
        os.close(file)


def _matching(folder: Path, name: re.Pattern[str]) -> list[Path]:
    return [path for path in folder.iterdir() if name.fullmatch(path.name)]


def _unusable(folder: Path, error: OSError) -> InputError:
    return InputError(
        f"The folder for this node's copy of the images, {folder}, cannot be used: "
        f"{error.strerror}. The environment variable BRIDGE_CACHE names another one."
    )
