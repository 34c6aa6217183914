"""A Ray cluster of a command's own, on this machine alone.

It listens at the loopback address, and its sockets and logs are in a folder that is this user's.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants

from bridge.common.errors import Failed, InputError
from bridge.common.private_folder import private_folder

MOST_LETTERS = 40
"""Of the folder's path: the kernel allows 107 for a socket, of which Ray takes up to 65."""
OPEN_FILES = 1024
"""That a process of Ray's may need."""
SECONDS_KEPT = 3600.0
"""Logs of a command that has ended are kept for so long."""
sessions: set[str] = set()
"""Addresses of the clusters that this process has started."""
_SESSION = "session_????-??-??_??-??-??_??????_*"


def start(init: Callable[..., Any], **options: Any) -> None:
    """Start one with `init`, which is `ray.init` or as it, and the options of it.

    Raises:
        Failed: twice its processes did not answer in the time that Ray gives them, or they may not
            open as many files as they have to.
    """
    _allow_files()
    folder = session_folder()
    _remove_old(folder)
    with loopback(), _private_token():
        for attempt in (1, 2):
            try:
                init(address="local", _temp_dir=str(folder), **options)
                _note_start()
                return
            except InputError:
                raise
            # Ray raises whatever its processes had come to when it lost patience.
            except Exception as error:
                ray.shutdown()
                if attempt == 2:
                    raise Failed(
                        f"Ray did not start in two attempts ({_first_line(error)}): is the machine "
                        f"busy or its memory full? Ray's logs are in {folder}."
                    ) from error
                print("Ray did not start in time: trying once more.", flush=True)


def _note_start() -> None:
    if ray.is_initialized():
        sessions.add(ray.get_runtime_context().gcs_address)


def _allow_files() -> None:
    """Ray's processes inherit the limit, and die without a word where they reach it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    # The largest number, as a signed one, stands for no limit.
    if 0 <= hard < OPEN_FILES:
        raise Failed(
            f"Ray needs {OPEN_FILES} open files, of which this process may have {hard}: raise the "
            f"limit (ulimit -n {OPEN_FILES})."
        )
    if 0 <= soft < OPEN_FILES:
        resource.setrlimit(resource.RLIMIT_NOFILE, (OPEN_FILES, hard))


def session_folder() -> Path:
    """Where the sessions of this user's own clusters are: RAY_TMPDIR, or a temporary folder.

    A path that is too long for the sockets in it gives way to one in /tmp, said in a line.
    """
    parent = Path(os.environ.get("RAY_TMPDIR") or tempfile.gettempdir())
    name = f"bridge-ray-{os.getuid()}"
    # Ray opens its folder to everybody, which the one around it does not let in.
    if len(os.fsencode(parent / name / "s")) > MOST_LETTERS:
        print(f"note: {parent} is too long a path for sockets: Ray uses /tmp.", flush=True)
        parent = Path("/tmp")
    remedy = "Let the environment variable RAY_TMPDIR name another folder."
    return private_folder(parent / name, remedy) / "s"


def _remove_old(folder: Path) -> None:
    """Sessions whose commands have ended, and a while ago."""
    for session in folder.glob(_SESSION):
        process = session.name.rpartition("_")[2]
        with contextlib.suppress(OSError):
            is_old = time.time() - session.stat().st_mtime > SECONDS_KEPT
            if is_old and process.isdigit() and not Path(f"/proc/{process}").exists():
                shutil.rmtree(session, ignore_errors=True)


@contextmanager
def loopback() -> Iterator[None]:
    """Ray takes its own address for this machine's in the block, as it does where it has no others.

    The switch is named after the systems that it was made for.
    """
    name = ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR
    before = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[name] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
        del os.environ[name]


@contextmanager
def _private_token() -> Iterator[None]:
    """Nobody else can read the token that Ray writes, for all to read, into the user's home."""
    token = Path.home() / ".ray" / "auth_token"
    # A home that cannot be written in has no token either.
    with contextlib.suppress(OSError):
        token.parent.mkdir(mode=0o700, exist_ok=True)
    yield
    with contextlib.suppress(OSError):
        if token.stat().st_mode & 0o077:
            token.chmod(0o600)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
