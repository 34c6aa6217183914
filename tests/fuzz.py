"""Damage every kind of artefact in every kind of way: no reader may crash, hang or lose its nerve.

    make fuzz                                      3,000 tries
    .venv/bin/python -m tests.fuzz --tries 10000 --seed 7
    .venv/bin/python -m tests.fuzz --only shard --seed 7 --first 41 --tries 1    one of them again

Small artefacts are made once. Each try damages one file of one of them, and reads it as the
commands do, in a child with limits on time and memory. It ends as one of

    refused     an InputError: one sentence, exit code 2
    equal       what is read is what the sound artefact gives
    told        something else is read, and the output says so
    different   something else is read, as where a recorded option was changed
    traceback, crash, hang      a fault of ours: the exit code is 1
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import pickle
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from bridge.common.progress import progress
from tests import fuzz_subjects
from tests.fuzz_damage import damage
from tests.fuzz_subjects import SUBJECTS

SECONDS = 120
"""That a try may take; the slowest takes two."""
MEMORY = 12 << 30
"""Of address space, of which libraries take half without using it."""
FAULTS = ("traceback", "crash", "hang")


@dataclass(frozen=True)
class Try:
    """What came of one: the outcome, and what is known of it."""

    subject: str
    number: int
    outcome: str
    detail: str


def attempt(subject: str, sound: Path, number: int, seed: int) -> tuple[str, str]:
    """Outcome and detail of one try; in this process."""
    reader = SUBJECTS[subject]
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "sound"
        # What is not damaged is not copied.
        shutil.copytree(sound, copy, copy_function=os.link)
        done = damage(copy, reader.files, f"{seed} {subject} {number}", reader.manifest)
        said = io.StringIO()
        try:
            with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
                digest = reader.read(copy)
        except fuzz_subjects.REFUSALS as error:
            return "refused", f"{done}: {error}"
        except BaseException:
            return "traceback", f"{done}\n{traceback.format_exc()}"
        if digest == (sound / f"{subject}.digest").read_text():
            return "equal", done
        return ("told" if said.getvalue() else "different"), f"{done}: {said.getvalue()[-200:]}"


def tried(subject: str, sound: Path, number: int, seed: int) -> Try:
    """One try in a child, within its limits."""
    ours, theirs = os.pipe()
    child = os.fork()
    if not child:
        os.close(ours)
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        with open(theirs, "wb") as pipe:
            pickle.dump(attempt(subject, sound, number, seed), pipe)
        os._exit(0)
    os.close(theirs)
    with open(ours, "rb") as pipe:
        is_ready, _, _ = select.select([pipe], [], [], SECONDS)
        if not is_ready:
            os.kill(child, signal.SIGKILL)
        said = pipe.read()
    _, status = os.waitpid(child, 0)
    if not is_ready:
        return Try(subject, number, "hang", "")
    if status or not said:
        return Try(subject, number, "crash", f"exit status {status}")
    return Try(subject, number, *pickle.loads(said))


def tries(names: Sequence[str], sound: Path, numbers: range, seed: int) -> Iterator[Try]:
    """All tries, the subjects in turn."""
    for number in numbers:
        name = names[number % len(names)]
        yield tried(name, sound, number, seed)


def main(argv: Sequence[str] | None = None) -> int:
    """Try, print the table of outcomes, and each fault; 1 where there was one."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--tries", type=int, default=3000)
    parser.add_argument("--first", type=int, default=0, help="number of the first try")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=SUBJECTS, nargs="+", help="subjects (default: all)")
    parser.add_argument("--show", action="store_true", help="print every try")
    args = parser.parse_args(argv)
    names = args.only or list(SUBJECTS)
    with tempfile.TemporaryDirectory() as folder:
        # Another process makes them: one that has threads cannot be forked.
        subprocess.run([sys.executable, "-m", "tests.fuzz_subjects", folder], check=True)
        os.environ["BRIDGE_CACHE"] = str(Path(folder) / "cache")
        os.environ["OMP_NUM_THREADS"] = "1"
        fuzz_subjects.import_all()
        started, done = time.monotonic(), []
        numbers = range(args.first, args.first + args.tries)
        with progress("fuzz", args.tries, "tries") as counter:
            for one in tries(names, Path(folder) / "sound", numbers, args.seed):
                done.append(one)
                counter.advance()
                if args.show or one.outcome in FAULTS:
                    print(f"{one.subject} {one.number} {one.outcome}: {one.detail}", flush=True)
    _print_table(done, names)
    print(f"{len(done)} tries in {time.monotonic() - started:.0f} s, seed {args.seed}")
    return int(any(one.outcome in FAULTS for one in done))


def _print_table(done: Sequence[Try], names: Sequence[str]) -> None:
    outcomes = ("refused", "equal", "told", "different", *FAULTS)
    print(f"{'':<16}" + "".join(f"{outcome:>11}" for outcome in outcomes))
    for name in names:
        counts = Counter(one.outcome for one in done if one.subject == name)
        print(f"{name:<16}" + "".join(f"{counts[outcome]:>11}" for outcome in outcomes))


if __name__ == "__main__":
    sys.exit(main())
