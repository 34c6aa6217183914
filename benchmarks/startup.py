"""From a command to its first unit of work: seconds and CPU seconds of each stage.

    python benchmarks/startup.py                                     this checkout
    python benchmarks/startup.py --checkouts ../before . --repeats 5   two of them, in turn
    python benchmarks/startup.py --stages search help torch

Every command is started on the same small artefacts, with a Ray session of its own, watched from
outside, and ended once it has begun. Artefacts are made by the first checkout; `--work` keeps them.
`torch` is `import torch` alone, to compare the others with.
"""

from __future__ import annotations

import os
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from threading import Barrier
from typing import Any, Literal, get_args

import numpy as np
import psutil

from benchmarks.report import Options, Table, in_processes, machine, save
from benchmarks.watched import Spent, watch
from bridge.common import cli
from bridge.common.errors import InputError
from bridge.common.images import encode
from bridge.common.record import Count, WholeNumber

ROOT = Path(__file__).parents[1]
Stage = Literal[
    "synthesize", "train", "build_index", "evaluate", "search", "serve", "tune", "help", "torch"
]
UNTIL: dict[Stage, str] = {
    "synthesize": "the first shard is there",
    "train": "the first step is logged",
    "build_index": "the first descriptors are there",
    "evaluate": "the report is there",
    "search": "its end, one picture",
    "serve": "the first answer",
    "tune": "a trial's first steps are logged",
    "help": "the end of train.py --help",
    "torch": "the end of import torch",
}
SCENES = ("--categories", "2", "--objects-per-category", "10", "--image-size", "48", "64")
NAMES = ("before", "after")
KINDS = ("wall", "cpu")

TABLE = Table(
    "stage | until | before, s | after, s | ratio | before, CPU s | after, CPU s | ratio | note",
    "{stage} | {until} | {before[wall]:.2f} | {after[wall]:.2f} | {ratio[wall]:.2f} "
    "| {before[cpu]:.2f} | {after[cpu]:.2f} | {ratio[cpu]:.2f} | {note}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is started, and how often."""

    checkouts: tuple[Path, ...] = (ROOT,)
    """One or two checkouts of the product: before, after."""
    stages: tuple[Stage, ...] = get_args(Stage)
    """What to start."""
    repeats: Count = 3
    """Starts of each stage of each checkout, in turn, whose medians are told."""
    warm_ups: WholeNumber = 1
    """Starts before these: files are read, compiled code is kept."""
    work: Path | None = None
    """Folder of the artefacts, made where they are missing; default: a temporary one."""
    python: str = sys.executable
    """Interpreter that has the dependencies of the product."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for checkout in self.checkouts:
            if not (checkout / "pipelines").is_dir():
                raise InputError(f"{checkout} is not a checkout of the product.")
        if len(self.checkouts) not in (1, 2):
            raise InputError("`checkouts` are one or two.")


@dataclass(frozen=True)
class Artefacts:
    """What the commands work on."""

    folder: Path

    @property
    def data(self) -> str:
        """A dataset with test, validation and training images."""
        return str(self.folder / "data")

    @property
    def model(self) -> str:
        """The quick network with random weights."""
        return str(self.folder / "model")

    @property
    def index(self) -> str:
        """Made of both."""
        return str(self.folder / "index")

    @property
    def picture(self) -> Path:
        """A file to search with."""
        return self.folder / "picture.jpg"


def make_artefacts(made: Artefacts, checkout: Path, python: str) -> None:
    """Make what is missing, in processes of their own."""
    made.folder.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(0).integers(0, 256, (48, 64, 3), np.uint8)
    made.picture.write_bytes(encode(pixels))
    if Path(made.index, "index.faiss").exists():
        return
    in_processes(1, _write_model, made.model)
    data = ("synthesize.py", *SCENES, "--trajectories", "6", "--out", made.data)
    index = ("build_index.py", "--model", made.model, "--data", made.data, "--out", made.index)
    for name, *options in (data, index):
        with tempfile.TemporaryDirectory() as session:
            command = (python, str(checkout / "pipelines" / name), *options)
            watch(
                command,
                None,
                environment=_environment(checkout, session),
                folder=checkout,
                log=made.folder / f"{name}.log",
                limit=1800,
            )


def _write_model(rank: int, start: Barrier, folder: str) -> None:
    # Not above: torch would be in the memory of the process that watches.
    from benchmarks.steps import new_model
    from bridge.model.checkpoint import save_model
    from bridge.training.presets import PRESETS

    save_model(new_model(PRESETS["bridge"]["quick"].model), folder)


def _environment(checkout: Path, session: str, *, alone: bool = True) -> dict[str, str]:
    """Of a command of a checkout, whose Ray session is shared with nobody."""
    own = {
        "PYTHONPATH": str(checkout.resolve()),
        "RAY_TMPDIR": session,
        "BRIDGE_CACHE": f"{session}/cache",
        "PYTHONUNBUFFERED": "1",
    }
    kept = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    return kept | own | ({"RAY_ADDRESS": "local"} if alone else {})


def start(stage: Stage, checkout: Path, made: Artefacts, python: str) -> Spent:
    """Start a stage, and end it once it has begun; RuntimeError where it does not begin."""
    # Short, since Ray's sockets lie in it and may have 107 letters.
    with tempfile.TemporaryDirectory() as session:
        out = Path(session) / "out"
        command, begun = stage_of(stage, checkout, made, out)
        # An evaluation joins a cluster that runs, and starts none.
        alone = stage != "evaluate"
        if not alone and _ray_runs():
            raise RuntimeError("left out: a Ray cluster runs here, which it would join")
        return watch(
            (python, *command),
            begun,
            environment=_environment(checkout, session, alone=alone),
            folder=checkout,
            log=Path(session) / "log",
        )


def stage_of(
    stage: Stage, checkout: Path, made: Artefacts, out: Path
) -> tuple[tuple[str, ...], Callable[[], bool] | None]:
    """The arguments of a stage's command that writes to `out`, and when it has begun."""

    def appears(pattern: str) -> Callable[[], bool]:
        return lambda: any(path.stat().st_size for path in out.glob(pattern))

    script = str(checkout / ("tune/search.py" if stage == "tune" else f"pipelines/{stage}.py"))
    folders = ("--data", made.data, "--out", str(out))
    match stage:
        case "synthesize":
            sizes = ("--trajectories", "6", "--trajectories-per-shard", "2")
            return (script, *SCENES, *sizes, "--out", str(out)), appears("data/*.parquet")
        case "train":
            options = ("--preset", "quick", "--weights", "none", "--log-every", "1")
            return (script, *folders, *options), appears("metrics.jsonl")
        case "build_index":
            return (script, "--model", made.model, *folders), appears("descriptors/*.parquet")
        case "evaluate":
            return (script, "--index", made.index, "--out", str(out)), appears("report.html")
        case "search":
            return (script, "--index", made.index, "--images", str(made.picture)), None
        case "serve":
            port = _free_port()
            picture = made.picture.read_bytes()
            return (script, "--index", made.index, "--port", str(port)), lambda: answers(
                port, picture
            )
        case "tune":
            options = ("--weights", "none", "--num-trials", "1")
            return (script, *folders, *options), appears("trials/*/metrics.jsonl")
        case "help":
            return (str(checkout / "pipelines/train.py"), "--help"), None
        case "torch":
            return ("-c", "import torch"), None


def answers(port: int, picture: bytes) -> bool:
    """Whether a service at a port of this machine answers a search."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    try:
        connection.request("POST", "/api/search", picture, {"Content-Type": "image/jpeg"})
        return connection.getresponse().status == 200
    except (OSError, HTTPException):
        return False
    finally:
        connection.close()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _ray_runs() -> bool:
    return any(process.info["name"] == "gcs_server" for process in psutil.process_iter(["name"]))


def measure(stage: Stage, config: Config, made: Artefacts) -> dict[str, Any]:
    """Medians of a stage's starts, the checkouts in turn, with their ratios; or why there are none.

    A single checkout is `after`.
    """
    names = NAMES[-len(config.checkouts) :]
    starts: dict[str, list[Spent]] = {name: [] for name in names}
    row: dict[str, Any] = {"stage": stage, "until": UNTIL[stage]}
    for number in range(config.warm_ups + config.repeats):
        for name, checkout in zip(names, config.checkouts, strict=True):
            try:
                spent = start(stage, checkout.resolve(), made, config.python)
            except RuntimeError as error:
                print(f"{stage}, {name}: {error}", flush=True)
                return row | {"note": str(error)}
            print(f"{stage}, {name}: {spent.wall:.2f} s, {spent.cpu:.2f} CPU s", flush=True)
            if number >= config.warm_ups:
                starts[name].append(spent)
    for name, spents in starts.items():
        row[name] = {key: statistics.median(getattr(s, key) for s in spents) for key in KINDS}
    if len(names) == 2:
        # The kernel counts CPU time in ticks: a short command may have had none.
        row["ratio"] = {
            key: row["after"][key] / row["before"][key] for key in KINDS if row["before"][key]
        }
    return row | {"starts": {name: [asdict(s) for s in spents] for name, spents in starts.items()}}


def run(config: Config) -> list[dict[str, Any]]:
    """Measure, print, and write what the options ask for; a row for each stage."""
    temporary = tempfile.TemporaryDirectory() if config.work is None else nullcontext(config.work)
    with temporary as folder:
        made = Artefacts(Path(folder).resolve())
        if set(config.stages) - {"synthesize", "help", "torch"}:
            make_artefacts(made, config.checkouts[0].resolve(), config.python)
        rows = [measure(stage, config, made) for stage in config.stages]
    text = [
        "# From a command to its first unit of work",
        f"{machine()}. Medians of {config.repeats} starts in turn; "
        + "; ".join(
            f"{name}: {version(checkout)}"
            for name, checkout in zip(
                NAMES[-len(config.checkouts) :], config.checkouts, strict=True
            )
        )
        + ".",
        TABLE.text(rows),
    ]
    save(config.out, text, {"stages": rows})
    return rows


def version(checkout: Path) -> str:
    """The commit of a checkout, or its folder's name where there is none."""
    command: Sequence[str] = ("git", "-C", str(checkout), "describe", "--always", "--dirty")
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    return found.stdout.strip() or checkout.resolve().name


if __name__ == "__main__":
    # What was started must not outlive this, however it is ended.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    cli.main(run, Config, description=__doc__)
