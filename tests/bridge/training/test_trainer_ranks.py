"""Several processes train what one does, and continue exactly where they stopped."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from bridge.training.recipe import Recipe
from bridge.training.validation import CHOICE
from tests.bridge.training.test_trainer import IN_BATCH, RECIPE, make_trainer, weights
from tests.factories import make_dataset

STOP, STEPS = 2, 4


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ranks") / "data"
    make_dataset(folder, {"train": 6, "validation": 3})
    return folder


def train_rank(rank: int, port: int, world: int, dataset: Path, recipe: Recipe, out: Path) -> None:
    """Train to the end, saving at one step; then train again from there."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=world
    )
    trainer = make_trainer(dataset, recipe, checkpoint_every=STOP)
    lines = []
    for event in trainer.run():
        if event.step == STOP and rank == 0:
            trainer.save(out)
        lines.append(event.metrics)
    dist.barrier()
    again = make_trainer(dataset, recipe)
    again.load(out)
    assert again.step == STOP
    list(again.run())
    results = {"weights": weights(trainer), "again": weights(again), "lines": lines}
    torch.save(results, out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize(
    ("recipe", "world"), [(RECIPE, 2), (IN_BATCH, 3)], ids=["tuples-2", "in-batch-3"]
)
def test_several_workers_train_what_one_does(
    dataset: Path, tmp_path: Path, recipe: Recipe, world: int
) -> None:
    """Also where the 8 tuples of a step do not divide over the workers.

    All workers have the same weights to the last bit. Against other numbers of workers, sums run in
    another order: losses and gradients of equal weights are equal but for rounding, and those after
    a step nearly, since Adam divides small gradients by small gradients. Later steps drift apart.
    """
    recipe = replace(recipe, steps=STEPS, log_every=1)
    single = [event.metrics for event in make_trainer(dataset, recipe).run()]
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(train_rank, (port, world, dataset, recipe, tmp_path), nprocs=world)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(world)]
    for rank in ranks:
        assert torch.equal(ranks[0]["weights"], rank["weights"])
        assert torch.equal(rank["again"], rank["weights"])
        assert ranks[0]["lines"][-1][CHOICE] == rank["lines"][-1][CHOICE]
    lines = ranks[0]["lines"]
    for name in ("loss/total", "gradient_norm"):
        assert lines[0][name] == pytest.approx(single[0][name], rel=1e-4)
    assert lines[1]["loss/total"] == pytest.approx(single[1]["loss/total"], rel=1e-2)
    # Fewer workers continue what more have begun.
    fewer = make_trainer(dataset, recipe)
    fewer.load(tmp_path)
    continued = next(fewer.run()).metrics
    for name in ("loss/total", "gradient_norm"):
        assert continued[name] == pytest.approx(lines[STOP][name], rel=1e-4)
