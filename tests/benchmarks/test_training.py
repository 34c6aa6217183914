from __future__ import annotations

import copy
import json
from typing import Any

import pytest
import torch

from benchmarks import training
from benchmarks.scenes import dataset_or_pictures, write_pictures
from benchmarks.steps import OneByOne, new_model
from benchmarks.training_measures import decode_all, load, load_all, plan
from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.model.config import BridgeConfig
from bridge.training.bliss import BlissConfig
from bridge.training.presets import Preset
from bridge.training.recipe import Recipe
from bridge.training.trainer import Trainer

TINY = BridgeConfig(
    backbone="test_resnet",
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
    folder = str(tmp_path_factory.mktemp("training") / "data")
    write_pictures(folder, 40, (24, 32))
    return folder


@pytest.fixture(scope="module")
def report(dataset: str, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Figures and text of the whole benchmark, as they were written."""
    out = tmp_path_factory.mktemp("report") / "training.md"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training, "PRESETS", {"bridge": {"quick": PRESET}})
        training.run(
            training.Config(
                data=dataset, device="cpu", tuples=3, steps=2, loader_images=50, out=out
            )
        )
    return json.loads(out.with_suffix(".json").read_text()), out.read_text()


def test_pictures_are_a_dataset_to_train_on(dataset: str) -> None:
    labels = load(dataset).labels
    assert 20 < len(labels) <= 40 and len(labels.objects) == 10
    assert len(set(zip(labels.object, labels.trajectory, strict=True))) == len(labels)
    with dataset_or_pictures("", 10, (16, 16)) as folder:
        assert len(load(folder).labels) <= 10
        assert decode(load(folder).images[0]).shape == (16, 16, 3)
    with dataset_or_pictures(dataset, 10) as folder:
        assert folder == dataset


def test_both_ways_do_the_same_step(dataset: str) -> None:
    """The same losses, the same running value of the classifier, the same gradients."""
    data, recipe = load(dataset), Recipe(batch_size=3)
    model = new_model(TINY)
    one_by_one = OneByOne(copy.deepcopy(model), recipe, "cpu")
    trainer = Trainer(model, recipe, data, None)
    batch = trainer.example_batch(3)
    # Noise, since random weights hardly tell small pictures apart, and rounding then weighs much.
    batch.images.copy_(torch.randint(0, 256, batch.images.shape, dtype=torch.uint8))
    ours, theirs = trainer.train_step(batch), one_by_one.train_step(batch)
    assert set(theirs) == set(ours) - {"gradient_norm"}
    for name, value in theirs.items():
        torch.testing.assert_close(value, ours[name], rtol=1e-4, atol=1e-5)
    assert model.classifier is not None and one_by_one.model.classifier is not None
    torch.testing.assert_close(
        one_by_one.model.classifier.t, model.classifier.t, rtol=1e-4, atol=1e-6
    )
    pairs = list(zip(model.parameters(), one_by_one.model.parameters(), strict=True))
    assert pairs
    for mine, other in pairs:
        # As a whole: single numbers of it may be differences of much larger ones.
        assert (mine.grad - other.grad).norm() <= 1e-3 * other.grad.norm() + 1e-6


def test_loader_and_floor_see_the_same_images_in_whole_batches(dataset: str) -> None:
    data = load(dataset)
    slices = plan(data, 600)
    count = sum(part.size for part in slices)
    assert 600 <= count < 600 + slices[-1].size
    assert load_all(data, slices, (12, 16), threads=2) == count
    encoded = [data.images[row] for part in slices for row in part.reshape(-1).tolist()]
    assert decode_all(encoded, threads=3) == count


def test_report(report: tuple[dict[str, Any], str]) -> None:
    figures, text = report
    for heading in ("Step", "Data", "Loader", "Two workers"):
        assert f"## {heading}" in text
    assert "JPEG images of 24x32 pixels" in text
    step, wait, [one, two] = figures["step"], figures["wait"], figures["loader"]["rates"]
    rates = step["images_per_second"]
    assert step["ratio"] == pytest.approx(rates["batched"] / rates["one_by_one"])
    assert step["loss"]["batched"] == pytest.approx(step["loss"]["one_by_one"], rel=1e-4)
    assert 0 <= wait["data_wait"] < 1 and wait["steps"] >= 2 and wait["images_per_step"] == 6
    assert (one["threads"], two["threads"]) == (1, 2) and min(two.values()) > 0
    assert two["stored_share"] == pytest.approx(two["stored"] / two["floor"])


def test_counted_bytes_are_those_of_the_formulae(report: tuple[dict[str, Any], str]) -> None:
    """Of docs/benchmarks.md; with three tuples, which do not divide over two processes."""
    found = report[0]["scaling"]
    model = new_model(TINY)
    parameters = list(model.parameters())
    images, predictions = 4 * PRESET.recipe.tuple_size, 4 * (TINY.descriptor_dim + 1 + 4)
    gradients = 4 * sum(p.numel() for p in parameters)
    assert found["bytes"]["allreduce"] == gradients + predictions * images + 4 * len(parameters)
    assert found["bytes"]["allgather"] == (predictions + 34) * images
    assert found["bytes"]["broadcast"] == sum(buffer.nbytes for buffer in model.buffers())
    single, strong, weak = found["steps"]
    assert "efficiency" in single and weak["images"] == 2 * strong["images"]
    speedup = single["seconds"] / strong["seconds"]
    assert strong["efficiency"] == pytest.approx(speedup / 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match="no GPU"):
        training.run(training.Config(device="cuda"))
