"""The training core without Ray: learning, exact resume, and equality over numbers of workers."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.dataset.manifest import open_manifest
from bridge.model.baselines.config import DelgConfig, DolgConfig, TokenConfig
from bridge.model.config import BridgeConfig
from bridge.model.network import Bridge
from bridge.training.augmentation import Augmentation
from bridge.training.bliss import BlissConfig
from bridge.training.data import TooManyUnreadable
from bridge.training.losses import LossConfig
from bridge.training.recipe import Compute, Recipe
from bridge.training.selection import select_training_images
from bridge.training.trainer import (
    STATE_FILE,
    Event,
    NonFiniteLoss,
    Trainer,
    check_workers,
    share_of,
)
from bridge.training.validation import CHOICE, load_validation_data
from tests.factories import make_dataset
from tests.limits import files_up_to

TINY = BridgeConfig(
    backbone="test_resnet",
    image_size=(24, 32),
    norm="folded",
    cls_dim=16,
    aux_dim=8,
    aux_hidden=8,
    descriptor_dim=16,
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
    ema_decay=0.9,
    augment=Augmentation(flip=0.5, crop=0.3, colour=0.2),
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("trainer") / "data"
    make_dataset(folder, {"train": 6, "validation": 3})
    return folder


def make_trainer(
    dataset: Path,
    recipe: Recipe,
    validate: bool = True,
    compute: Compute | None = None,
    checkpoint_every: int = 0,
) -> Trainer:
    manifest = open_manifest(str(dataset))
    data = select_training_images(str(dataset), manifest, recipe).load()
    validation = load_validation_data(str(dataset), manifest, recipe.seed) if validate else None
    torch.manual_seed(recipe.seed)
    model = Bridge(replace(TINY, num_classes=len(data.labels.objects)))
    return Trainer(
        model, recipe, data, validation, compute=compute, checkpoint_every=checkpoint_every
    )


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
    for kept, expected in zip(
        second.evaluated.parameters(), whole.evaluated.parameters(), strict=True
    ):
        assert torch.equal(kept, expected)
    assert second.best_map == whole.best_map


def test_a_full_disk_is_an_error_of_the_system(dataset: Path, tmp_path: Path) -> None:
    trainer = make_trainer(dataset, RECIPE)
    with files_up_to(500), pytest.raises(OSError) as raised:
        trainer.save(tmp_path)
    assert (raised.value.errno, raised.value.filename) == (errno.EFBIG, str(tmp_path / STATE_FILE))
    assert list(tmp_path.iterdir()) == []


def test_a_checkpoint_of_another_plan_is_refused(dataset: Path, tmp_path: Path) -> None:
    make_trainer(dataset, RECIPE, validate=False).save(tmp_path)
    for other in (replace(RECIPE, seed=1), replace(RECIPE, bliss=BlissConfig(num_negatives=3))):
        with pytest.raises(InputError, match="another training plan"):
            make_trainer(dataset, other, validate=False).load(tmp_path)


def test_a_loss_that_is_not_finite_names_step_and_images(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE, validate=False)
    events = trainer.run()
    assert next(events).step == 3
    with torch.no_grad():
        next(trainer.model.parameters()).fill_(float("nan"))
    with pytest.raises(NonFiniteLoss, match="Step 3 gave") as error:
        next(events)
    rows = np.unique(trainer.sampler.plan(0)[3 * 8 : 4 * 8])
    named = str(error.value).partition("images: ")[2].split()
    assert named == trainer._data.labels.image_id.take(rows).to_pylist()


def test_a_gradient_that_is_not_finite_is_found_before_a_checkpoint(dataset: Path) -> None:
    trainer = make_trainer(dataset, replace(RECIPE, log_every=100), False, checkpoint_every=1)
    trainer.model.fuse.weight.register_hook(lambda gradient: gradient * float("inf"))
    with pytest.raises(NonFiniteLoss, match="Step 0 .*gradient_norm"):
        next(trainer.run())


def test_checkpoints_on_request_change_nothing(dataset: Path) -> None:
    whole = make_trainer(dataset, RECIPE)
    plain = list(whole.run())
    often = make_trainer(dataset, RECIPE, checkpoint_every=4)
    calls = []

    def poll() -> bool:
        calls.append(often.step)
        return often.step == 6

    events = list(often.run(poll))
    assert calls == [3, 6, 9, 12, 15, 18]
    assert [e.step for e in events if e.checkpoint] == [4, 5, 6, 8, 9, 10, 12, 15, 16, 18]
    assert torch.equal(weights(often), weights(whole))

    def scores(run: list[Event]) -> list[float]:
        return [e.metrics[CHOICE] for e in run if CHOICE in e.metrics]

    assert scores(events) == scores(plain)


def test_steps_instead_of_epochs(dataset: Path) -> None:
    trainer = make_trainer(dataset, replace(RECIPE, steps=11))
    events = list(trainer.run())
    assert [e.step for e in events if e.checkpoint] == [5, 9, 10, 11]
    assert CHOICE in events[-1].metrics


def test_small_data_makes_small_batches(dataset: Path) -> None:
    trainer = make_trainer(dataset, replace(RECIPE, batch_size=1000), validate=False)
    assert trainer.steps_per_epoch == 1
    check_workers(8, 8, TINY)
    with pytest.raises(InputError, match="9 workers are too many for steps of 8 tuples"):
        check_workers(8, 9, TINY)


def test_statistics_of_a_batch_are_those_of_one_worker() -> None:
    ordinary = replace(TINY, norm="batch")
    check_workers(8, 1, ordinary)
    with pytest.raises(InputError, match="`norm` batch trains with one worker only"):
        check_workers(8, 2, ordinary)
    check_workers(8, 2, DelgConfig(norm="folded"))
    for config in (DolgConfig(norm="folded"), TokenConfig(norm="frozen"), TokenConfig()):
        check_workers(8, 1, config)
        with pytest.raises(InputError, match=f"method {config.method} .* with one worker only"):
            check_workers(8, 2, config)


@given(st.integers(1, 40), st.integers(1, 40))
def test_ranks_share_the_tuples_of_a_step(tuples: int, workers: int) -> None:
    step = np.arange(tuples * 3).reshape(tuples, 3)
    parts = [share_of(step, rank, workers) for rank in range(workers)]
    assert len({len(part) for part in parts}) == 1
    together = np.concatenate(parts)
    assert np.array_equal(together[together[:, 0] >= 0], step)
    assert (together[tuples:] == -1).all()


@pytest.mark.parametrize(
    "compute",
    [Compute(precision="bf16"), Compute(gradient_checkpointing=True)],
    ids=["bf16", "checkpointing"],
)
def test_ways_to_compute_give_the_same_training(dataset: Path, compute: Compute) -> None:
    recipe = replace(RECIPE, epochs=1)
    plain = [e.metrics["loss/total"] for e in make_trainer(dataset, recipe, False).run()]
    other = [e.metrics["loss/total"] for e in make_trainer(dataset, recipe, False, compute).run()]
    # Rounding of the first step's gradients grows from step to step.
    tolerance = 0.05 if compute.precision == "bf16" else 1e-3
    assert other == pytest.approx(plain, rel=tolerance)


class Damaged:
    """A cache of images, some of which are none."""

    def __init__(self, trainer: Trainer, rows: list[int]) -> None:
        self._images = trainer._data.images
        self._rows = rows
        object.__setattr__(trainer._data, "images", self)

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> bytes:
        return b"no picture" if row in self._rows else bytes(self._images[row])


@pytest.mark.parametrize("recipe", [RECIPE, IN_BATCH], ids=["tuples", "in-batch"])
def test_what_an_unreadable_image_shows_changes_nothing(dataset: Path, recipe: Recipe) -> None:
    """Black or white, it has no part in the losses of its step, and others are as they were."""
    recipe = replace(recipe, augment=Augmentation())
    trainer = make_trainer(dataset, recipe, validate=False)
    row = int(trainer.sampler.plan(0)[2, 1])
    Damaged(trainer, [row])
    black = trainer._data.batch(trainer.sampler.plan(0)[:8], TINY.image_size)
    assert not black.valid.all()
    images = black.images.clone()
    images[~black.valid] = 255
    gradients = []
    for batch in (black, replace(black, images=images)):
        trainer.model.zero_grad()
        trainer.model.classifier.t.zero_()
        trainer._losses(batch, trainer._keys(batch))["total"].backward()
        gradients.append([p.grad.clone() for p in trainer.model.parameters() if p.grad is not None])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


def test_unreadable_images_are_counted_and_named(dataset: Path) -> None:
    trainer = make_trainer(dataset, replace(RECIPE, steps=9), validate=False)
    Damaged(trainer, [7])
    last = list(trainer.run())[-1]
    assert last.metrics["unreadable"] == 1 and np.isfinite(last.metrics["loss/total"])
    assert last.unreadable == (trainer._data.labels.image_id[7].as_py(),)


def test_too_many_unreadable_images_stop_training(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE, validate=False)
    Damaged(trainer, list(range(20)))
    with pytest.raises(TooManyUnreadable, match="of 72 training images"):
        list(trainer.run())


@pytest.mark.parametrize("seed", [1 << 22, 20_240_101, 2**40])
def test_any_seed_trains(dataset: Path, seed: int) -> None:
    recipe = replace(IN_BATCH, seed=seed, steps=1)
    assert len(list(make_trainer(dataset, recipe, validate=False).run())) == 1


def test_a_training_without_any_loss_is_refused(dataset: Path) -> None:
    nothing = LossConfig(contrastive=0, classification=0, blur=0, localisation=0)
    with pytest.raises(InputError, match="lacks a head for every loss"):
        make_trainer(dataset, replace(RECIPE, loss=nothing), validate=False)


def test_every_tuple_of_the_plan_is_seen_once_per_epoch(dataset: Path) -> None:
    trainer = make_trainer(dataset, RECIPE, validate=False)
    seen: list[int] = []
    for tuples in trainer._slices():
        seen.extend(tuples[:, 0].tolist())
    epochs = [seen[:72], seen[72:]]
    assert all(sorted(epoch) == list(range(72)) for epoch in epochs)
    assert epochs[0] != epochs[1]
