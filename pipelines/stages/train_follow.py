"""Showing a training that runs elsewhere: its lines on the terminal and in a tracker."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bridge.common import log, storage
from bridge.common.repeated import repeated
from bridge.common.watch import Watch, current
from bridge.training.run_log import MetricsReader, format_line
from bridge.training.tracking import Tracker, open_tracker
from pipelines.stages.train_options import TrainConfig

SECONDS_BETWEEN_REQUESTS = 10.0
"""To an object store, where lines come in lots."""


@contextmanager
def tracking(config: TrainConfig, out: str, identity: dict[str, Any]) -> Iterator[Tracker]:
    tracker = open_tracker(config.track, out, identity)
    finished = False
    try:
        yield tracker
        finished = True
    finally:
        tracker.close(finished)


@contextmanager
def following(out: str, tracker: Tracker) -> Iterator[None]:
    """Print and track the run's metrics as they are logged, whichever node they come from."""
    reader = MetricsReader(out)
    watch = current()
    for line in reader.new_lines():
        # Of an earlier command; the tracker may have missed the last ones.
        tracker.log(line["step"], line)

    def show() -> None:
        try:
            for line in reader.new_lines():
                log.say(format_line(line), "step", **line)
                tracker.log(line["step"], line)
                if watch is not None:
                    _count(watch, line)
        # Whatever goes wrong in looking at a training is no reason to end it.
        except Exception as error:
            print(f"warning: the progress cannot be shown: {error}", flush=True)

    try:
        with repeated(show, SECONDS_BETWEEN_REQUESTS if storage.is_uri(out) else 1.0):
            yield
    finally:
        show()


def _count(watch: Watch, line: dict[str, Any]) -> None:
    watch.count(
        "train",
        line["step"],
        line["total_steps"],
        "steps",
        rate=line["images_per_second"] / line["images_per_step"],
        failures=int(line["unreadable"]),
        note=f"epoch {line['epoch'] + 1}, loss {line['loss/total']:.3f}",
    )
