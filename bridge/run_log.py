"""What a training run leaves to look at: metrics.jsonl and TensorBoard events."""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from bridge import storage

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Appends metrics of a run; continuing at a step drops what was logged beyond it."""

    def __init__(self, run: str, from_step: int) -> None:
        """Open the log of the folder `run`, which may hold an earlier part of the same run."""
        self._path = storage.join(run, METRICS_FILE)
        self._lines = [line for line in read_metrics(run) if line["step"] <= from_step]
        self._write()
        # Event files can only be appended to, which object stores do not offer.
        self._events = (
            None
            if storage.is_uri(run)
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
        if self._events is not None:
            self._events.close()

    def add(self, step: int, values: Mapping[str, Any]) -> None:
        """Log the values of a step; numbers also go to TensorBoard."""
        self._lines.append({"step": step, **values})
        self._write()
        if self._events is not None:
            for name, value in values.items():
                if isinstance(value, int | float):
                    self._events.add_scalar(name, value, step)
            self._events.flush()

    def _write(self) -> None:
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        storage.write_bytes(self._path, text.encode())


def read_metrics(run: str) -> list[dict[str, Any]]:
    """All lines of a run's metrics.jsonl so far (none where it has not begun)."""
    path = storage.join(run, METRICS_FILE)
    if not storage.exists(path):
        return []
    return [json.loads(line) for line in storage.read_bytes(path).decode().splitlines()]


def format_line(line: Mapping[str, Any]) -> str:
    """One line of metrics for people."""
    total, step = line["total_steps"], line["step"]
    parts = " ".join(
        f"{name.removeprefix('loss/')} {value:.3f}"
        for name, value in line.items()
        if name.startswith("loss/") and name != "loss/total"
    )
    left = (total - step) * line["images_per_step"] / line["images_per_second"]
    text = (
        f"step {step}/{total} epoch {line['epoch'] + 1}  loss {line['loss/total']:.3f} ({parts})  "
        f"{line['images_per_second']:.0f} images/s, data wait {line['data_wait']:.1%}, "
        f"{left:.0f} s left"
    )
    if "validation/map" in line:
        text += f"  validation mAP {line['validation/map']:.4f}"
    return text
