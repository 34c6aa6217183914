"""The whole chain on a store that fails now and then, killed and continued; and on a disk."""

from __future__ import annotations

import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from bridge.common import storage
from tests.factories import make_meshes
from tests.kills import ROOT
from tests.s3.chain import MESHES, PHOTOS
from tests.s3.server import Proxy
from tests.s3.test_inputs import draw, upload
from tests.waiting import wait_until

QUOTE = '("|&#34;)'
TIMES = re.compile(rf"{QUOTE}(seconds|images_per_second|data_wait|latency_ms){QUOTE}: [\d.e+-]+")

HASH = re.compile("[0-9a-f]{64}")


def begin(root: str, cache: Path, log: Path) -> subprocess.Popen[str]:
    """The chain in a session of its own, with a node's copies of its own."""
    with log.open("a") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "tests.s3.chain", root],
            cwd=ROOT,
            env=os.environ | {"BRIDGE_CACHE": str(cache)},
            start_new_session=True,
            stdout=file,
            stderr=subprocess.STDOUT,
            text=True,
        )


def kill(driver: subprocess.Popen[str], until: Callable[[], bool]) -> None:
    """Kill a driver, and all that it started, once something is so."""
    wait_until(until, driver)
    os.killpg(driver.pid, signal.SIGKILL)
    driver.wait()


def content(root: str) -> dict[str, object]:
    """All that the chain leaves, by name, without times and the name of the folder."""
    _, inner = storage.filesystem(root)
    names = [e.path[len(inner) + 1 :] for e in storage.entries(root, deep=True) if e.is_file]
    # Ray's own, what is no result, and when the photos were last changed.
    others = ("run/checkpoints/", "run/tensorboard/", MESHES, PHOTOS, "imported/photos.parquet")
    return {
        name: comparable(name, storage.read_bytes(storage.join(root, name)), root)
        for name in names
        if not name.startswith(others) and not name.endswith("status.json")
    }


def comparable(name: str, data: bytes, root: str) -> object:
    """A file without times, the name of the folder, and hashes of what has either in it."""
    if name.startswith("index/descriptors/"):
        rows = pq.read_table(io.BytesIO(data)).to_pylist()
        return [row | {"shard": row["shard"].replace(root, "ROOT")} for row in rows]
    if not name.endswith((".json", ".jsonl", ".html", ".md")):
        return data
    text = TIMES.sub("", data.decode().replace(root, "ROOT"))
    return HASH.sub("", text) if name.startswith(("index/", "report/", "imported/")) else text


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_chain_on_a_store_comes_to_what_it_does_on_a_disk(
    s3_proxy: Proxy, s3_folder: str, tmp_path: Path
) -> None:
    disk, store = str(tmp_path / "disk"), s3_folder
    make_meshes(Path(disk, MESHES), {"box": 8, "brick": 7})
    for number in range(6):
        draw(Path(disk, PHOTOS, f"{number}.png"), number)
    upload(Path(disk), store)
    log = tmp_path / "log.txt"
    try:
        assert begin(disk, tmp_path / "cache-disk", log).wait(timeout=600) == 0
        s3_proxy.share = 0.05
        for there in ("data/data/test-", "run/checkpoints/checkpoint_", "index/index.faiss"):
            driver = begin(store, tmp_path / "cache-store", log)
            written = f"/{storage.filesystem(store)[1]}/{there}"
            kill(driver, lambda name=written: "PUT" in s3_proxy.of(name))
        assert begin(store, tmp_path / "cache-store", log).wait(timeout=600) == 0
    finally:
        print(log.read_text())
    s3_proxy.share = 0.0
    assert s3_proxy.spoilt.keys() == {"503", "reset", "lost", "late"}
    print(f"{len(s3_proxy.requests)} requests, spoilt: {dict(s3_proxy.spoilt)}")
    mine, yours = content(disk), content(store)
    assert yours.keys() == mine.keys()
    assert [name for name in mine if mine[name] != yours[name]] == []
    metrics = storage.read_json(storage.join(store, "report/metrics.json"))
    assert metrics["protocols"]["mixed"]["num_queries"] > 0
