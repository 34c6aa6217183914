"""Standard streams and locales as commands are given them: closed, full, or without letters."""

from __future__ import annotations

import io
import os
import sys
from typing import Any

OUTPUT = "The standard output"
"""What errors of writing to it name as their file."""


def as_utf8() -> None:
    """Start anew where file names are not UTF-8, as in the locale C: Arrow and JSON know no other.

    Processes of Ray's do as this one.
    """
    if sys.getfilesystemencoding() != "utf-8" and not sys.flags.utf8_mode:
        os.environ["PYTHONUTF8"] = "1"
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])


def open_all() -> None:
    """Streams that were closed lead nowhere, and none ends a command for want of letters."""
    for name in ("stdin", "stdout", "stderr"):
        # The lowest number that is free, so that no file of the command's gets it.
        if getattr(sys, name) is None:
            nowhere = os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(nowhere, "r" if name == "stdin" else "w"))
    if isinstance(sys.stdout, io.TextIOWrapper) and sys.stdout is sys.__stdout__:
        sys.stdout = _named(sys.stdout)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class _Output(io.FileIO):
    """Whose errors tell whose they are."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            error.filename = OUTPUT
            raise


def _named(stream: io.TextIOWrapper) -> io.TextIOWrapper:
    """A stream that writes into the same file as the standard output."""
    raw: Any = _Output(stream.fileno(), "w", closefd=False)
    return io.TextIOWrapper(
        raw if stream.write_through else io.BufferedWriter(raw),
        encoding=stream.encoding,
        line_buffering=stream.line_buffering,
        write_through=stream.write_through,
    )


def give_up() -> None:
    """What cannot be written is lost; Python would complain of it once more at its end."""
    for number, stream in ((1, sys.stdout), (2, sys.stderr)):
        try:
            stream.flush()
        except OSError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), number)
