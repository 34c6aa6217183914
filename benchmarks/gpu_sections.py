"""The sections of benchmarks/gpu.py, one after the other, each within its time."""

from __future__ import annotations

import json
import os
import platform
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any, Literal, get_args

import torch

from benchmarks import gpu_checks, gpu_measures, packages
from benchmarks.gpu_report import tables
from benchmarks.gpu_setting import NotDone, Row, Setting
from benchmarks.report import Options, machine, plain
from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import Positive

SectionName = Literal[
    "checks",
    "chip",
    "training",
    "embedding",
    "ranking",
    "gl",
    "training-compiled",
    "embedding-compiled",
]


@dataclass(frozen=True)
class Section:
    """Some figures that belong together.

    Attributes:
        work: gives them, row by row.
        least: seconds without which it is not begun.
        most: seconds after which it is cut off.
    """

    work: Callable[[Setting], Iterator[Row]]
    least: float
    most: float


SECTIONS: dict[SectionName, Section] = {
    "checks": Section(gpu_checks.checks, 5, 150),
    "chip": Section(gpu_measures.chip, 3, 30),
    "training": Section(gpu_measures.training, 10, 120),
    "embedding": Section(gpu_measures.embedding, 10, 60),
    "ranking": Section(gpu_measures.ranking, 15, 90),
    "gl": Section(gpu_measures.gl, 5, 40),
    "training-compiled": Section(gpu_measures.compiled_training, 30, 240),
    "embedding-compiled": Section(gpu_measures.compiled_embedding, 20, 90),
}
"""In their order: what can be had for little comes first."""


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is run, where, and for how long."""

    out: Path = Path("reports/gpu.md")
    """Markdown file for the tables; the figures go beside it as JSON, while they come."""
    minutes: Positive = 8.0
    """In all."""
    device: Literal["auto", "cuda", "cpu"] = "auto"
    """Where to compute; auto: on a GPU, which has to be there."""
    tiny: bool = False
    """Small networks and few images: whether the program works, not how fast anything is."""
    sections: tuple[SectionName, ...] = get_args(SectionName)
    """What to run."""
    packages: Path | None = None
    """Folder made by --prepare; benchmarks/gpu-packages is found by itself."""
    prepare: Path | None = None
    """Only fill this folder with the packages that a machine without a registry needs."""
    python_version: str = platform.python_version()
    """With --prepare: the Python of that machine."""
    tables: Path | None = None
    """Only print the tables of a run, from its JSON file."""


@dataclass
class Figures:
    """What is known so far, on the disk as well."""

    path: Path
    content: dict[str, Any] = field(default_factory=dict)

    def save(self) -> None:
        """Write the file anew, whole."""
        text = json.dumps(self.content, indent=1, default=plain)
        storage.write_bytes(self.path, f"{text}\n".encode())


_AGAIN = 5.0
"""Seconds between two calls to end."""


class _OutOfTime(BaseException):
    """Raised wherever a section stands; no `except Exception` of a library is to catch it."""


def command(config: Config) -> None:
    """What the options ask for; exit code 1 where a check has failed."""
    if config.prepare is not None:
        size = packages.prepare(config.prepare, config.python_version)
        print(f"{config.prepare}: {', '.join(packages.CARRIED)}; {size / (1 << 20):.1f} MiB")
    elif config.tables is not None:
        print(tables(storage.read_json(config.tables)))
    elif not run(config):
        sys.exit(1)


def run(config: Config) -> bool:
    """Run the sections, print and write what comes; whether no check has failed."""
    setting = Setting(_device(config.device), config.tiny, config.seed)
    end = time.monotonic() + 60 * config.minutes
    sections: dict[str, Any] = {}
    content = {"machine": about(setting), "tiny": config.tiny, "minutes": config.minutes}
    figures = Figures(config.out.with_suffix(".json"), content | {"sections": sections})
    for name in config.sections:
        sections[name] = {"rows": [], "status": "not done: interrupted", "seconds": 0.0}
        _run_section(name, SECTIONS[name], setting, figures, end - time.monotonic())
    storage.write_bytes(config.out, f"{tables(figures.content)}\n".encode())
    print(f"\n{tables(figures.content)}\n\nwritten: {config.out}, {figures.path}")
    return passed(figures.content)


def passed(figures: dict[str, Any]) -> bool:
    """Whether every check that was made is within its bound, and none of them broke off."""
    checks = figures["sections"].get("checks", {"rows": [], "status": "done"})
    return all(row["passed"] for row in checks["rows"]) and "failed" not in checks["status"]


def _device(name: str) -> str:
    if name == "cpu":
        return name
    if not torch.cuda.is_available():
        raise InputError(
            "There is no GPU here that torch can use: `device` cpu with `tiny` tries the program."
        )
    return "cuda"


def about(setting: Setting) -> dict[str, Any]:
    """The machine and its software."""
    found: dict[str, Any] = {"gpu": "no GPU", "processor": machine(), "torch": torch.__version__}
    if setting.on_gpu:
        properties = torch.cuda.get_device_properties(0)
        memory = properties.total_memory / 1e9
        found["gpu"] = f"{properties.name}, {memory:.0f} GB, CUDA {torch.version.cuda}"
        found["cudnn"] = torch.backends.cudnn.version()
    return found | {"threads": torch.get_num_threads(), "cpus": os.cpu_count()}


def _run_section(
    name: str, section: Section, setting: Setting, figures: Figures, left: float
) -> None:
    """Rows of one section as they come, and how it ended."""
    found = figures.content["sections"][name]
    began = time.monotonic()
    try:
        if left < section.least:
            raise NotDone(f"{max(0.0, left):.0f} s are left")
        with _at_most(min(left, section.most)):
            for row in section.work(setting):
                found["rows"].append(row)
                print(f"{name}: {_line(row)}", flush=True)
                figures.save()
        status = "done"
    except NotDone as reason:
        status = f"not done: {reason}"
    except _OutOfTime:
        status = f"cut off after {time.monotonic() - began:.0f} s"
    # One section that breaks must not take the others with it.
    except Exception as error:
        traceback.print_exc()
        status = f"failed: {type(error).__name__}: {error}"
    found |= {"status": status, "seconds": time.monotonic() - began}
    print(f"{name}: {status}", flush=True)
    figures.save()


def _line(row: Row) -> str:
    shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in row.items()}
    return ", ".join(f"{k} {v}" for k, v in shown.items() if v not in (None, ""))


@contextmanager
def _at_most(seconds: float) -> Iterator[None]:
    """A block that `_OutOfTime` ends after so long; another timer of this process goes on after."""

    def stop(number: int, frame: FrameType | None) -> None:
        raise _OutOfTime

    handler = signal.signal(signal.SIGALRM, stop)
    # Again and again: what is raised while something is being freed is lost.
    before = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, *before)
        signal.signal(signal.SIGALRM, handler)
