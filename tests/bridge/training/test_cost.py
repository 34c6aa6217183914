from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from bridge.model.config import BridgeConfig
from bridge.model.network import Bridge
from bridge.model.registry import create_model
from bridge.training.cost import TrainingEstimate, estimate
from bridge.training.recipe import Compute, Recipe

TINY = BridgeConfig(
    backbone="resnet18",
    image_size=(48, 64),
    cls_dim=16,
    aux_dim=8,
    aux_hidden=8,
    descriptor_dim=16,
    num_classes=5,
)


def estimate_of(
    config: BridgeConfig = TINY,
    recipe: Recipe | None = None,
    images: int = 24,
    workers: int = 1,
    compute: Compute | None = None,
    device: str = "cpu",
) -> TrainingEstimate:
    return estimate(
        Bridge(config),
        recipe or Recipe(),
        images_per_step=images,
        total_steps=100,
        device=device,
        workers=workers,
        compute=compute,
        measure_seconds=0.5,
    )


def test_parameters_and_arithmetic_are_those_of_the_network() -> None:
    model = Bridge(TINY)
    cost = estimate_of()
    numbers = sum(p.numel() for p in model.parameters())
    assert cost.parameters == cost.trainable_parameters == numbers
    # Weights, gradients and two moments; the averaged weights are a fifth copy.
    assert cost.state_bytes == 4 * 4 * numbers
    assert estimate_of(recipe=Recipe(ema_decay=0.9)).state_bytes == 5 * 4 * numbers
    # The first convolution: 24x32 positions, 64 filters of 7x7x3, an addition and a multiplication.
    first = 2 * 24 * 32 * 64 * 7 * 7 * 3
    assert first < cost.flops_per_image < 100 * first
    twice = estimate_of(replace(TINY, image_size=(96, 64)))
    assert twice.flops_per_image == pytest.approx(2 * cost.flops_per_image, rel=0.01)


def test_weights_that_are_not_trained_need_no_gradient() -> None:
    model = Bridge(TINY)
    model.backbone.requires_grad_(False)
    cost = estimate(model, Recipe(), images_per_step=7, total_steps=1, device="cpu")
    frozen = sum(p.numel() for p in model.backbone.parameters())
    assert cost.trainable_parameters == cost.parameters - frozen
    assert cost.state_bytes == 4 * (4 * cost.parameters - 3 * frozen)


def test_activations_are_at_least_what_the_backward_pass_keeps() -> None:
    kept: dict[int, int] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    model = Bridge(TINY)
    weights = {p.untyped_storage().data_ptr() for p in model.parameters()}
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        output = model(torch.rand(1, 3, *TINY.image_size))
    least = sum(size for key, size in kept.items() if key not in weights)
    per_image = estimate_of(images=10).activation_bytes / 10
    assert output.descriptor.requires_grad and least < per_image < 1.5 * least


def test_memory_and_time_are_those_of_one_workers_share() -> None:
    one, three = estimate_of(images=24), estimate_of(images=25, workers=3)
    assert (one.images_per_worker, three.images_per_worker) == (24, 9)
    assert one.activation_bytes / 24 == three.activation_bytes / 9
    assert one.seconds_total == 100 * one.seconds_per_step > 0
    assert 1 <= one.measured_images <= 24


def test_averages_of_a_batch_norm_stay_as_they_were() -> None:
    model = Bridge(replace(TINY, norm="batch")).eval()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    estimate(model, Recipe(), images_per_step=4, total_steps=1, device="cpu", measure_seconds=0.1)
    assert not model.training and all(p.grad is None for p in model.parameters())
    for name, value in model.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)


def test_gradient_checkpointing_needs_less_memory() -> None:
    config = replace(TINY, backbone="tf_efficientnet_lite0", norm="frozen")
    full = estimate_of(config)
    less = estimate_of(config, compute=Compute(gradient_checkpointing=True))
    assert less.activation_bytes < 0.7 * full.activation_bytes


def test_lines_for_people() -> None:
    cost = TrainingEstimate(
        parameters=33_000_000,
        trainable_parameters=32_000_000,
        flops_per_image=49_000_000_000,
        state_bytes=500_000_000,
        activation_bytes=6_000_000_000,
        images_per_worker=224,
        measured_images=1,
        seconds_per_step=2.5,
        total_steps=2000,
        device="cpu",
    )
    text = "\n".join(cost.lines())
    assert "33.0 M, 32.0 M of them trained" in text and "49.0 GFLOP per image" in text
    assert "memory per worker: 6.5 GB" in text and "from 1 random image at once" in text
    assert "2.50 s per step, 1:23:20 in all" in text and "too small" not in text
    small = replace(cost, device="cuda", measured_images=112)
    assert "memory of cuda is too small for 224 images" in small.lines()[-1]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_on_a_gpu() -> None:
    cost = estimate_of(device="cuda")
    assert cost.measured_images == 24 and cost.activation_bytes > 0


def test_images_that_leave_a_single_place_can_be_normalised() -> None:
    delg = create_model("delg", backbone="resnet18", image_size=(24, 32))
    cost = estimate(
        delg, Recipe(), images_per_step=8, total_steps=1, device="cpu", measure_seconds=0.1
    )
    assert cost.seconds_per_step > 0
