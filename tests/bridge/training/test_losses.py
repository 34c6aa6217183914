"""Training objectives against hand calculations, and what must hold for any input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.model.classifiers import ArcFace, CurricularFace
from bridge.model.config import BridgeConfig
from bridge.training.bliss import BlissConfig
from bridge.training.losses import (
    LossConfig,
    LossInputs,
    blur_loss,
    contrastive_batch,
    contrastive_tuples,
    joint_loss,
    localisation_loss,
)
from bridge.training.recipe import check_losses

NAN = float("nan")
TUPLE = torch.tensor([[1.0, 0, 0], [0.8, 0.6, 0], [0, 1, 0], [0.96, 0.28, 0]])
BLISS = BlissConfig(num_positives=1, num_negatives=2)


def inputs(num_tuples: int = 1) -> LossInputs:
    """The worked example, any number of times: query, positive, two negatives."""
    first = torch.tensor([True, False, False, False])
    return LossInputs(
        descriptors=TUPLE.repeat(num_tuples, 1),
        visibility=torch.tensor([0.62, 0.1, 0.2, 0.3]).repeat(num_tuples),
        box=torch.tensor([0.5, 0.5, 0.2, 0.3]).repeat(4 * num_tuples, 1),
        objects=torch.tensor([2, 2, 0, 1]).repeat(num_tuples),
        positions=torch.tensor([1.0, 2.0, 5.0, 6.0]).repeat(num_tuples),
        true_visibility=torch.tensor([0.85, 0.1, 0.2, NAN]).repeat(num_tuples),
        true_box=torch.tensor([0.45, 0.55, 0.25, 0.2]).repeat(4 * num_tuples, 1),
        supervised=first.repeat(num_tuples),
        valid=torch.ones(4 * num_tuples, dtype=torch.bool),
        tuple_size=4,
    )


class LogitsOneTwoThree(ArcFace):
    """The worked example's logits, whose cross-entropy for class 2 is .407606."""

    def forward(self, descriptors: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return torch.tensor([1.0, 2.0, 3.0]).expand(len(target), 3)


def test_worked_example() -> None:
    losses = joint_loss(inputs(), LogitsOneTwoThree(3, 3), LossConfig(), BLISS)
    expected = {
        "contrastive": 0.287010,
        "classification": 0.407606,
        "blur": 0.23,
        "localisation": 0.0625,
        "total": 1.182771,
    }
    assert {k: v.item() for k, v in losses.items()} == pytest.approx(expected, abs=2e-6)


def test_more_tuples_do_not_change_the_scale() -> None:
    one = joint_loss(inputs(), LogitsOneTwoThree(3, 3), LossConfig(), BLISS)["total"]
    five = joint_loss(inputs(5), LogitsOneTwoThree(3, 3), LossConfig(), BLISS)["total"]
    torch.testing.assert_close(one, five)


@pytest.mark.parametrize("part", ["contrastive", "classification", "blur", "localisation"])
def test_a_part_without_weight_is_left_out(part: str) -> None:
    full = joint_loss(inputs(), CurricularFace(3, 3).eval(), LossConfig(), BLISS)
    assert part in full
    config = replace(LossConfig(), **{part: 0.0})  # type: ignore[arg-type]
    losses = joint_loss(inputs(), None if part == "classification" else full_head(), config, BLISS)
    assert set(losses) == set(full) - {part}


def full_head() -> ArcFace:
    return ArcFace(3, 3)


def test_a_part_without_head_is_left_out() -> None:
    headless = replace(inputs(), visibility=None, box=None)
    assert set(joint_loss(headless, None, LossConfig(), BLISS)) == {"contrastive", "total"}
    with pytest.raises(ValueError, match="weight and a head"):
        joint_loss(headless, None, LossConfig(contrastive=0), BLISS)


def test_only_supervised_images_count() -> None:
    wrong = replace(inputs(), visibility=torch.tensor([0.62, 9.0, 9.0, 9.0]))
    same = joint_loss(wrong, None, LossConfig(), BLISS)["blur"]
    assert same.item() == pytest.approx(0.23)
    everyone = replace(wrong, supervised=torch.ones(4, dtype=torch.bool))
    expected = (0.23 + 8.9 + 8.8) / 3
    assert joint_loss(everyone, None, LossConfig(), BLISS)["blur"].item() == pytest.approx(expected)


def test_pairs_of_the_whole_batch() -> None:
    """1-2 positive, the other five pairs negative; only 1-2 and 3-4 are one level apart."""
    config = LossConfig(pairs="batch", batch_negatives=3)
    near = joint_loss(inputs(), None, config, replace(BLISS, contrastive_range=1))
    positive, hinge = 0.4, max(0.0, 0.7 - (TUPLE[2] - TUPLE[3]).norm().item()) ** 2
    expected = 0.5 * (positive + 3 * hinge)
    assert near["contrastive"].item() == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("pairs", ["tuple", "batch"])
@pytest.mark.parametrize("kind", ["padding", "unreadable"])
def test_images_that_are_not_valid_contribute_nothing(pairs: str, kind: str) -> None:
    """Padding after a tuple changes no loss, and an unreadable negative only drops its pairs."""
    config = LossConfig(pairs=pairs)  # type: ignore[arg-type]
    given = inputs(2)
    if kind == "padding":
        valid = torch.tensor([True] * 4 + [False] * 4)
        classifier = full_head().eval()
        classifier.weight.data.copy_(torch.eye(3))
        expected = joint_loss(inputs(1), classifier, config, BLISS)
    else:
        valid = torch.tensor([True, True, True, False] * 2)
        classifier = None
        three = replace(
            inputs(2),
            **{
                name: value[valid]
                for name, value in vars(given).items()
                if isinstance(value, torch.Tensor)
            },
            tuple_size=3,
        )
        expected = joint_loss(three, None, config, BLISS)
    noisy = torch.where(valid[:, None], given.descriptors, torch.rand(8, 3))
    losses = joint_loss(replace(given, valid=valid, descriptors=noisy), classifier, config, BLISS)
    for name, value in expected.items():
        torch.testing.assert_close(losses[name], value, msg=name)


def test_a_batch_without_any_valid_image_costs_nothing() -> None:
    nothing = replace(inputs(), valid=torch.zeros(4, dtype=torch.bool))
    for pairs in ("tuple", "batch"):
        losses = joint_loss(nothing, full_head(), LossConfig(pairs=pairs), BLISS)  # type: ignore[arg-type]
        assert losses["total"].item() == 0


def brute_force(
    descriptors: torch.Tensor, labels: torch.Tensor, levels: torch.Tensor, reach: int
) -> float:
    near, apart = [], []
    for i in range(len(labels)):
        for j in range(i + 1, len(labels)):
            if abs(int(levels[i] - levels[j])) > reach:
                continue
            distance = (descriptors[i] - descriptors[j]).norm().item()
            if labels[i] == labels[j]:
                near.append(0.5 * distance**2)
            else:
                apart.append(0.5 * max(0.0, 0.7 - distance) ** 2)
    return (float(np.mean(near)) if near else 0.0) + 32 * (float(np.mean(apart)) if apart else 0.0)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(2, 9), st.integers(0, 5))
def test_batch_pairs_equal_a_double_loop(seed: int, size: int, reach: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    descriptors = torch.nn.functional.normalize(torch.randn(size, 4, generator=generator))
    labels = torch.randint(0, 3, (size,), generator=generator)
    levels = torch.randint(1, 7, (size,), generator=generator)
    value = contrastive_batch(descriptors, labels, levels, reach).item()
    assert value == pytest.approx(brute_force(descriptors, labels, levels, reach), abs=1e-5)
    if reach == 5:
        assert contrastive_batch(descriptors, labels).item() == pytest.approx(value, abs=1e-6)
    some = torch.rand(size, generator=generator) < 0.6
    part = contrastive_batch(descriptors, labels, levels, reach, valid=some).item()
    if some.any():
        alone = brute_force(descriptors[some], labels[some], levels[some], reach)
        assert part == pytest.approx(alone, abs=1e-5)


def test_the_balance_of_batch_pairs_does_not_depend_on_the_batch() -> None:
    lengths = []
    for tuples in (22, 64, 128, 512):
        generator = torch.Generator().manual_seed(0)
        centres = torch.randn(tuples, 1, 16, generator=generator)
        near = centres + 0.5 * torch.randn(tuples, 3, 16, generator=generator)
        descriptors = torch.nn.functional.normalize(near.reshape(-1, 16)).requires_grad_()
        contrastive_batch(descriptors, torch.arange(tuples).repeat_interleave(3)).backward()
        assert descriptors.grad is not None
        lengths.append(float(descriptors.grad.norm(dim=1).mean() * len(descriptors)))
    assert max(lengths) < 1.3 * min(lengths)


def test_negatives_of_a_batch_have_the_weight_they_are_given() -> None:
    descriptors = torch.nn.functional.normalize(torch.rand(6, 4))
    labels = torch.tensor([0, 0, 1, 1, 2, 2])
    none, one, two = (contrastive_batch(descriptors, labels, negatives=n) for n in (0.0, 1.0, 2.0))
    torch.testing.assert_close(two - one, one - none)
    assert none < one


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**31), st.integers(1, 4), st.integers(1, 3), st.integers(0, 4))
def test_tuples_equal_a_loop_over_pairs(
    seed: int, tuples: int, positives: int, negatives: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    shape = (tuples, 1 + positives + negatives, 5)
    descriptors = torch.nn.functional.normalize(torch.randn(*shape, generator=generator), dim=2)
    total = 0.0
    for query, *samples in descriptors:
        for place, sample in enumerate(samples):
            distance = (query - sample).norm().item()
            total += 0.5 * (distance**2 if place < positives else max(0.0, 0.7 - distance) ** 2)
    value = contrastive_tuples(descriptors, positives).item()
    assert value == pytest.approx(total / tuples, abs=1e-5)


def test_equal_descriptors_have_finite_gradients() -> None:
    same = torch.ones(4, 8).div(8**0.5).requires_grad_()
    loss = contrastive_batch(same, torch.tensor([0, 1, 0, 1])) + contrastive_tuples(same[None], 1)
    loss.backward()
    assert same.grad is not None and same.grad.isfinite().all()


@pytest.mark.parametrize(("shape", "positives"), [((4, 3), 1), ((1, 4, 3), 4), ((1, 4, 3), -1)])
def test_tuples_of_another_shape(shape: tuple[int, ...], positives: int) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        contrastive_tuples(torch.zeros(shape), positives)


Loss = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


@pytest.mark.parametrize(("loss", "width"), [(blur_loss, ()), (localisation_loss, (4,))])
def test_unknown_targets_are_skipped(loss: Loss, width: tuple[int, ...]) -> None:
    predicted = torch.rand(3, *width).requires_grad_()
    target = torch.rand(3, *width)
    target[1] = NAN
    value = loss(predicted, target)
    known = torch.tensor([0, 2])
    torch.testing.assert_close(value, (predicted - target)[known].abs().mean())
    value.backward()
    assert predicted.grad is not None and (predicted.grad[1] == 0).all()
    assert predicted.grad.isfinite().all() and (predicted.grad[known] != 0).all()


@pytest.mark.parametrize(("loss", "width"), [(blur_loss, ()), (localisation_loss, (4,))])
def test_nothing_known_costs_nothing(loss: Loss, width: tuple[int, ...]) -> None:
    predicted = torch.rand(3, *width).requires_grad_()
    value = loss(predicted, torch.full((3, *width), NAN))
    value.backward()
    assert value.item() == 0
    assert predicted.grad is not None and (predicted.grad == 0).all()


def test_a_box_known_in_part_is_unknown() -> None:
    target = torch.tensor([[0.5, 0.5, NAN, 0.1], [0.2, 0.2, 0.2, 0.2]])
    assert localisation_loss(torch.zeros(2, 4), target).item() == pytest.approx(0.2)


def test_losses_need_a_head_and_a_weight() -> None:
    only_cls = BridgeConfig(heads=("cls",))
    check_losses(only_cls, LossConfig(contrastive=0))
    with pytest.raises(InputError, match="lacks a head for every loss"):
        check_losses(only_cls, LossConfig(contrastive=0, classification=0))
    with pytest.raises(InputError, match="`blur` must be at least 0"):
        LossConfig(blur=-1)
