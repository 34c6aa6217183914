"""Kill a simulation, a training or an index at random points: nothing may change.

    make chaos
    .venv/bin/python -m tests.chaos synthesis --kills 20 -- --meshes MESHES --trajectories 6
    .venv/bin/python -m tests.chaos training --kills 30 -- --preset quick --data DATASET
    .venv/bin/python -m tests.chaos index -- --model MODEL --data DATASET --distractors DATASET

The command runs once undisturbed (what is there already is kept) and once with drivers, workers
and whole process trees killed at points that are spread over its whole length. Both must leave the
same bytes. Options behind `--` go to the command.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bridge.common.storage import sha256
from bridge.training.run_log import read_metrics
from tests.kills import KINDS, ROOT, start, strike

TIMINGS = {"seconds", "images_per_second", "data_wait"}
"""What differs between two runs that train the same."""
AT_START = 0.2
"""Share of the kills that come soon after a start, whatever has been done by then."""


@dataclass(frozen=True)
class Subject:
    """A command that can be killed.

    Attributes:
        script: what runs.
        worker: title of the processes that work for it.
        done: how much there is in a folder; grows from 0 to a number that depends on the options.
        content: all that a finished run must leave, by name.
        inside: where in the folder of a run it is made, out of sight of the other run.
    """

    script: str
    worker: str
    done: Callable[[Path], int]
    content: Callable[[Path], dict[str, str]]
    inside: str = "."


def shards(out: Path) -> int:
    """Shards that were made so far."""
    return len(list((out / "data").glob("*.parquet")))


def dataset(out: Path) -> dict[str, str]:
    """Hash of every file that the manifest names, which must be all there are but leftovers."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"], f"{out} is not complete"
    hashes = {s["path"]: sha256((out / s["path"]).read_bytes()) for s in manifest["shards"]}
    assert hashes == {s["path"]: s["sha256"] for s in manifest["shards"]}, "hashes are wrong"
    files = {str(p.relative_to(out)) for p in (out / "data").iterdir() if ".tmp-" not in p.name}
    assert files == set(hashes), "there are files that the manifest does not name"
    return hashes | {"counts": json.dumps([manifest["counts"], manifest["rejected"]])}


def steps(out: Path) -> int:
    """The last step that was logged."""
    lines = read_metrics(str(out))
    return lines[-1]["step"] if lines else 0


def training(out: Path) -> dict[str, str]:
    """The model's files, every line of metrics and the record, all without times and paths."""
    record = json.loads((out / "run.json").read_text())
    assert record["complete"], f"{out} is not complete"
    result = {k: v for k, v in record["result"].items() if k not in TIMINGS | {"model"}}
    lines = [
        {name: value for name, value in line.items() if name not in TIMINGS}
        for line in read_metrics(str(out))
    ]
    files = {f"model/{p.name}": sha256(p.read_bytes()) for p in (out / "model").iterdir()}
    logged = {f"step {line['step']}": json.dumps(line) for line in lines}
    assert len(logged) == len(lines), "a step was logged twice"
    return files | logged | {"run.json": json.dumps([record["config"], result])}


def parts(out: Path) -> int:
    """Descriptor files that were written so far."""
    return len(list((out / "descriptors").glob("*.parquet")))


def index(out: Path) -> dict[str, str]:
    """Hash of the search index and of every part, which must be those that the manifest names."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"], f"{out} is not complete"
    hashes = {p["path"]: sha256((out / p["path"]).read_bytes()) for p in manifest["parts"]}
    assert hashes == {p["path"]: p["sha256"] for p in manifest["parts"]}, "hashes are wrong"
    rows = json.dumps([manifest["counts"], [part["path"] for part in manifest["parts"]]])
    return hashes | {"rows": rows, "faiss": sha256((out / "index.faiss").read_bytes())}


SUBJECTS = {
    "index": Subject("pipelines/build_index.py", "ray::MapWorker", parts, index, inside="index"),
    "synthesis": Subject("pipelines/synthesize.py", "ray::MapWorker", shards, dataset),
    "training": Subject("pipelines/train.py", "ray::RayTrainWorker", steps, training),
}


def wait(driver: subprocess.Popen[str], until: Callable[[], bool], seconds: float) -> None:
    """Wait for a condition, the end of the driver, or so many seconds."""
    end = time.monotonic() + seconds
    while driver.poll() is None and time.monotonic() < end and not until():
        time.sleep(0.02)


def disturbed(
    subject: Subject, options: list[str], out: Path, total: int, kills: int, rng: random.Random
) -> Counter[str]:
    """Run the command to its end through so many kills; returns how many of which kind."""
    points = sorted(rng.uniform(0, total) for _ in range(kills))
    struck: Counter[str] = Counter()
    # Besides each kill, a command may end once by itself.
    for _ in range(kills + 2):
        driver = start(subject.script, options)
        while points and driver.poll() is None:
            if rng.random() < AT_START:
                wait(driver, lambda: False, rng.uniform(0, 20))
            else:
                wait(driver, lambda: subject.done(out) >= points[0], 600)
                wait(driver, lambda: False, rng.uniform(0, 2))
            kind = rng.choice(KINDS)
            if driver.poll() is None and strike(driver, kind, subject.worker, rng):
                point = f"{subject.done(out)} of {total}"
                print(f"kill {kills - len(points) + 1} of {kills}: {kind} at {point}", flush=True)
                struck[kind] += 1
                points.pop(0)
        if driver.wait() == 0:
            break
        time.sleep(1)
    else:
        sys.exit("the command fails without being killed")
    if struck.total() < kills:
        sys.exit(f"the command was done after {struck.total()} kills: give it more to do")
    return struck


def main() -> None:
    """Parse the arguments and compare the two runs; exit code 1 where they differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("subject", choices=SUBJECTS)
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--folder", type=Path, help="of the two runs (default: data/chaos/SUBJECT)")
    words = [*sys.argv[1:], "--"]
    divide = words.index("--")
    args, given = parser.parse_args(words[:divide]), words[divide + 1 : -1]
    subject = SUBJECTS[args.subject]
    folder = args.folder or ROOT / "data/chaos" / args.subject
    calm, rough = (folder / name / subject.inside for name in ("calm", "rough"))
    shutil.rmtree(folder / "rough", ignore_errors=True)
    assert start(subject.script, [*given, "--out", str(calm)]).wait() == 0
    expected, total = subject.content(calm), subject.done(calm)
    options = [*given, "--out", str(rough)]
    struck = disturbed(subject, options, rough, total, args.kills, random.Random(args.seed))
    found = subject.content(rough)
    if expected != found:
        differing = sorted(k for k in {*expected, *found} if expected.get(k) != found.get(k))
        sys.exit(f"the runs differ in {len(differing)} things, e.g. {differing[0]}")
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(struck.items()))
    print(f"{struck.total()} kills ({kinds}): {len(found)} files and lines are equal byte by byte")


if __name__ == "__main__":
    main()
