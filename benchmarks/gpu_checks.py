"""Whether a GPU computes what the CPU does, within bounds that follow from the arithmetic.

Rounding in a layer is as if its weights were slightly others (backward error): a float32 sum of n
products as if by a share of sqrt(n) 2^-24 each, the statistical growth of n roundings; products of
numbers with p digits, of weights, inputs and outputs, by 3 x 2^-p. A bound is what random changes
of the weights by these shares do to a result on the CPU, times `MARGIN`: two devices round, and
the worst of a few samples is not the worst of all. It thus includes how much a result amplifies
errors, as a loss between nearly equal descriptors does.
"""

from __future__ import annotations

import copy
import importlib.util
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from benchmarks.gpu_setting import NETWORKS, Row, Setting, float32, fresh
from benchmarks.noise import noise_data, pictures, tensor
from bridge.metrics import UNLABELLED, evaluate_retrieval
from bridge.model.method import RetrievalModel
from bridge.training.presets import Preset, PresetName
from bridge.training.recipe import Compute
from bridge.training.trainer import Trainer

MARGIN = 8.0
SAMPLES = 3
"""Of the random changes."""
IMAGES = 4
"""That go forward."""
STEPS, RESUMED = 4, 2
"""Of the training that is taken up again, and where."""
TF32_DIGITS, BF16_DIGITS = 11, 8
"""Significant binary digits, the leading one among them; rounding errs by 2^-digits at most."""

Vectors = Mapping[str, torch.Tensor]
Share = Callable[[str, nn.Module], float]


def checks(setting: Setting) -> Iterator[Row]:
    """All of them: what was found, its bound, and whether it is within it."""
    for name in NETWORKS:
        yield from forward(setting, name)
        yield from step(setting, name)
    yield resume(setting)
    for k in (None, 100):
        yield ranking(setting, k)


def forward(setting: Setting, name: PresetName) -> Iterator[Row]:
    """Descriptions of pictures by a network with random weights: float32, TF32, bf16."""
    network = setting.preset(name).model
    model = fresh(network)
    images = tensor(pictures(IMAGES, network.image_size, setting.seed))
    there = copy.deepcopy(model).to(setting.device)
    reference = described(model, images)

    def row(kind: str, bf16: bool, exact: bool, share: Share) -> Row:
        with float32(exact=exact), torch.autocast(setting.device, torch.bfloat16, enabled=bf16):
            found = described(there, images)
        changed = (described(each, images) for each in perturbed(model, share))
        bound = max(largest_distance(each, reference) for each in changed)
        return _row(f"{name}: forward, {kind}", largest_distance(found, reference), MARGIN * bound)

    yield row("float32", bf16=False, exact=True, share=float32_share)
    yield row("TF32", bf16=False, exact=False, share=_share_of_digits(TF32_DIGITS))
    yield row("bf16", bf16=True, exact=True, share=_share_of_digits(BF16_DIGITS))


def step(setting: Setting, name: PresetName) -> Iterator[Row]:
    """An optimisation step in float32 from the same weights: losses, gradients, and the change of
    the weights, each as a vector, by its relative distance from the CPU's."""
    preset = setting.preset(name)
    model = fresh(preset.model)
    reference = _stepped(preset, model, "cpu", setting.seed)
    found = _stepped(preset, model, setting.device, setting.seed)
    changed = [
        _stepped(preset, each, "cpu", setting.seed) for each in perturbed(model, float32_share)
    ]
    for part, vector in reference.items():
        length = float(vector.norm())
        distance = float((found[part] - vector).norm()) / length
        bound = max(float((each[part] - vector).norm()) / length for each in changed)
        yield _row(f"{name}: step, {part}", distance, MARGIN * bound)


def resume(setting: Setting) -> Row:
    """A training that stops and goes on from its checkpoint, against one that does not stop: equal
    bit by bit, or where the device itself gives other bits each time, as close as these are."""
    preset = setting.preset("strong")
    with _deterministic(), tempfile.TemporaryDirectory() as folder:
        straight, again = (_trained(setting, preset) for _ in range(2))
        _trained(setting, preset, save=Path(folder))
        resumed = _trained(setting, preset, load=Path(folder))
    own = _largest(straight, again)
    note = "" if own else "bit-equal is asked for: two trainings are"
    return _row("strong: resume, weights", _largest(straight, resumed), MARGIN * own, note)


def ranking(setting: Setting, k: int | None) -> Row:
    """Average precision of every query by the device and by the CPU, with many equal similarities.

    Descriptors are such that float32 computes them exactly, whatever the order of its sums.
    """
    rng = np.random.default_rng(setting.seed)
    queries, database = (50, 400) if setting.tiny else (2_000, 20_000)
    made = rng.integers(-4, 5, (queries + database, 32)).astype(np.float32) / 8
    labels = rng.integers(40, size=queries + database)
    labels[queries + database // 2 :] = UNLABELLED
    sides = made[:queries], made[queries:], labels[:queries], labels[queries:]
    # Another name of the processor, so that torch ranks there too.
    device = setting.device if setting.on_gpu else "cpu:0"
    found = evaluate_retrieval(*sides, k=k, device=device).average_precision["retrieved"]
    if importlib.util.find_spec("numba"):
        note = "against the CPU's"
        expected = evaluate_retrieval(*sides, k=k).average_precision["retrieved"]
    else:
        note = "against sorting every row: numba, which the CPU's ranking needs, is not here"
        expected = sorted_precision(*sides, k)
    # Precisions are added in float64, in another order.
    bound = database * 2.0**-53
    return _row(f"ranking, k = {k or 'all'}", float(np.abs(found - expected).max()), bound, note)


def sorted_precision(
    queries: np.ndarray,
    database: np.ndarray,
    query_labels: np.ndarray,
    database_labels: np.ndarray,
    k: int | None,
) -> np.ndarray:
    """AP of each query over the positives in the first k, from all rows sorted."""
    found = []
    for query, label in zip(queries, query_labels, strict=True):
        order = np.argsort(-(database @ query), kind="stable")[:k]
        hits = database_labels[order] == label
        precisions = hits.cumsum() / np.arange(1, len(hits) + 1)
        found.append((precisions * hits).sum() / max(1, hits.sum()))
    return np.array(found)


def float32_share(_: str, layer: nn.Module) -> float:
    """By how much the roundings of a layer's sums change its weights, as it were."""
    weight = layer.weight
    assert isinstance(weight, torch.Tensor)
    return float(weight[0].numel() ** 0.5 * 2.0**-24)


def _share_of_digits(digits: int) -> Share:
    """The same for a backbone that works with fewer digits; what follows it does not."""

    def share(name: str, layer: nn.Module) -> float:
        return 3 * 2.0**-digits if name.startswith("backbone") else float32_share(name, layer)

    return share


def perturbed(model: RetrievalModel, share: Share) -> Iterator[RetrievalModel]:
    """`SAMPLES` copies of a network, the weights of whose layers differ by up to a share each."""
    for seed in range(SAMPLES):
        other = copy.deepcopy(model)
        generator = torch.Generator().manual_seed(seed)
        for name, layer in other.named_modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                errors = 2 * torch.rand(layer.weight.shape, generator=generator) - 1
                layer.weight.data *= 1 + share(name, layer) * errors
        yield other


def described(model: RetrievalModel, images: torch.Tensor) -> torch.Tensor:
    """All that a network says, float32 [B, n] on the CPU."""
    parts = (part for part in model.describe(images) if part is not None)
    return torch.cat([part.float().cpu().reshape(len(images), -1) for part in parts], dim=1)


def largest_distance(first: torch.Tensor, second: torch.Tensor) -> float:
    """The largest over the images."""
    return float((first - second).norm(dim=1).max())


def _stepped(preset: Preset, model: RetrievalModel, device: str, seed: int) -> Vectors:
    """What a step of one tuple from a network's weights gives, float32 on the CPU."""
    trained, recipe = copy.deepcopy(model), replace(preset.recipe, batch_size=1)
    data = noise_data(preset.model.image_size, seed)
    trainer = Trainer(trained, recipe, data, None, device=device, compute=Compute("fp32"))
    losses = trainer.train_step(trainer.example_batch(1))
    pairs = list(zip(trained.parameters(), model.parameters(), strict=True))
    gradients = [p.grad.cpu().reshape(-1) for p, _ in pairs if p.grad is not None]
    changes = [(p.detach().cpu() - before.detach()).reshape(-1) for p, before in pairs]
    return {
        "losses": torch.stack([value.float().cpu() for value in losses.values()]),
        "gradients": torch.cat(gradients),
        "change of weights": torch.cat(changes),
    }


def _trained(
    setting: Setting, preset: Preset, save: Path | None = None, load: Path | None = None
) -> torch.Tensor:
    """All weights after `STEPS`, or after `RESUMED` if they are to be saved."""
    recipe = replace(preset.recipe, batch_size=2, steps=STEPS, log_every=1)
    data = noise_data(preset.model.image_size, setting.seed)
    trainer = Trainer(fresh(preset.model), recipe, data, None, device=setting.device)
    if load is not None:
        trainer.load(load)
    for event in trainer.run():
        if save is not None and event.step == RESUMED:
            trainer.save(save)
            break
    return torch.cat([p.detach().cpu().reshape(-1) for p in trainer.model.parameters()])


def _largest(first: torch.Tensor, second: torch.Tensor) -> float:
    return float((first - second).abs().max())


@contextmanager
def _deterministic() -> Iterator[None]:
    """A block whose convolutions take the ways that give the same bits each time."""
    before = torch.backends.cudnn.deterministic
    torch.backends.cudnn.deterministic = True
    try:
        yield
    finally:
        torch.backends.cudnn.deterministic = before


def _row(check: str, found: float, bound: float, note: str = "") -> Row:
    # What is not a number is no pass.
    passed = found <= bound
    return {"check": check, "found": found, "bound": bound, "passed": passed, "note": note}
