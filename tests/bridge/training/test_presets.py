"""The presets of the baselines: as many images as BRIDGE's, and trainings that run and continue."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bridge.dataset.manifest import open_manifest
from bridge.model.registry import build_model
from bridge.training.cost import estimate
from bridge.training.presets import LOSSES, PRESETS, loss_subsets, single_images
from bridge.training.recipe import BlissConfig, LossConfig, Recipe, check_losses
from bridge.training.selection import select_training_images
from bridge.training.trainer import Trainer
from bridge.training.validation import load_validation_data
from tests.bridge.model.baselines.small import small
from tests.factories import make_dataset

BASELINES = ("delg", "dolg", "token")
HEADS = {"token": {"width": 32}}
"""Options that make a head small, by method."""
RECIPE = single_images(
    Recipe(
        epochs=1,
        batch_size=4,
        learning_rate=1e-3,
        log_every=1,
        ema_decay=0.9,
        bliss=BlissConfig(num_negatives=1),
    )
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("presets") / "data"
    make_dataset(folder, {"train": 3, "validation": 3}, trajectories=6, size=(48, 64))
    return folder


def make_trainer(method: str, dataset: Path) -> Trainer:
    manifest = open_manifest(str(dataset))
    data = select_training_images(str(dataset), manifest, RECIPE).load()
    torch.manual_seed(0)
    options = HEADS.get(method, {})
    model = small(method, num_classes=len(data.labels.objects), **options)
    return Trainer(model, RECIPE, data, load_validation_data(str(dataset), manifest, 0))


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_see_as_many_images_as_bridge(method: str) -> None:
    for name, preset in PRESETS[method].items():  # type: ignore[index]
        theirs, ours = preset.recipe, PRESETS["bridge"][name].recipe
        assert theirs.tuple_size == 1 and theirs.batch_size == ours.batch_size * ours.tuple_size
        assert theirs.epochs == ours.epochs * ours.tuple_size
        assert theirs.loss == LossConfig(contrastive=0, classification=1, blur=0, localisation=0)
        shared = ("learning_rate", "schedule", "warmup_steps", "ema_decay", "augment", "seed")
        assert all(getattr(theirs, field) == getattr(ours, field) for field in shared)
        check_losses(preset.model, theirs.loss)


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_have_their_own_encoder_and_the_comparisons_classifier(method: str) -> None:
    for name, preset in PRESETS[method].items():  # type: ignore[index]
        model = preset.model
        assert (model.norm, model.stem_pool, model.imagenet_norm) == ("batch", True, True)
        assert (model.classifier, model.arcface_margin, model.arcface_scale) == (
            "arcface",
            0.15,
            30,
        )
        ours = PRESETS["bridge"][name].model
        assert model.descriptor_dim == ours.descriptor_dim == 128
        assert (model.backbone, model.image_size) == (ours.backbone, ours.image_size)


@pytest.mark.parametrize("method", BASELINES)
def test_the_quick_networks_describe(method: str) -> None:
    model = build_model(replace(PRESETS[method]["quick"].model, num_classes=0))  # type: ignore[index]
    assert model.embed(torch.zeros(2, 3, 60, 80)).shape == (2, 128)


@pytest.mark.parametrize("method", BASELINES)
def test_baselines_train_and_continue_bit_by_bit(
    method: str, dataset: Path, tmp_path: Path
) -> None:
    whole = make_trainer(method, dataset)
    events = list(whole.run())
    images = len(whole.sampler)
    assert whole.total_steps == 3 * (images // 12) and whole.images_per_step == 12
    assert {"loss/classification", "validation/map"} <= events[-1].metrics.keys()
    absent = {"loss/contrastive", "loss/blur", "loss/localisation"}
    assert not absent & events[-1].metrics.keys()
    first = make_trainer(method, dataset)
    next(iter(first.run()))
    first.save(tmp_path)
    second = make_trainer(method, dataset)
    second.load(tmp_path)
    list(second.run())
    tensors = whole.evaluated.state_dict()
    for name, tensor in second.evaluated.state_dict().items():
        assert torch.equal(tensor, tensors[name]), name


@pytest.mark.parametrize("method", BASELINES)
def test_what_a_training_costs(method: str) -> None:
    model = small(method, num_classes=3, **HEADS.get(method, {}))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    cost = estimate(
        model, RECIPE, images_per_step=12, total_steps=2, device="cpu", measure_seconds=0.1
    )
    assert cost.parameters == sum(p.numel() for p in model.parameters())
    assert cost.flops_per_image > 0 and cost.seconds_per_step > 0 and cost.activation_bytes > 0
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_every_subset_of_the_losses_has_a_name() -> None:
    recipe = PRESETS["bridge"]["quick"].recipe
    subsets = loss_subsets(recipe)
    assert len(subsets) == 2 ** len(LOSSES) - 1
    assert subsets["contrastive+classification+blur+localisation"] == recipe
    for name, subset in subsets.items():
        kept = name.split("+")
        for loss in LOSSES:
            weight = getattr(recipe.loss, loss) if loss in kept else 0
            assert getattr(subset.loss, loss) == weight
        assert replace(subset, loss=recipe.loss) == recipe
        check_losses(PRESETS["bridge"]["quick"].model, subset.loss)
