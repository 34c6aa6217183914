from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

import bridge
from bridge.bliss import BlissConfig
from bridge.checkpoint import model_sha256, read_config
from bridge.errors import InputError
from bridge.model import ModelConfig
from bridge.run_log import read_metrics
from bridge.trainer import Recipe
from pipelines import train
from pipelines.train import PRESETS, TrainConfig
from tests.factories import make_dataset

ROOT = Path(__file__).parents[2]
TINY = ModelConfig(
    backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, descriptor_dim=16
)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    folder = tmp_path_factory.mktemp("train")
    make_dataset(folder / "data", {"train": 6, "validation": 3})
    return TrainConfig(
        preset="paper",
        data=str(folder / "data"),
        out=str(folder / "run"),
        num_workers=1,
        cpus_per_worker=1,
        weights="none",
        model=TINY,
        recipe=Recipe(epochs=4, batch_size=8, log_every=3, bliss=BlissConfig(num_negatives=2)),
        num_cpus=2,
    )


@pytest.fixture(scope="module")
def finished(config: TrainConfig, ray_cluster: None) -> Path:
    train.run(config)
    return Path(config.out)


def options(config: TrainConfig, out: Path) -> list[str]:
    """`config` as it is typed."""
    recipe, model = config.recipe, config.model
    return [
        *("--preset", "paper", "--data", config.data, "--out", str(out), "--weights", "none"),
        *("--num-workers", "1", "--cpus-per-worker", "1", "--num-cpus", "2"),
        *("--epochs", str(recipe.epochs), "--batch-size", str(recipe.batch_size)),
        *("--log-every", str(recipe.log_every), "--num-negatives", "2"),
        *("--backbone", model.backbone, "--image-size", "24", "32", "--cls-dim", "16"),
        *("--aux-dim", "8", "--aux-hidden", "8", "--descriptor-dim", "16"),
    ]


def start(config: TrainConfig, out: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(ROOT / "pipelines" / "train.py"), *options(config, out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )


def wait_for_step(out: Path, step: int, driver: subprocess.Popen[str]) -> None:
    end = time.monotonic() + 300
    while not any(line["step"] >= step for line in read_metrics(str(out))):
        assert driver.poll() is None and time.monotonic() < end, "training did not get there"
        time.sleep(0.01)


def test_a_run_leaves_model_log_and_record(finished: Path, config: TrainConfig) -> None:
    model = bridge.load(finished / "model")
    assert model.config.num_classes == 6
    info = read_config(finished / "model")
    assert info["classes"] == [
        f"shape{i % 3}/{i:03d}" for i in sorted(range(6), key=lambda i: i % 3)
    ]
    lines = read_metrics(str(finished))
    assert lines[-1]["step"] == lines[-1]["total_steps"] == 4 * 9
    assert sum("validation/map" in line for line in lines) == 4
    assert list((finished / "tensorboard").iterdir())
    record = json.loads((finished / "run.json").read_text())
    assert record["complete"] and record["result"]["steps"] == 36


def test_a_finished_run_is_not_repeated_and_another_is_refused(
    finished: Path, config: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model_sha256(finished / "model")
    assert train.run(config).model == str(finished / "model")
    assert "is complete" in capsys.readouterr().out
    other = replace(config, recipe=replace(config.recipe, epochs=5))
    with pytest.raises(InputError, match="epochs 4 instead of 5"):
        train.run(other)
    assert model_sha256(finished / "model") == before


def test_killed_workers_and_drivers_change_nothing(
    finished: Path, config: TrainConfig, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    driver = start(config, out)
    wait_for_step(out, 12, driver)
    worker = next(
        process
        for process in psutil.Process(driver.pid).children(recursive=True)
        if "ray::RayTrainWorker" in " ".join(process.cmdline())
    )
    worker.kill()
    wait_for_step(out, 21, driver)
    driver.send_signal(signal.SIGKILL)
    driver.communicate()
    again = start(config, out)
    output, _ = again.communicate(timeout=300)
    assert again.returncode == 0, output
    assert model_sha256(out / "model") == model_sha256(finished / "model")

    def losses(run: Path) -> list[tuple[int, float]]:
        return [(line["step"], line["loss/total"]) for line in read_metrics(str(run))]

    assert losses(out) == losses(finished)


def test_more_workers_than_cpus_share_them(
    config: TrainConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    shared = replace(
        config,
        out=str(tmp_path / "shared"),
        num_workers=4,
        cpus_per_worker=None,
        recipe=replace(config.recipe, epochs=1),
    )
    train.run(shared)
    assert "4 workers share 2 CPUs" in capsys.readouterr().out
    assert bridge.load(tmp_path / "shared" / "model").config.num_classes == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, "nowhere is not a dataset"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"num_workers": -1}, "--num-workers"),
        ({"num_workers": 3}, "does not divide over 3 workers"),
    ],
)
def test_bad_input(
    config: TrainConfig, change: dict, message: str, tmp_path: Path, ray_cluster: None
) -> None:
    with pytest.raises(InputError, match=message):
        train.run(replace(config, out=str(tmp_path / "run"), **change))


def test_presets_are_what_they_say() -> None:
    paper, quick = PRESETS["paper"], PRESETS["quick"]
    assert (paper.recipe.epochs, paper.recipe.batch_size, paper.recipe.learning_rate) == (
        30,
        32,
        1e-4,
    )
    assert paper.recipe.schedule == "constant" and paper.recipe.supervise == "query"
    assert paper.recipe.bliss == BlissConfig(5, 1, 5)
    weights = paper.recipe.loss
    assert (weights.contrastive, weights.classification) == (1.0, 0.1)
    assert (weights.blur, weights.localisation, weights.margin) == (1.0, 10.0, 0.7)
    assert paper.model == ModelConfig()
    assert quick.model.backbone == "tf_efficientnet_lite0" and quick.model.image_size == (60, 80)


def test_help_explains_the_options() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "train.py"), "--help"],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 0
    for option in ("--contrastive-range", "--num-workers", "--preset", "--epochs", "--weights"):
        assert option in result.stdout
