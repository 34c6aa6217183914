"""A command from its start to its end, through strikes; and onto a disk that is too small."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.grounds import ENDING, Ground
from tests.chaos.subjects import Subject
from tests.kills import start
from tests.limits import small_disk

AT_START = 0.2
"""Share of the strikes that come soon after a start, whatever has been done by then."""
SOON, PATIENCE = 10.0, 900.0
MOST_FAILURES = 2
"""Of a command since its last strike, which may still be about."""
ROOM = 0.5
"""Of what a run needs, on the disk that is too small."""


@dataclass
class Strike:
    """What was struck, where, and what came of it.

    Attributes:
        share: of the undisturbed run that was done then, in the words of `at`.
        ended: by itself, or by the same command.
        equal: whether the run left what an undisturbed one leaves.
    """

    subject: str
    kind: str
    share: float
    at: str
    ended: str = ""
    equal: bool = False


@dataclass(frozen=True)
class Point:
    """When to strike: at a share of the run, or so many seconds after a start if that is sooner."""

    kind: str
    share: float
    soon: float | None


@dataclass(frozen=True)
class Course:
    """A subject with its options, and what it comes to undisturbed.

    Attributes:
        folder: of its runs.
        expected, total, seconds: content, progress and duration of the undisturbed run.
    """

    name: str
    subject: Subject
    options: Sequence[str]
    folder: Path
    expected: dict[str, str] = field(default_factory=dict)
    total: int = 0
    seconds: float = 0.0

    def out(self, run: str) -> Path:
        """Where a run of it goes."""
        return self.folder / run / self.subject.inside

    def begin(self, run: str, environment: dict[str, str]) -> subprocess.Popen[str]:
        """Start the command, or continue it; it writes into a log in the folder."""
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "a") as log:
            return start(
                self.subject.script,
                [*self.options, "--out", str(self.out(run))],
                env=os.environ | environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> Path:
        """Where the commands write."""
        return self.folder / "commands.log"

    def forget(self, run: str) -> None:
        """Remove a run."""
        shutil.rmtree(self.folder / run, ignore_errors=True)

    def done(self, run: str, since: float) -> float:
        """The share of a run that is done, of which nothing may be seen but when it began."""
        if self.subject.done is None:
            return min(1.0, (time.monotonic() - since) / self.seconds)
        return self.subject.done(self.out(run)) / self.total

    def at(self, share: float) -> str:
        """A share in words."""
        total = self.seconds if self.subject.done is None else self.total
        return f"{share * total:.0f} of {total:.0f} {self.subject.unit}"

    def is_equal(self, run: str) -> bool:
        """Whether a run left what the undisturbed one did; says what differs."""
        found = self.subject.content(self.out(run))
        names = sorted({*found, *self.expected})
        differing = [name for name in names if found.get(name) != self.expected.get(name)]
        if differing:
            print(f"{self.name}: {len(differing)} of {len(names)} differ, e.g. {differing[:3]}")
        return not differing


def undisturbed(name: str, subject: Subject, options: Sequence[str], folder: Path) -> Course:
    """Run a command to its end."""
    course = Course(name, subject, options, folder)
    course.forget("calm")
    begun = time.monotonic()
    code = course.begin("calm", {"RAY_ADDRESS": "local"}).wait()
    seconds = time.monotonic() - begun
    assert code == 0, course.log.read_text()[-2000:]
    out = course.out("calm")
    total = subject.done(out) if subject.done else 1
    print(f"{name}: undisturbed {seconds:.0f} s, {course.log}", flush=True)
    return Course(name, subject, options, folder, subject.content(out), total, seconds)


def struck(course: Course, ground: Ground, kinds: Sequence[str], seed: str) -> list[Strike]:
    """Run a command through a strike of each of some kinds, in an order and at times by a seed.

    Where it comes to its end before the last of them, it begins again from nothing.
    """
    rng = random.Random(seed)
    waiting, strikes = list(kinds), list[Strike]()
    try:
        while waiting:
            course.forget("rough")
            shares = sorted(rng.uniform(0, 0.95) for _ in waiting)
            points = [Point(k, s, _soon(rng)) for k, s in zip(waiting, shares, strict=True)]
            new = _through(course, ground, points, rng)
            del waiting[: len(new)]
            for strike in new:
                strike.equal = course.is_equal("rough")
            strikes += new
    finally:
        ground.close()
    return strikes


def _soon(rng: random.Random) -> float | None:
    seconds = rng.uniform(0, SOON)
    return seconds if rng.random() < AT_START else None


def _through(
    course: Course, ground: Ground, points: list[Point], rng: random.Random
) -> list[Strike]:
    """To the end of the command; the strikes that there was time for."""
    strikes: list[Strike] = []
    failures = 0
    while True:
        driver, begun = course.begin("rough", ground.environment()), time.monotonic()
        is_struck = False
        while points and _reaches(course, driver, begun, points[0]):
            share = course.done("rough", begun)
            what = ground.strike(points[0].kind, driver, course.subject.titles, rng)
            if what is None:
                time.sleep(0.02)
                continue
            # It was still going.
            _settle(strikes, "itself")
            strikes.append(Strike(course.name, what, share, course.at(share)))
            print(f"{course.name}: {what} at {strikes[-1].at}", flush=True)
            is_struck = True
            points.pop(0)
        code = driver.wait(timeout=PATIENCE)
        _settle(strikes, "itself" if code == 0 else "the same command")
        if code == 0:
            return strikes
        failures = 0 if is_struck else failures + 1
        assert failures <= MOST_FAILURES, course.log.read_text()[-2000:]
        if is_struck and strikes[-1].kind not in ENDING:
            print(f"{course.name}: ended with {code}", flush=True)


def _settle(strikes: Sequence[Strike], ended: str) -> None:
    for strike in strikes:
        strike.ended = strike.ended or ended


def _reaches(course: Course, driver: subprocess.Popen[str], begun: float, point: Point) -> bool:
    """Wait for a point of a run; False where the command ended before."""
    late = time.monotonic() + PATIENCE
    while driver.poll() is None:
        now = time.monotonic()
        assert now < late, f"the command stands still: {course.log.read_text()[-2000:]}"
        if point.soon is not None and now > begun + point.soon:
            return True
        if course.done("rough", begun) >= point.share:
            return True
        time.sleep(0.02)
    return False


def on_a_small_disk(course: Course) -> Strike:
    """Fill the disk that a run is made on; then it grows, and the same command goes on."""
    course.forget("full")
    size = sum(file.stat().st_size for file in (course.folder / "calm").rglob("*"))
    with small_disk(course.folder / "full", int(ROOM * size)) as disk:
        before = course.log.stat().st_size
        code = course.begin("full", {"RAY_ADDRESS": "local"}).wait(timeout=PATIENCE)
        said = course.log.read_text()[before:]
        assert code == 1 and "no room left" in said and "Traceback" not in said, said[-2000:]
        share = course.done("full", time.monotonic())
        disk.grow()
        code = course.begin("full", {"RAY_ADDRESS": "local"}).wait(timeout=PATIENCE)
        assert code == 0, course.log.read_text()[-2000:]
        strike = Strike(course.name, "disk full", share, course.at(share), "the same command")
        strike.equal = course.is_equal("full")
    return strike
