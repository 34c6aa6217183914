"""What a training run leaves to look at: metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping
from itertools import takewhile
from types import TracebackType
from typing import Any, Protocol

import numpy as np
from torch.utils.tensorboard import SummaryWriter

from bridge.common import storage
from bridge.common.progress import duration
from bridge.training.validation import CHOICE, TOP

METRICS_FILE = "metrics.jsonl"
_ALWAYS = {
    "step",
    "epoch",
    "total_steps",
    "images_per_step",
    "images_per_second",
    "data_wait",
    "seconds",
    "loss/total",
    "unreadable",
}
"""What every line says, a number each."""
SECONDS_BETWEEN_UPLOADS = 30.0
"""Object stores cannot append: there the whole file is written again, but not more often."""


class RunLog:
    """Appends metrics of a run; continuing at a step drops what was logged beyond it."""

    def __init__(self, run: str, from_step: int) -> None:
        """Open the log of the folder `run`, which may hold an earlier part of the same run."""
        path = storage.join(run, METRICS_FILE)
        kept = [line for line, value in _lines(_read(path)) if value and value["step"] <= from_step]
        # A new file in place of the old one: a process of an earlier attempt that is still dying
        # keeps writing into the old.
        storage.write_bytes(path, b"".join(kept))
        remote = storage.is_uri(run)
        self._lines: _Sink = _Uploaded(path, kept) if remote else _Appended(path)
        # Event files can only be appended to, which object stores do not offer.
        self._events = (
            None
            if remote
            else SummaryWriter(storage.join(run, "tensorboard"), purge_step=from_step + 1)
        )

    def __enter__(self) -> RunLog:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._lines.close()
        if self._events is not None:
            self._events.close()

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Log the values of a step; numbers also go to TensorBoard."""
        self._lines.add((json.dumps({"step": step, **values}) + "\n").encode())
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, step)
            self._events.flush()

    def add_picture(self, name: str, step: int, picture: np.ndarray) -> None:
        """Show a picture, uint8 [H, W, 3], in TensorBoard (not on object stores)."""
        if self._events is not None:
            self._events.add_image(name, picture, step, dataformats="HWC")
            self._events.flush()

    def flush(self) -> None:
        """Write what is waiting: a checkpoint must not outlive the lines before it."""
        self._lines.flush()


class _Sink(Protocol):
    """Where encoded lines go."""

    def add(self, line: bytes) -> None: ...
    def flush(self) -> None: ...
    def close(self) -> None: ...


class _Appended:
    """A file on a disk: every line is there at once."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab")  # noqa: SIM115

    def add(self, line: bytes) -> None:
        self._file.write(line)
        self.flush()

    def flush(self) -> None:
        self._file.flush()
        # On network disks others see nothing before this.
        os.fsync(self._file.fileno())

    def close(self) -> None:
        self._file.close()


class _Uploaded:
    """An object of a store, written as a whole."""

    def __init__(self, path: str, lines: list[bytes]) -> None:
        self._path = path
        self._lines = lines
        self._waiting = False
        self._uploaded = time.monotonic()

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        self._waiting = True
        if time.monotonic() - self._uploaded >= SECONDS_BETWEEN_UPLOADS:
            self.flush()

    def flush(self) -> None:
        if self._waiting:
            storage.write_bytes(self._path, b"".join(self._lines))
            self._waiting, self._uploaded = False, time.monotonic()

    def close(self) -> None:
        self.flush()


class MetricsReader:
    """Follows a run's metrics.jsonl, from another process or machine.

    Attributes:
        damaged: lines so far that could not be read.
    """

    def __init__(self, run: str) -> None:
        self._path = storage.join(run, METRICS_FILE)
        self.damaged = 0
        self._seen: list[bytes] = []
        self._end = 0

    def new_lines(self) -> list[dict[str, Any]]:
        """Lines since the last call; at first all there are.

        Where a restart has cut lines back, those that are written in their place are new; those
        that stayed are not returned again. A line that is being written waits for the next call.
        """
        last = self._seen[-1] if self._seen else b""
        tail = _read(self._path, self._end - len(last))
        if tail.startswith(last):
            fresh = list(_lines(tail[len(last) :]))
        else:
            lines = list(_lines(_read(self._path)))
            pairs = zip(lines, self._seen, strict=False)
            stayed = len(list(takewhile(lambda pair: pair[0][0] == pair[1], pairs)))
            self._seen, fresh = self._seen[:stayed], lines[stayed:]
        self._seen += [line for line, _ in fresh]
        self.damaged += sum(value is None for _, value in fresh)
        self._end = sum(map(len, self._seen))
        return [value for _, value in fresh if value is not None]


def read_metrics(run: str) -> list[dict[str, Any]]:
    """All lines of a run's metrics.jsonl so far (none where it has not begun)."""
    return MetricsReader(run).new_lines()


def _read(path: str, start: int = 0) -> bytes:
    """A file from a byte on; nothing where it is shorter or does not exist."""
    fs, inner = storage.filesystem(path)
    try:
        with storage.told(path), fs.open_input_file(inner) as file:
            if file.size() <= start:
                return b""
            file.seek(start)
            return file.read()
    except FileNotFoundError:
        return b""


def _lines(data: bytes) -> Iterator[tuple[bytes, dict[str, Any] | None]]:
    """The whole lines and what they say; None for one that is damaged, which is lost alone."""
    for line in data.split(b"\n")[:-1]:
        yield line + b"\n", _parsed(line)


def _parsed(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    try:
        return value if _is_line(value) else None
    # JSON has numbers that are too large for any other use.
    except OverflowError:
        return None


def _is_line(value: Any) -> bool:
    """Whether a JSON value is what is logged: a number under every name, and those of all lines."""
    return (
        isinstance(value, dict)
        and value.keys() >= _ALWAYS
        and all(type(number) in (int, float) for number in value.values())
        and all(map(math.isfinite, value.values()))
        and type(value["step"]) is int
    )


def format_line(line: Mapping[str, Any]) -> str:
    """One line of metrics for people."""
    total, step = line["total_steps"], line["step"]
    parts = ", ".join(
        f"{name.removeprefix('loss/')} {value:.3f}"
        for name, value in line.items()
        if name.startswith("loss/") and name != "loss/total"
    )
    left = (total - step) * line["images_per_step"] / max(line["images_per_second"], 1e-9)
    texts = [
        f"step {step}/{total}",
        f"epoch {line['epoch'] + 1}",
        f"loss {line['loss/total']:.3f} ({parts})",
        f"{line['images_per_second']:.0f} images/s",
        f"data wait {line['data_wait']:.1%}",
        f"{duration(left)} left",
    ]
    if line.get("unreadable"):
        texts.append(f"unreadable images {line['unreadable']:.0f}")
    if CHOICE in line:
        texts.append(f"validation mAP@{TOP} {line[CHOICE]:.4f}, mAP {line['validation/map']:.4f}")
    return "  ".join(texts)
