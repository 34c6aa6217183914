"""Show how far stages are, from another terminal or another machine.

    python pipelines/status.py                       # whatever lies in data, runs, indexes, ...
    python pipelines/status.py runs/bridge s3://BUCKET/runs --watch
    python pipelines/status.py studies/quick --json

Reads the status.json that every stage keeps in its --out; a folder without one is searched for
folders that have one, two levels deep. No cluster is asked, so it also tells of what has ended.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import tyro
from annotated_types import Ge

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.progress import duration
from bridge.common.record import check, to_json
from bridge.common.status import ENDED, FILE, GATHERING, Status, read_status

if TYPE_CHECKING:
    from rich.table import Table

USUAL = ("data", "runs", "indexes", "reports", "studies", "demo")
"""Where the commands put what they make."""
LEVELS = 2
_COLOURS = {"done": "green", "failed": "red", "interrupted": "yellow", "stopped": "yellow"}


@dataclass(frozen=True)
class StatusConfig:
    """What to look at."""

    paths: tyro.conf.Positional[tuple[str, ...]] = ()
    """Folders of stages, or of several; default: data, runs, indexes, reports, studies and demo."""
    watch: bool = False
    """Look again and again, until all have ended."""
    every: Annotated[float, Ge(0.1)] = 2.0
    """Seconds between looks."""
    json: bool = False
    """Print JSON: a list, with --watch a line each time."""

    def __post_init__(self) -> None:
        check(self)


def run(config: StatusConfig) -> dict[str, Status]:
    """Print what there is; returns the last statuses by folder.

    Raises:
        InputError: there is none, or one is damaged.
    """
    found = statuses(config)
    if not config.watch:
        if config.json:
            print(_json(found, indent=1))
        elif sys.stdout.isatty():
            _print_table(found)
        else:
            print("\n".join(line(folder, status) for folder, status in found.items()))
        return found
    try:
        return _watch(config, found)
    except KeyboardInterrupt:
        return found


def statuses(config: StatusConfig) -> dict[str, Status]:
    """Of all stages below the paths, by folder. Raises as `run`."""
    paths = config.paths or tuple(path for path in USUAL if storage.exists(path))
    found = {folder: read_status(folder) for path in paths for folder in _folders(path, LEVELS)}
    if not found:
        where = ", ".join(map(shown, config.paths or USUAL))
        raise InputError(f"There is no {FILE} in {where}, nor {LEVELS} levels below.")
    return found


def _folders(path: str, levels: int) -> Iterator[str]:
    """Those that have a status; below that of a stage only where it has stages of its own."""
    if storage.exists(storage.join(path, FILE)):
        yield path
        if read_status(path).stage not in GATHERING:
            return
    if levels:
        for folder in storage.list_folders(path):
            yield from _folders(folder, levels - 1)


def line(folder: str, status: Status) -> str:
    """A stage in a line for people."""
    parts = [f"{status.stage} {state(status)}", *filter(None, (count(status), left(status)))]
    parts += [f"{status.failures:,} failures"] if status.failures else []
    parts += [cost(status), status.note if status.state not in ENDED else status.message]
    return f"{shown(folder)}: {', '.join(filter(None, parts))} ({where(status)})"


def state(status: Status) -> str:
    """What it does, and whether it still gives signs of life."""
    silent = status.silent()
    return f"{status.state}, no sign of life for {silent / 60:,.0f} min" if silent else status.state


def count(status: Status) -> str:
    """How much is done."""
    if not status.unit:
        return ""
    share = status.done / status.total if status.total else 1.0
    return f"{status.done:,} of {status.total:,} {status.unit} ({share:.0%})"


def left(status: Status) -> str:
    """How fast it is, and how long it will take; nothing once it has ended."""
    if status.state in ENDED or status.seconds_left is None:
        return ""
    return f"{status.rate:,.1f}/s, {duration(status.seconds_left)} left"


def cost(status: Status) -> str:
    """What was spent so far."""
    gpus = f", {status.gpu_hours:,.2f} GPU-hours" if status.gpu_hours else ""
    return f"{status.core_hours:,.2f} core-hours{gpus}"


def where(status: Status) -> str:
    """Who does it, and since when."""
    since = status.started.astimezone().strftime("%Y-%m-%d %H:%M")
    return f"process {status.pid} on {status.host} since {since}"


def _watch(config: StatusConfig, found: dict[str, Status]) -> dict[str, Status]:
    if sys.stdout.isatty() and not config.json:
        from rich.live import Live

        with Live(_table(found), auto_refresh=False) as live:
            for latest in _looks(config, found):
                live.update(_table(latest), refresh=True)
        return latest
    told: dict[str, str] = {}
    for latest in _looks(config, found):
        if config.json:
            print(_json(latest), flush=True)
            continue
        lines = {folder: line(folder, status) for folder, status in latest.items()}
        new = [text for folder, text in lines.items() if told.get(folder) != text]
        told = lines
        if new:
            print("\n".join(new), flush=True)
    return latest


def _looks(config: StatusConfig, found: dict[str, Status]) -> Iterator[dict[str, Status]]:
    """What there is, again and again until all of it has ended."""
    yield found
    while not all(status.state in ENDED for status in found.values()):
        time.sleep(config.every)
        found = statuses(config)
        yield found


def _json(found: dict[str, Status], indent: int | None = None) -> str:
    entries = [
        {"folder": folder, **to_json(status), "silent_seconds": round(status.silent())}
        for folder, status in found.items()
    ]
    return json.dumps(entries, indent=indent)


def _print_table(found: dict[str, Status]) -> None:
    from rich.console import Console

    Console().print(_table(found))


def _table(found: dict[str, Status]) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    for title in ("folder", "stage", "state", "done", "left", "failed", "cost", "host", ""):
        table.add_column(title, overflow="fold")
    for folder, status in found.items():
        colour = "red" if status.silent() else _COLOURS.get(status.state, "cyan")
        table.add_row(
            escape(shown(folder)),
            status.stage,
            f"[{colour}]{state(status)}[/]",
            count(status),
            left(status),
            f"{status.failures:,}" if status.failures else "",
            cost(status),
            escape(status.host),
            escape(status.note if status.state not in ENDED else status.message),
        )
    return table


def main() -> None:
    """The command."""
    cli.main(run, StatusConfig, description=__doc__)


if __name__ == "__main__":
    main()
