"""Margin classifiers against numbers worked out with the published code."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.model.classifiers import (
    ArcFace,
    CurricularFace,
    arcface_logits,
    curricular_logits,
    margin_cosine,
)

ROWS = torch.tensor([[1.0, 0.0], [0.8, 0.6], [0.0, 1.0]])
FEATURES = torch.tensor([[1.0, 0.2], [0.3, -0.9]])
OWN = torch.tensor([0, 0])


def curricular(momentum: float | None) -> CurricularFace:
    classifier = CurricularFace(2, 3, momentum=momentum)
    classifier.weight.data.copy_(ROWS)
    return classifier


def test_worked_example() -> None:
    classifier = curricular(momentum=0.01)
    logits = classifier(FEATURES, OWN)
    expected = [[28.20788, 27.06403, 5.88348], [5.12722, -9.48683, -28.46050]]
    torch.testing.assert_close(logits, torch.tensor(expected), rtol=0, atol=2e-4)
    torch.testing.assert_close(classifier.t, torch.tensor([0.0064840]), rtol=1e-4, atol=0)


def test_fallback_beyond_the_largest_angle() -> None:
    classifier = curricular(momentum=None)
    logits = classifier(torch.tensor([[-1.0, 0.01]]), torch.tensor([0]))
    assert logits[0, 0].item() == pytest.approx(-30.67097, abs=2e-4)
    assert classifier.t.item() == pytest.approx(-0.0099995, rel=1e-4)


def test_a_batch_equals_its_queries_one_by_one() -> None:
    """The published code updates t with each query, and uses it for that query at once."""
    generator = torch.Generator().manual_seed(0)
    batch, single = CurricularFace(8, 5), CurricularFace(8, 5)
    single.weight.data.copy_(batch.weight)
    for _ in range(3):
        features = torch.randn(16, 8, generator=generator)
        objects = torch.randint(0, 5, (16,), generator=generator)
        together = batch(features, objects)
        alone = [single(f[None], o[None]) for f, o in zip(features, objects, strict=True)]
        # Cosines of sums in another order differ by 1e-6, their slope is 3 at most, the scale 30.
        torch.testing.assert_close(together, torch.cat(alone), rtol=0, atol=1e-4)
        torch.testing.assert_close(batch.t, single.t, rtol=0, atol=1e-6)


def test_t_approaches_the_mean_cosine() -> None:
    classifier = curricular(momentum=None)
    for _ in range(500):
        classifier(FEATURES, OWN)
    # The later of two queries weighs more.
    expected = (0.99 * 0.98058 + 0.31623) / 1.99
    assert classifier.t.item() == pytest.approx(expected, rel=1e-3)


def test_t_moves_in_training_alone_and_in_place() -> None:
    classifier = curricular(momentum=None).eval()
    t = classifier.t
    classifier(FEATURES, OWN)
    assert t.item() == 0
    classifier.train()(FEATURES, OWN)
    assert t.item() > 0 and classifier.t is t and not t.requires_grad


def test_two_forwards_before_one_backward() -> None:
    classifier = curricular(momentum=None)
    (classifier(FEATURES, OWN).sum() + classifier(FEATURES, OWN).sum()).backward()
    assert classifier.weight.grad is not None and classifier.weight.grad.isfinite().all()


@pytest.mark.parametrize("kind", [ArcFace, CurricularFace])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_finite_gradients_at_equal_and_opposite_directions(
    kind: type[ArcFace], sign: float
) -> None:
    classifier = kind(2, 3)
    classifier.weight.data.copy_(ROWS)
    features = (sign * ROWS[:1]).requires_grad_()
    logits = classifier(features, torch.tensor([0]))
    torch.nn.functional.cross_entropy(logits, torch.tensor([0])).backward()
    assert logits.isfinite().all()
    assert features.grad is not None and features.grad.isfinite().all()


def test_weights_are_initialised() -> None:
    torch.manual_seed(0)
    weight = ArcFace(128, 792).weight
    assert weight.std().item() == pytest.approx(math.sqrt(2 / (128 + 792)), rel=0.05)


def test_cosines_stay_precise_under_autocast() -> None:
    classifier = ArcFace(16, 4)
    features = torch.randn(3, 16)
    exact = classifier(features, torch.tensor([0, 1, 2]))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        logits = classifier(features, torch.tensor([0, 1, 2]))
    assert logits.dtype == torch.float32
    torch.testing.assert_close(logits, exact)


@given(st.floats(-0.9999, 0.9999), st.floats(0, 1))
def test_margin_adds_to_the_angle(cosine: float, margin: float) -> None:
    value = margin_cosine(torch.tensor(cosine, dtype=torch.float64), margin).item()
    assert value == pytest.approx(math.cos(math.acos(cosine) + margin), abs=1e-9)


@settings(deadline=None)
@given(st.lists(st.floats(-0.99, 0.99), min_size=2, max_size=6), st.floats(-1, 1))
def test_curricular_differs_from_arcface_only_where_the_paper_is_silent(
    values: list[float], t: float
) -> None:
    """Easy classes keep their logit, hard ones change, and so does an own class past pi - m."""
    cosine, target = torch.tensor([values], dtype=torch.float64), torch.tensor([0])
    arc = arcface_logits(cosine, target, 0.15, 30.0)[0]
    curricular = curricular_logits(
        cosine, target, torch.tensor([t], dtype=torch.float64), 0.15, 30.0
    )[0]
    own = arc[0].item() / 30
    if values[0] > -math.cos(0.15):
        assert curricular[0] == arc[0]
    for value, plain, logit in zip(values[1:], arc[1:], curricular[1:], strict=True):
        expected = 30 * value * (t + value) if value > own else plain.item()
        assert logit.item() == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("margin", [0.15, 0.0])
@pytest.mark.parametrize(("dim", "classes"), [(128, 792), (128, 300), (512, 792)])
def test_the_loss_of_features_that_know_nothing(dim: int, classes: int, margin: float) -> None:
    """ln N, what cosines of the size 1 / sqrt(d) add to a sum of exponentials, and the margin."""
    generator = torch.Generator().manual_seed(1)
    classifier = ArcFace(dim, classes, margin, scale=30)
    features = torch.randn(4000, dim, generator=generator)
    objects = torch.randint(0, classes, (4000,), generator=generator)
    with torch.no_grad():
        loss = F.cross_entropy(classifier(features, objects), objects).item()
    expected = math.log(classes) + 30**2 / (2 * dim) + 30 * math.sin(margin)
    # A sum over finitely many classes misses the largest cosines.
    assert expected - 0.6 < loss < expected + 0.1


def test_without_a_margin_arcface_is_a_softmax_of_cosines_whatever_the_lengths() -> None:
    classifier = ArcFace(8, 5, margin=0.0, scale=30)
    features, objects = torch.randn(6, 8), torch.arange(6) % 5
    cosines = F.cosine_similarity(features[:, None], classifier.weight[None], dim=2)
    torch.testing.assert_close(classifier(features, objects), 30 * cosines, rtol=1e-4, atol=1e-4)
    longer = ArcFace(8, 5, margin=0.0, scale=30)
    longer.weight.data.copy_(classifier.weight * torch.arange(1.0, 6)[:, None])
    torch.testing.assert_close(
        longer(3 * features, objects), classifier(features, objects), rtol=1e-4, atol=1e-4
    )


def test_class_directions_differ_from_the_start() -> None:
    weight = ArcFace(16, 12).weight
    assert weight.isfinite().all() and len(weight.unique(dim=0)) == 12
