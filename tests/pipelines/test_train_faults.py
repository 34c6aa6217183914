"""Processes of a training are killed, and nodes taken away: the result stays what it is."""

from __future__ import annotations

import os
import random
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import ray.train
import torch
from ray.cluster_utils import Cluster

from bridge.common import cli
from bridge.training.run_log import read_metrics
from bridge.training.trainer import STATE_FILE
from pipelines import train
from pipelines.stages.train_options import TrainConfig, trainings
from pipelines.stages.training import without_controller
from tests.chaos.contents import training as content
from tests.chaos.subjects import TRAINER
from tests.kills import Kind, start, strike, wait_for_step
from tests.ray_private import announce_preemption, has_noted_a_checkpoint
from tests.waiting import wait_until

STATES = f"*/{STATE_FILE}"


def options(config: TrainConfig, out: Path) -> list[str]:
    """`config` as it is typed: all that decides the result, whatever a preset has."""
    words = ["--out", str(out), "--num-workers", str(config.num_workers), "--cpus-per-worker", "1"]
    words += ["--num-cpus", "2", "--checkpoint-every", str(config.checkpoint_every)]
    words += ["--resize-interval", str(config.resize_interval)]
    for path, value in config.identity().items():
        # Groups add no prefix: recipe.batch_size is --batch-size.
        option = path.rpartition(".")[2].replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{option}" if value else f"--no-{option}")
        else:
            values = value if isinstance(value, list) else [value]
            words += [f"--{option}", *map(str, values)]
    return words


def test_the_killed_command_is_the_undisturbed_one(training: TrainConfig, tmp_path: Path) -> None:
    typed = cli.parse_with_preset(
        trainings("bridge"), "quick", description=None, argv=options(training, tmp_path)
    )
    assert typed == replace(training, out=str(tmp_path))


def test_where_ray_gives_up_it_is_told_in_a_sentence() -> None:
    error = ray.train.ControllerError(RuntimeError("1 worker(s) were killed.\nMemory of the node"))
    assert str(without_controller(error)) == (
        "Ray could not go on with the training: 1 worker(s) were killed. The same command "
        "continues from its last checkpoint."
    )


@pytest.fixture
def driver_log(tmp_path: Path) -> Iterator[Path]:
    """Where drivers write; shown where a test fails."""
    path = tmp_path / "driver.log"
    yield path
    print(path.read_text())


def begin(config: TrainConfig, out: Path, log: Path, **environment: str) -> subprocess.Popen[str]:
    with open(log, "a") as file:
        return start(
            "pipelines/train.py",
            options(config, out),
            stdout=file,
            stderr=subprocess.STDOUT,
            env=os.environ | environment,
        )


def hit(driver: subprocess.Popen[str], kind: Kind) -> None:
    assert strike(driver, kind, TRAINER, random.Random(0)), "there was nothing to kill"


@pytest.mark.long
@pytest.mark.timeout(1800)
def test_kills_at_any_point_change_nothing(
    trained: Path, training: TrainConfig, tmp_path: Path, driver_log: Path
) -> None:
    out = tmp_path / "killed"
    driver = begin(training, out, driver_log)
    # Step 0 of 36: the first checkpoint is at step 4.
    wait_for_step(out, 1, driver)
    hit(driver, "worker")
    # In the middle of the second epoch, between two checkpoints.
    wait_for_step(out, 14, driver)
    hit(driver, "worker")
    # The end of an epoch, while it is validated or its checkpoint is written.
    wait_for_step(out, 18, driver)
    hit(driver, "driver")
    driver.wait()
    driver = begin(training, out, driver_log)
    # With one step to go, and after the last.
    wait_for_step(out, 35, driver)
    hit(driver, "worker")
    wait_for_step(out, 36, driver)
    hit(driver, "driver")
    driver.wait()
    assert begin(training, out, driver_log).wait(timeout=600) == 0
    assert content(out) == content(trained)


@pytest.mark.long
def test_a_run_goes_on_with_more_workers(
    trained: Path, training: TrainConfig, tmp_path: Path, driver_log: Path, ray_cluster: None
) -> None:
    out = tmp_path / "elastic"
    driver = begin(training, out, driver_log)
    wait_for_step(out, 14, driver)
    hit(driver, "everything")
    driver.wait()
    assert 12 <= len(read_metrics(str(out))) < 36
    train.run(replace(training, out=str(out), num_workers="1:2"))
    lines, expected = read_metrics(str(out)), read_metrics(str(trained))
    assert [line["step"] for line in lines] == [line["step"] for line in expected]
    workers = [line["workers"] for line in lines]
    assert workers == sorted(workers) and workers[-1] == 2, "one worker did it all"
    first = workers.index(2)
    # Of the checkpoints, the newest may not have been noted yet when all was killed.
    assert first >= training.checkpoint_every
    for line, other in zip(lines[:first], expected, strict=False):
        assert line["loss/total"] == other["loss/total"]
    # Two workers add up in another order: the loss of equal weights is equal but for rounding, and
    # those after it drift apart, since Adam divides small gradients by small gradients.
    assert lines[first]["loss/total"] == pytest.approx(expected[first]["loss/total"], rel=1e-4)


@pytest.mark.long
def test_a_run_grows_when_a_node_comes(
    training: TrainConfig, tmp_path: Path, driver_log: Path
) -> None:
    out = tmp_path / "grown"
    config = replace(
        training,
        num_workers="1:2",
        checkpoint_every=5,
        recipe=replace(training.recipe, epochs=20),
        resize_interval=2,
    )
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        nodes.add_node(num_cpus=1)
        driver = begin(config, out, driver_log, RAY_ADDRESS=nodes.address)
        wait_for_step(out, 7, driver)
        nodes.add_node(num_cpus=1)
        assert driver.wait(timeout=900) == 0
    finally:
        nodes.shutdown()
    lines = read_metrics(str(out))
    assert [line["step"] for line in lines] == list(range(1, 181))
    workers = [line["workers"] for line in lines]
    assert workers[0] == 1 and workers[-1] == 2 and workers == sorted(workers)


@pytest.mark.long
def test_a_node_that_is_taken_away_leaves_a_checkpoint_just_in_time(
    training: TrainConfig, tmp_path: Path, driver_log: Path
) -> None:
    """All 72 steps are one epoch: the notice alone brings a checkpoint before the end."""
    out = tmp_path / "preempted"
    config = replace(
        training, checkpoint_every=0, recipe=replace(training.recipe, epochs=1, batch_size=1)
    )
    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    try:
        doomed = nodes.add_node(num_cpus=1)
        driver = begin(
            config,
            out,
            driver_log,
            RAY_ADDRESS=nodes.address,
            RAY_TRAIN_PREEMPTION_POLL_INTERVAL_S="0.1",
        )
        wait_for_step(out, 2, driver)
        announce_preemption(nodes.address, doomed.node_id, seconds=30)
        saved = first_checkpoint(out)
        before = read_metrics(str(out))[:saved]
        nodes.remove_node(doomed, allow_graceful=False)
        nodes.add_node(num_cpus=1)
        assert driver.wait(timeout=600) == 0
    finally:
        nodes.shutdown()
    lines = read_metrics(str(out))
    assert [line["step"] for line in lines] == list(range(1, 73))
    # Times too: these steps were not made again.
    assert saved < 72 and lines[:saved] == before


def first_checkpoint(out: Path) -> int:
    """Wait until Ray has taken note of a checkpoint; returns its step."""
    checkpoints = out / "checkpoints"
    wait_until(lambda: has_noted_a_checkpoint(checkpoints) and any(checkpoints.glob(STATES)))
    return torch.load(next(checkpoints.glob(STATES)), weights_only=True)["step"]
