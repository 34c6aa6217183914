from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import ray

from bridge.common.errors import InputError
from bridge.common.status import read_status
from bridge.common.watch_options import LogOptions, WatchOptions
from pipelines import synthesize
from pipelines.stages import running
from pipelines.synthesize import SynthesizeConfig
from tests.kills import ROOT, start
from tests.waiting import wait_until


def test_a_stage_has_its_folder_to_itself(tmp_path: Path) -> None:
    with running.running("train", tmp_path, WatchOptions()) as out:
        assert out == str(tmp_path)
        first = read_status(tmp_path)
        other = running.running("train", tmp_path, LogOptions())
        with pytest.raises(InputError, match="is in use by"), other:
            raise AssertionError("both work there")
        # Who is refused says nothing in its place.
        assert read_status(tmp_path) == first
    assert os.listdir(tmp_path) == ["status.json"]


def test_a_folder_that_nothing_came_into_is_gone(tmp_path: Path) -> None:
    with pytest.raises(InputError), running.running("train", tmp_path / "out", LogOptions()):
        raise InputError("wrong")
    assert not list(tmp_path.iterdir())


def test_what_is_paid_for_is_the_cluster(ray_cluster: None, tmp_path: Path) -> None:
    assert running.size_of_cluster() == (ray.cluster_resources()["CPU"], 0.0)
    with running.running("train", tmp_path, WatchOptions()):
        running.publish(read_status(tmp_path))
    assert {*running.GAUGES} == {*running._gauges}


def test_a_run_that_goes_on_counts_what_was_there(ray_cluster: None, tmp_path: Path) -> None:
    config = SynthesizeConfig(
        out=str(tmp_path / "data"),
        categories=1,
        objects_per_category=4,
        trajectories=2,
        image_size=(24, 32),
        trajectories_per_shard=2,
        num_cpus=2,
    )
    whole = synthesize.run(config)
    assert read_status(config.folder).done == 88
    kept = dict(list(whole.shards.items())[1:])
    assert 0 < len(kept) < len(whole.shards)
    replace(whole, shards=kept, complete=False).save(config.folder)
    synthesize.run(config)
    found = read_status(config.folder)
    assert (found.done, found.total, found.state) == (88, 88, "done")
    assert found.core_hours > 0


@pytest.mark.long
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_simulation_that_is_ended_says_so(number: int, tmp_path: Path) -> None:
    out = tmp_path / "data"
    options = ["--categories", "2", "--objects-per-category", "5", "--trajectories", "500"]
    process = start(
        "pipelines/synthesize.py",
        [*options, "--out", str(out), "--num-cpus", "2"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    wait_until(lambda: (out / "status.json").exists() and read_status(out).done, process)
    process.send_signal(number)
    process.wait()
    found = read_status(out)
    if number == signal.SIGKILL:
        assert found.state == "running" and found.silent(found.updated) == 0
    else:
        assert found.state == "interrupted"
    arguments = [sys.executable, str(ROOT / "pipelines/status.py"), str(out)]
    said = subprocess.run(arguments, capture_output=True, text=True).stdout
    assert f"synthesize {found.state}, {found.done:,} of" in said
