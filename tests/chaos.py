"""Kill a simulation at random points, again and again, and see that nothing changes.

    make chaos
    .venv/bin/python -m tests.chaos --kills 20 -- --meshes MESHES --trajectories 6

A dataset is made once undisturbed (what is there already is kept) and once with drivers, workers
and whole process trees killed. Both must hold the same bytes. Options behind `--` go to
`pipelines/synthesize.py`.
"""

from __future__ import annotations

import argparse
import json
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil

from bridge.storage import sha256

ROOT = Path(__file__).parents[1]


def start(options: list[str], out: Path) -> subprocess.Popen[bytes]:
    """The command, in a session of its own."""
    arguments = [sys.executable, str(ROOT / "pipelines/synthesize.py"), "--out", str(out)]
    return subprocess.Popen([*arguments, *options], cwd=ROOT, start_new_session=True)


def workers(driver: subprocess.Popen[bytes]) -> list[psutil.Process]:
    """Processes that make shards for a driver."""
    found = []
    for process in psutil.Process(driver.pid).children(recursive=True):
        try:
            if "ray::make_shard" in " ".join(process.cmdline()):
                found.append(process)
        except psutil.Error:
            continue
    return found


def strike(driver: subprocess.Popen[bytes], rng: random.Random) -> str:
    """Kill something of a running command; returns what."""
    kind = rng.choice(["worker", "worker", "driver", "everything", "interrupt"])
    if kind == "worker":
        victims = workers(driver)
        if not victims:
            return "no worker was there"
        rng.choice(victims).kill()
    elif kind == "interrupt":
        driver.send_signal(signal.SIGINT)
    else:
        tree = psutil.Process(driver.pid).children(recursive=True) if kind == "everything" else []
        driver.kill()
        for process in tree:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
    return kind


def disturbed(options: list[str], out: Path, kills: int, rng: random.Random) -> None:
    """Run the command to its end through so many kills."""
    done = 0
    while True:
        driver = start(options, out)
        while done < kills and driver.poll() is None:
            try:
                driver.wait(timeout=rng.uniform(1, 40))
            except subprocess.TimeoutExpired:
                done += 1
                print(f"kill {done} of {kills}: {strike(driver, rng)}", flush=True)
        if driver.wait() == 0:
            if done < kills:
                print(f"it finished after {done} kills")
            return
        time.sleep(1)


def content(out: Path) -> dict[str, str]:
    """Hash of every file that the manifest names, which must be all there are but leftovers."""
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["complete"], f"{out} is not complete"
    hashes = {s["path"]: sha256((out / s["path"]).read_bytes()) for s in manifest["shards"]}
    assert hashes == {s["path"]: s["sha256"] for s in manifest["shards"]}, "hashes are wrong"
    files = {str(p.relative_to(out)) for p in (out / "data").iterdir() if ".tmp-" not in p.name}
    assert files == set(hashes), "there are files that the manifest does not name"
    return hashes | {"counts": json.dumps([manifest["counts"], manifest["rejected"]])}


def main() -> None:
    """Parse the arguments and compare the two runs; exit code 1 where they differ."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0, help="of the kills")
    parser.add_argument("--folder", type=Path, default=ROOT / "data/chaos")
    parser.add_argument("options", nargs="*", help="for pipelines/synthesize.py, behind --")
    args = parser.parse_args()
    calm, rough = args.folder / "calm", args.folder / "rough"
    shutil.rmtree(rough, ignore_errors=True)
    assert start(args.options, calm).wait() == 0
    disturbed(args.options, rough, args.kills, random.Random(args.seed))
    expected, found = content(calm), content(rough)
    if expected != found:
        differing = sorted(k for k in {*expected, *found} if expected.get(k) != found.get(k))
        sys.exit(f"the runs differ in {len(differing)} files, e.g. {differing[0]}")
    print(f"{len(found) - 1} shards are equal byte by byte")


if __name__ == "__main__":
    main()
