from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.common.errors import InputError
from bridge.model.config import BridgeConfig
from bridge.training.bliss import BlissConfig
from bridge.training.recipe import Compute
from pipelines.stages.train_options import TrainConfig, trainings, worker_range


@pytest.mark.parametrize(
    ("given", "expected"),
    [(0, (0, 0)), ("0", (0, 0)), (3, (3, 3)), ("2:8", (2, 8)), ("4:4", (4, 4))],
)
def test_workers_are_a_number_or_a_range(given: int | str, expected: tuple[int, int]) -> None:
    assert worker_range(given) == expected


@pytest.mark.parametrize("given", ["8:2", "0:3", "-1", -1, "two", "1:2:3", ":4", "2:", "", "1.5"])
def test_other_workers_are_refused(given: int | str) -> None:
    with pytest.raises(InputError, match="--num-workers"):
        TrainConfig(num_workers=given)


@pytest.mark.parametrize(
    "change", [{"checkpoint_every": -1}, {"max_failures": -2}, {"cpus_per_worker": 0.0}]
)
def test_options_have_ranges(change: dict) -> None:
    with pytest.raises(InputError, match=f"`{next(iter(change))}` must"):
        TrainConfig(**change)


@pytest.mark.parametrize("method", ["bridge", "delg", "dolg", "token"])
def test_each_method_has_presets_and_a_folder(method: Any) -> None:
    for name, config in trainings(method).items():
        assert config.preset == name and config.method == config.model.method == method
        assert config.out == f"runs/{method}"


@pytest.mark.parametrize("method", ["pretrained", "histogram", "none"])
def test_what_is_not_trained_has_no_presets(method: Any) -> None:
    with pytest.raises(InputError, match="`method` must be one of bridge, delg, dolg, token, not"):
        trainings(method)


def test_where_it_is_trained_is_no_part_of_what_is_trained() -> None:
    config = trainings("bridge")["quick"]
    elsewhere = replace(
        config,
        out="other",
        num_workers="2:8",
        cpus_per_worker=2.0,
        use_gpu=True,
        checkpoint_every=7,
        max_failures=0,
        track="mlflow",
        num_cpus=1,
        compute=Compute(compile=True, gradient_checkpointing=True),
    )
    assert elsewhere.identity() == config.identity()
    changes: list[dict[str, Any]] = [
        {"recipe": replace(config.recipe, bliss=BlissConfig(3))},
        {"recipe": replace(config.recipe, ema_decay=0.9)},
        {"model": BridgeConfig(stem_pool=True)},
        {"weights": "none"},
        {"data": "other"},
        {"compute": Compute(precision="bf16")},
    ]
    identities = [replace(config, **change).identity() for change in changes]
    assert all(identity != config.identity() for identity in identities)
    assert json.loads(json.dumps(config.identity())) == config.identity()


def test_no_option_hides_another_of_the_same_name() -> None:
    """Groups of options are flat on the command line."""
    config = trainings("bridge")["paper"]
    recipe = config.recipe
    groups = [config, config.model, recipe, config.compute]
    groups += [recipe.bliss, recipe.loss, recipe.augment]
    names = [name for group in groups for name, value in vars(group).items() if value not in groups]
    assert len(names) == len(set(names))


def test_training_inside_the_driver_needs_a_local_folder() -> None:
    with pytest.raises(InputError, match="local folder"):
        TrainConfig(num_workers=0, out="s3://bucket/run")


def test_presets_have_their_names() -> None:
    assert {name: config.preset for name, config in trainings("bridge").items()} == {
        name: name for name in ("paper", "strong", "quick")
    }


def test_weights_are_known_by_their_content(tmp_path: Path) -> None:
    file = tmp_path / "weights.pth"
    config = replace(trainings("bridge")["quick"], weights=str(file))
    file.write_bytes(b"one")
    before = config.identity()
    file.write_bytes(b"two")
    assert config.identity() != before
