"""What commands say while they work: lines for people, or objects for programs (`--log-json`)."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from io import TextIOBase
from typing import Any, TextIO

labels: Callable[[], Mapping[str, Any]] = dict
"""What every object says of the stage that works, by name; `watch` knows it."""


def as_json() -> None:
    """From now on every line of the standard output is a JSON object."""
    if not is_json():
        sys.stdout = _Objects(sys.stdout)


def is_json() -> bool:
    """Whether it is."""
    return isinstance(sys.stdout, _Objects)


def say(text: str, event: str, **values: Any) -> None:
    """Print a line: `text` for people, or an object with the event and its values."""
    if isinstance(sys.stdout, _Objects):
        sys.stdout.put(entry(event, **values))
    else:
        print(text, flush=True)


def note(event: str, **values: Any) -> None:
    """Print an object where objects are printed; people are not told."""
    if isinstance(sys.stdout, _Objects):
        sys.stdout.put(entry(event, **values))


def entry(event: str, **values: Any) -> str:
    """An object of the log as a line without its end."""
    time = datetime.now(UTC).isoformat(timespec="milliseconds")
    return json.dumps({"time": time, **labels(), "event": event, **values})


class _Objects(TextIOBase):
    """A text stream that makes every line of text an object of the event `message`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        # Threads print the parts of their lines in turns.
        self._begun = threading.local()

    def put(self, line: str) -> None:
        """Write an object."""
        self._stream.write(f"{line}\n")
        self._stream.flush()

    def write(self, text: str) -> int:
        *lines, rest = (getattr(self._begun, "text", "") + text).split("\n")
        self._begun.text = rest
        for line in filter(str.strip, lines):
            self.put(entry("message", text=line))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    def __del__(self) -> None:
        # The stream below is not this one's to close.
        with suppress(Exception):
            self.flush()
