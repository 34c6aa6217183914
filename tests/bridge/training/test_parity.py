"""One optimisation step against the authors' way, which takes one image at a time.

The authors' loop is written out here from their published code, without the library's losses: a
forward pass per image, the losses of a tuple, a backward pass per tuple, and one step of Adam when
the gradients of all tuples have added up. What is equal, and what is not:

- Gradients are equal up to rounding (a part in 1e10 here, where all is computed in float64), once
  the authors' sum over the T tuples is divided by T: here the loss is the mean over the tuples.
  Adam cancels the factor, except for its epsilon of 1e-8, which counts for weights whose gradient
  is no larger than that.
- The running value t of the curricular classifier is equal, and so are the logits that depend on
  it: it moves with every query in turn, in the order of the tuples, and a query's logits use the
  value after its own move. A single move by the mean of the batch with momentum 1 - 0.99^T, as is
  often done, equals that to first order only: it weighs all queries alike, and lets the first of
  them see the last.
- The authors' code also moves t in every validation, where objects are of other classes. Here it
  does not move then.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from bridge.dataset.manifest import open_manifest
from bridge.model.config import BridgeConfig
from bridge.model.network import Bridge
from bridge.training.data import Batch
from bridge.training.recipe import Recipe
from bridge.training.selection import select_training_images
from bridge.training.trainer import Trainer
from tests.factories import make_dataset

TUPLES = 4
PAPER = Recipe(batch_size=TUPLES)
TINY = BridgeConfig(
    backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, descriptor_dim=16
)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("parity") / "data"
    make_dataset(folder, {"train": 6})
    return folder


@pytest.fixture
def trainer(dataset: Path, monkeypatch: pytest.MonkeyPatch) -> Trainer:
    monkeypatch.setenv("BRIDGE_CACHE", str(dataset.parent / "cache"))
    # An untrained network gives descriptors so close together that float32 keeps three digits of
    # their distances' gradients. In float64 what remains is a difference of the formulas.
    monkeypatch.setattr(torch.Tensor, "float", torch.Tensor.double)
    data = select_training_images(str(dataset), open_manifest(str(dataset)), PAPER).load()
    torch.manual_seed(0)
    model = Bridge(replace(TINY, num_classes=len(data.labels.objects))).double()
    return Trainer(model, PAPER, data, None)


def batch_of(trainer: Trainer, step: int) -> Batch:
    tuples = trainer.sampler.plan(0)[step * TUPLES : (step + 1) * TUPLES]
    return trainer._data.batch(tuples, TINY.image_size)


def authors_logits(
    descriptor: torch.Tensor, weight: torch.Tensor, target: int, t: float
) -> tuple[torch.Tensor, float]:
    """Logits of one query, and the new t."""
    margin, scale = 0.15, 30.0
    weight = weight / weight.norm(dim=1, keepdim=True)
    cosines = (weight @ (descriptor / descriptor.norm())).clamp(-1, 1)
    own = cosines[target]
    t = 0.01 * own.item() + 0.99 * t
    moved = own * math.cos(margin) - (1 - own * own).sqrt() * math.sin(margin)
    logits = []
    for number, cosine in enumerate(cosines):
        if number == target:
            far = own - math.sin(math.pi - margin) * margin
            logits.append(moved if own > math.cos(math.pi - margin) else far)
        else:
            logits.append(cosine * (t + cosine) if cosine > moved else cosine)
    return scale * torch.stack(logits), t


def authors_gradients(model: Bridge, batch: Batch) -> tuple[list[torch.Tensor], float]:
    """Gradients that have added up over the tuples, and t after the last of them."""
    assert model.classifier is not None
    model.zero_grad(set_to_none=True)
    t = float(model.classifier.t)
    for first in range(0, len(batch.objects), batch.tuple_size):
        numbers = range(first, first + batch.tuple_size)
        outputs = [model(batch.images[n : n + 1].float() / 255) for n in numbers]
        query, *samples = (output.descriptor[0] for output in outputs)
        contrastive = torch.zeros((), dtype=query.dtype)
        for number, sample in zip(numbers[1:], samples, strict=True):
            distance = ((query - sample + 1e-9) ** 2).sum().sqrt()
            if batch.objects[number] == batch.objects[first]:
                contrastive = contrastive + 0.5 * distance**2
            else:
                contrastive = contrastive + 0.5 * (0.7 - distance).clamp(min=0) ** 2
        target = int(batch.objects[first])
        logits, t = authors_logits(query, model.classifier.weight, target, t)
        classification = -logits.log_softmax(0)[target]
        blur = (outputs[0].visibility[0] - batch.visibility[first]).abs()
        location = (outputs[0].box[0] - batch.boxes[first]).abs().mean()
        (1.0 * contrastive + 0.1 * classification + 1.0 * blur + 10.0 * location).backward()
    return [parameter.grad for parameter in model.parameters()], t


def test_gradients_and_t_of_a_step_are_the_authors(trainer: Trainer) -> None:
    classifier = trainer.model.classifier
    classifier.t.fill_(0.3)
    for step in range(2):
        batch = batch_of(trainer, step)
        theirs, t = authors_gradients(copy.deepcopy(trainer.model), batch)
        before = float(classifier.t)
        trainer.train_step(batch)
        assert float(classifier.t) == pytest.approx(t, rel=1e-12)
        assert abs(before - t) > 0.01
        for (name, parameter), summed in zip(trainer.model.named_parameters(), theirs, strict=True):
            assert (parameter.grad - summed / TUPLES).norm() <= 1e-10 * parameter.grad.norm(), name


def test_weights_after_a_step_are_the_authors(trainer: Trainer) -> None:
    theirs = copy.deepcopy(trainer.model)
    batch = batch_of(trainer, 0)
    optimizer = torch.optim.Adam(theirs.parameters(), lr=1e-4)
    summed, _ = authors_gradients(theirs, batch)
    optimizer.step()
    trainer.train_step(batch)
    for ours, other, gradient in zip(
        trainer.model.parameters(), theirs.parameters(), summed, strict=True
    ):
        # Adam's epsilon is a thousandth of the gradient, or less.
        clear = gradient.abs() / TUPLES > 1e-5
        torch.testing.assert_close(ours[clear], other[clear], rtol=0, atol=1e-3 * 1e-4)


def test_t_matters_to_the_gradient(trainer: Trainer) -> None:
    """The comparison above would notice another t."""
    batch = batch_of(trainer, 0)
    weights = [name for name, _ in trainer.model.named_parameters()]
    number = weights.index("classifier.weight")
    gradients = []
    for t in (0.3, 0.301):
        trainer.model.classifier.t.fill_(t)
        gradients.append(authors_gradients(copy.deepcopy(trainer.model), batch)[0][number])
    assert (gradients[0] - gradients[1]).norm() > 1e-4 * gradients[0].norm()
