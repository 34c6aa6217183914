"""The training core without Ray: learning, exact resume, and equality over numbers of workers."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from bridge.bliss import BlissConfig
from bridge.errors import InputError
from bridge.losses import LossConfig
from bridge.model import Bridge, ModelConfig
from bridge.trainer import Recipe, Trainer, batch_size
from bridge.training_data import TrainingData, load_training_data
from bridge.validation import CHOICE, load_validation_data
from tests.factories import make_dataset

TINY = ModelConfig(
    backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, descriptor_dim=16
)
RECIPE = Recipe(
    epochs=2,
    batch_size=8,
    learning_rate=3e-4,
    validate_every=5,
    log_every=3,
    bliss=BlissConfig(num_negatives=2),
)
IN_BATCH = replace(
    RECIPE,
    supervise="all",
    schedule="cosine",
    warmup_steps=3,
    bliss=BlissConfig(num_negatives=0),
    loss=LossConfig(pairs="batch"),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainer") / "data"
    make_dataset(folder, {"train": 6, "validation": 3})
    return folder


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BRIDGE_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def make_trainer(dataset: Path, recipe: Recipe, validate: bool = True) -> Trainer:
    from bridge.dataset.manifest import open_manifest

    manifest = open_manifest(str(dataset))
    data = load_training_data(str(dataset), manifest, recipe.seed)
    validation = load_validation_data(str(dataset), manifest, recipe.seed) if validate else None
    torch.manual_seed(recipe.seed)
    model = Bridge(replace(TINY, num_classes=len(data.labels.objects)))
    return Trainer(model, recipe, data, validation)


def weights(trainer: Trainer) -> torch.Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


@pytest.mark.parametrize("recipe", [RECIPE, IN_BATCH], ids=["tuples", "in-batch"])
def test_training_lowers_the_loss(dataset: Path, recipe: Recipe) -> None:
    events = list(make_trainer(dataset, replace(recipe, epochs=4), validate=False).run())
    assert events[-1].metrics["loss/total"] < 0.9 * events[0].metrics["loss/total"]


def test_events_come_at_intervals_and_ends_of_epochs(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE)
    events = list(trainer.run())
    assert trainer.steps_per_epoch == 6 * 12 // 8 == 9
    assert [e.step for e in events] == [3, 5, 6, 9, 10, 12, 15, 18]
    assert [e.step for e in events if e.checkpoint] == [5, 9, 10, 15, 18]
    assert all((CHOICE in e.metrics) == e.checkpoint for e in events)
    scores = [e.metrics[CHOICE] for e in events if e.checkpoint]
    improved = [score > max(scores[:i], default=-1) for i, score in enumerate(scores)]
    assert [e.improved for e in events if e.checkpoint] == improved
    assert events[0].metrics["images_per_second"] > 0


@pytest.mark.parametrize("recipe", [RECIPE, IN_BATCH], ids=["tuples", "in-batch"])
@pytest.mark.parametrize("stop_at", [5, 9, 15])
def test_resume_is_bit_equal(dataset: Path, tmp_path: Path, recipe: Recipe, stop_at: int) -> None:
    whole = make_trainer(dataset, recipe)
    list(whole.run())
    first = make_trainer(dataset, recipe)
    for event in first.run():
        if event.step == stop_at:
            first.save(tmp_path)
            break
    second = make_trainer(dataset, recipe)
    second.load(tmp_path)
    assert second.step == stop_at
    list(second.run())
    assert torch.equal(weights(second), weights(whole))
    assert second.best_map == whole.best_map


def test_learning_rate_schedule(dataset: Path) -> None:
    trainer = make_trainer(dataset, IN_BATCH, validate=False)
    rates = [trainer.learning_rate(step) for step in range(trainer.total_steps)]
    assert np.allclose(rates[:3], [1e-4, 2e-4, 3e-4])
    assert rates[3] == pytest.approx(3e-4)
    assert all(a > b for a, b in zip(rates[3:], rates[4:], strict=False))
    assert rates[-1] < 0.05 * 3e-4
    assert make_trainer(dataset, RECIPE, validate=False).learning_rate(17) == 3e-4


def test_a_loss_that_is_not_finite_stops_with_the_step(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE, validate=False)
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(FloatingPointError, match="step 0"):
        list(trainer.run())


def test_small_data_makes_small_batches(dataset: Path) -> None:
    trainer = make_trainer(dataset, replace(RECIPE, batch_size=1000), validate=False)
    assert trainer.steps_per_epoch == 1
    assert batch_size(replace(RECIPE, batch_size=32), 30, 8) == 24
    with pytest.raises(InputError, match="too few for 8 workers"):
        batch_size(RECIPE, 7, 8)


@pytest.mark.parametrize(
    "change", [{"epochs": 0}, {"batch_size": 0}, {"log_every": 0}, {"learning_rate": 0.0}]
)
def test_options_out_of_range_are_input_errors(change: dict) -> None:
    with pytest.raises(InputError, match=f"--{next(iter(change)).replace('_', '-')}"):
        replace(RECIPE, **change)


def _train_rank(rank: int, port: int, dataset: Path, recipe: Recipe, out: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"tcp://127.0.0.1:{port}", rank=rank, world_size=2)
    trainer = make_trainer(dataset, recipe)
    events = [event.metrics for event in trainer.run()]
    torch.save({"weights": weights(trainer), "last": events[-1]}, out / f"{rank}.pt")
    dist.destroy_process_group()


@pytest.mark.parametrize("recipe", [RECIPE, IN_BATCH], ids=["tuples", "in-batch"])
def test_two_workers_train_what_one_does(dataset: Path, tmp_path: Path, recipe: Recipe) -> None:
    recipe = replace(recipe, epochs=1)
    single = make_trainer(dataset, recipe)
    last = list(single.run())[-1].metrics
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    mp.spawn(_train_rank, (port, dataset, recipe, tmp_path), nprocs=2)
    ranks = [torch.load(tmp_path / f"{rank}.pt", weights_only=True) for rank in range(2)]
    assert torch.equal(ranks[0]["weights"], ranks[1]["weights"])
    assert ranks[0]["last"][CHOICE] == ranks[1]["last"][CHOICE]
    # Sums run in another order, and Adam divides small gradients by small gradients.
    assert ranks[0]["last"]["loss/total"] == pytest.approx(last["loss/total"], rel=1e-3)
    assert (ranks[0]["weights"] - weights(single)).abs().mean() < 1e-5


def test_a_batch_that_does_not_divide_is_an_input_error(
    dataset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from bridge import distributed

    monkeypatch.setattr(
        distributed.World, "current", classmethod(lambda cls: distributed.World(0, 3))
    )
    with pytest.raises(InputError, match="does not divide over 3 workers"):
        make_trainer(dataset, RECIPE, validate=False)


def test_every_tuple_of_the_plan_is_seen_once_per_epoch(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE, validate=False)
    seen: list[int] = []
    data = trainer._data

    class Spy(TrainingData):
        def batch(self, tuples: np.ndarray, image_size: tuple[int, int]):  # type: ignore[no-untyped-def]
            seen.extend(tuples[:, 0].tolist())
            return data.batch(tuples, image_size)

    trainer._data = Spy(data.labels, data.images)
    trainer._threads = 1
    list(trainer.run())
    epochs = [seen[:72], seen[72:]]
    assert all(sorted(epoch) == list(range(72)) for epoch in epochs)
    assert epochs[0] != epochs[1]
