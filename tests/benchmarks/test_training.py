from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
import torch

from benchmarks import training
from benchmarks.training_bytes import Traffic, on_paper, traffic
from benchmarks.training_gpu import forward_flops, matmul_rate, measure_gpu
from benchmarks.training_pictures import load, write_pictures
from benchmarks.training_step import OneByOne, measure_step, new_model
from benchmarks.training_wait import measure_wait
from bridge.common.errors import InputError
from bridge.model.config import BridgeConfig
from bridge.training.bliss import BlissConfig
from bridge.training.presets import Preset
from bridge.training.recipe import Compute, Recipe
from bridge.training.trainer import Trainer

TINY = BridgeConfig(
    backbone="resnet18",
    image_size=(24, 32),
    cls_dim=16,
    aux_dim=8,
    aux_hidden=8,
    descriptor_dim=16,
    num_classes=10,
)
PRESET = Preset(TINY, Recipe(batch_size=3, bliss=BlissConfig(num_negatives=0)))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("training") / "data"
    write_pictures(folder, 20, size=(24, 32))
    return str(folder)


@pytest.fixture(scope="module")
def report(
    dataset: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[dict[str, Any], str]]:
    """Figures and text of the whole benchmark, as they were written."""
    out = tmp_path_factory.mktemp("report") / "training.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "PRESETS", {"quick": PRESET, "paper": PRESET})
        training.run(
            training.Config(
                data=dataset, preset="quick", device="cpu", seconds=0.3, loader_images=50, out=out
            )
        )
    yield json.loads(out.with_suffix(".json").read_text()), out.read_text()


def test_every_picture_is_trained_on_once(dataset: str) -> None:
    labels = load(dataset).labels
    assert len(labels) == 20
    assert len(set(zip(labels.object, labels.trajectory, strict=True))) == 20
    assert len(set(labels.blur_level.tolist())) > 1


@pytest.mark.parametrize("channels_last", [False, True])
def test_both_ways_do_the_same_step(dataset: str, channels_last: bool) -> None:
    """The same losses, the same running value of the classifier, the same gradients."""
    data, recipe = load(dataset), Recipe(batch_size=3)
    model = new_model(TINY)
    one_by_one = OneByOne(copy.deepcopy(model), recipe, "cpu", channels_last)
    trainer = Trainer(model, recipe, data, None)
    batch = trainer.example_batch(3)
    ours, theirs = trainer.train_step(batch), one_by_one.train_step(batch)
    assert set(theirs) == set(ours) - {"gradient_norm"}
    for name, value in theirs.items():
        torch.testing.assert_close(value, ours[name], rtol=1e-5, atol=1e-6)
    assert model.classifier is not None and one_by_one.model.classifier is not None
    torch.testing.assert_close(one_by_one.model.classifier.t, model.classifier.t)
    pairs = list(zip(model.parameters(), one_by_one.model.parameters(), strict=True))
    assert pairs
    for mine, other in pairs:
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-4, atol=1e-6)


def test_step_figures_are_consistent(dataset: str) -> None:
    found = measure_step(TINY, load(dataset), seconds=0.5)
    rates, losses = found["images_per_second"], found["loss"]
    assert 1 <= found["tuples"] <= 20
    assert found["ratio"] == pytest.approx(rates["batched"] / rates["one_by_one"])
    assert losses["batched"] == pytest.approx(losses["one_by_one"], rel=1e-5)
    assert losses["batched"] == pytest.approx(losses["one_by_one_channels_last"], rel=1e-5)


def test_the_wait_is_a_share_of_the_time(dataset: str) -> None:
    found = measure_wait(PRESET, load(dataset), threads=1, seconds=0.2)
    assert 0 <= found["data_wait"] < 1
    assert found["steps"] >= 2
    assert found["images_per_step"] == 6


def test_counted_bytes_are_the_computed_ones(report: tuple[dict[str, Any], str]) -> None:
    """With three tuples, which do not divide over two processes."""
    found = report[0]["scaling"]
    counted, computed = found["counted_bytes"], found["computed_bytes"]
    reduced = computed["gradients"] + computed["predictions"] + computed["used"]
    assert counted["allreduce"] == reduced
    assert counted["allgather"] == computed["gathered"]
    assert counted["broadcast"] == computed["buffers"]
    model = new_model(TINY)
    assert computed["gradients"] == 4 * sum(p.numel() for p in model.parameters())
    assert found["weak_efficiency"] > 0
    assert found["strong_speedup"] == pytest.approx(2 * found["strong_efficiency"])


def test_efficiency_on_paper() -> None:
    gradients, rest = Traffic(800, 80, 160, 8, 4).seconds(workers=8, bandwidth=10)
    assert gradients == pytest.approx(2 * 7 / 8 * 80)
    assert rest == pytest.approx(7 / 8 * (2 * 8 + 16) + 0.8)
    model = new_model(TINY)
    found = on_paper(model, 160, 8, bandwidth=1e9, images_per_second=10)
    spent = found["gradient_seconds"] + found["other_seconds"]
    assert found["compute_seconds"] == 2
    assert found["efficiency_without_overlap"] == pytest.approx(2 / (2 + spent))
    bytes_sent = traffic(model, 160).gradients
    last = found["gradient_seconds"] * 25 * 2**20 / bytes_sent
    late = 2 + found["other_seconds"] + last
    assert bytes_sent > 25 * 2**20 and found["efficiency"] == pytest.approx(2 / late)
    slow = on_paper(model, 160, 8, bandwidth=1e3, images_per_second=1e6)
    assert slow["efficiency"] < 0.01
    assert traffic(model, 10).gathered == 10 * traffic(model, 1).gathered


def test_gpu_figures_follow_from_flops(dataset: str) -> None:
    """On the processor, which has all but the figure of memory."""
    data = load(dataset)
    one = forward_flops(new_model(TINY))
    assert forward_flops(new_model(replace(TINY, image_size=(48, 64)))) > 3.5 * one
    assert matmul_rate(32, "cpu") > 0
    variants = {"fp32": Compute("fp32"), "again": Compute("fp32", gradient_checkpointing=True)}
    found = measure_gpu(TINY, data, tuples=2, device="cpu", matrix=32, variants=variants)
    assert set(found["variants"]) == set(variants)
    for figures in found["variants"].values():
        work = 3 * found["forward_gflop_per_image"] * figures["images_per_second"]
        assert figures["tflops"] == pytest.approx(work / 1e3)
        share = figures["tflops"] / found["matmul_tflops"]
        assert figures["share_of_matmul"] == pytest.approx(share)


def test_report(report: tuple[dict[str, Any], str]) -> None:
    figures, text = report
    for heading in ("Step", "Data", "Loader", "GPU", "Two workers", "Many GPUs"):
        assert f"## {heading}" in text
    assert "There is no GPU." in text and "derived on paper" in text
    assert figures["step"].keys() == figures["wait"].keys() == {"quick"}
    assert figures["on_paper"]["rows"][2]["workers"] == 64


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no GPU"):
        training.run(training.Config(device="cuda"))
