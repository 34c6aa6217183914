from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import bridge
from bridge.common.errors import InputError
from bridge.model.folder import model_sha256, read_config
from bridge.training.run_log import read_metrics
from bridge.training.trainer import NonFiniteLoss
from pipelines import train
from pipelines.stages.train_options import DEFAULT_DATA, TrainConfig
from tests.factories import make_dataset
from tests.kills import ROOT


def command(*options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "train.py"), *options],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)} | environment,
    )


def diverging(training: TrainConfig, out: Path) -> TrainConfig:
    """Steps so long that the second one meets infinities, behind a checkpoint of the first."""
    recipe = replace(training.recipe, learning_rate=1e30)
    return replace(training, out=str(out), checkpoint_every=1, recipe=recipe)


def test_a_run_leaves_model_log_and_record(trained: Path) -> None:
    model = bridge.load(trained / "model")
    assert model.config.num_classes == 6
    info = read_config(trained / "model")
    assert info["classes"] == [
        f"shape{i % 3}/{i:03d}" for i in sorted(range(6), key=lambda i: i % 3)
    ]
    lines = read_metrics(str(trained))
    assert [line["step"] for line in lines] == list(range(1, 37))
    assert lines[-1]["total_steps"] == 36
    assert sum("validation/map" in line for line in lines) == 4
    assert list((trained / "tensorboard").iterdir())
    record = json.loads((trained / "run.json").read_text())
    assert record["complete"] and record["result"]["steps"] == 36
    assert record["result"]["unreadable"] == 0
    assert record["config"]["method"] == "bridge"
    assert record["config"]["selections"] == {"source": "computed", "seed": 0}


def test_a_finished_run_is_not_repeated_and_another_is_refused(
    trained: Path, training: TrainConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = model_sha256(trained / "model")
    assert train.run(replace(training, num_workers="2:3")).model == str(trained / "model")
    assert "is complete" in capsys.readouterr().out
    other = replace(training, recipe=replace(training.recipe, epochs=5))
    with pytest.raises(InputError, match="epochs 4 instead of 5"):
        train.run(other)
    assert model_sha256(trained / "model") == before


@pytest.mark.long
def test_more_workers_than_cpus_train_to_the_end(
    training: TrainConfig, tmp_path: Path, ray_cluster: None
) -> None:
    """Three workers for steps of eight tuples: the last of them has only two."""
    shared = replace(
        training,
        out=str(tmp_path / "shared"),
        num_workers=3,
        cpus_per_worker=None,
        recipe=replace(training.recipe, epochs=1),
    )
    train.run(shared)
    assert bridge.load(tmp_path / "shared" / "model").config.num_classes == 6


def test_a_loss_that_is_not_finite_stops_all_workers(
    training: TrainConfig, tmp_path: Path, ray_cluster: None
) -> None:
    config = replace(diverging(training, tmp_path / "run"), num_workers=2)
    with pytest.raises(NonFiniteLoss, match="not finite") as stop:
        train.run(config)
    assert "Step 1 " in str(stop.value) and "shape0/000" in str(stop.value)
    checkpoint = str(stop.value).split()[-1].rstrip(".")
    assert (Path(checkpoint) / "training_state.pt").exists()
    assert [line["step"] for line in read_metrics(config.out)] == [1]
    assert not json.loads((tmp_path / "run" / "run.json").read_text())["complete"]


@pytest.mark.long
def test_more_workers_than_cpus_stop_too_and_fewer_go_on(
    training: TrainConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = replace(diverging(training, tmp_path / "run"), num_workers=3, cpus_per_worker=None)
    with pytest.raises(NonFiniteLoss, match="Step 1 ") as first:
        train.run(config)
    assert "3 workers share 2 CPUs" in capsys.readouterr().out
    # The same training takes the last checkpoint with fewer workers, and meets the same end.
    with pytest.raises(NonFiniteLoss, match="Step 1 ") as second:
        train.run(replace(config, num_workers=1))
    ends = [str(stop.value).partition("its images: ")[2] for stop in (first, second)]
    assert ends[0] == ends[1]


def test_unreadable_images_are_counted(
    training: TrainConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path / "data", {"train": 6})
    break_trajectory(tmp_path / "data", object_id="shape0/000", trajectory=0)
    config = replace(
        training,
        data=str(tmp_path / "data"),
        out=str(tmp_path / "run"),
        num_workers=0,
        recipe=replace(training.recipe, epochs=1),
        # The shard is not the one of the manifest any more.
        trust_data=True,
    )
    assert train.run(config).unreadable == 1
    output = capsys.readouterr().out
    assert "unreadable images 1" in output and "1 training images could not be read" in output
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["result"]["unreadable"] == 1
    assert len(json.loads((tmp_path / "run" / "unreadable.json").read_text())) == 1


def test_too_many_unreadable_images_end_a_run_at_once(
    training: TrainConfig, tmp_path: Path, ray_cluster: None
) -> None:
    # Not the dataset of another test, whose images the node has in its cache.
    make_dataset(tmp_path / "data", {"train": 7})
    for trajectory in range(4):
        break_trajectory(tmp_path / "data", object_id="shape0/000", trajectory=trajectory)
    config = replace(training, data=str(tmp_path / "data"), num_workers=0, trust_data=True)
    with pytest.raises(InputError, match="of 84 training images are unreadable"):
        train.run(replace(config, out=str(tmp_path / "run")))


def test_training_inside_the_driver_continues_too(
    trained: Path, training: TrainConfig, tmp_path: Path, ray_cluster: None
) -> None:
    """A checkpoint of step 4 of a training that met infinities is where the next one begins."""
    config = replace(training, out=str(tmp_path / "run"), num_workers=0)
    failing = diverging(config, tmp_path / "run")
    with pytest.raises(NonFiniteLoss, match="continues from its last checkpoint, .*step-000000001"):
        train.run(replace(failing, num_workers=0))
    with pytest.raises(NonFiniteLoss, match="Step 1 "):
        train.run(replace(failing, num_workers=0))
    assert [line["step"] for line in read_metrics(config.out)] == [1]


def break_trajectory(dataset: Path, object_id: str, trajectory: int) -> None:
    """Cut the images of a trajectory, of which training selects one, short."""
    for path in (dataset / "data").glob("train-*.parquet"):
        table = pq.read_table(path)
        rows = table.to_pylist()
        for row in rows:
            if (row["object_id"], row["trajectory"]) == (object_id, trajectory):
                row["image"]["bytes"] = row["image"]["bytes"][:50]
        pq.write_table(pa.Table.from_pylist(rows, schema=table.schema), path)


def test_a_dry_run_tells_the_plan_and_writes_nothing(
    training: TrainConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    train.dry_run(replace(training, out=str(tmp_path / "run"), num_workers="1:2"))
    output = capsys.readouterr().out
    for text in (
        "72 training images of 6 objects",
        "36 steps of 8 tuples x 4 images",
        f"{training.model.backbone} with ",
        " M parameters at 24x32",
        "1 to 2 training process(es)",
        "memory per worker",
        "s per step",
    ):
        assert text in output
    assert not (tmp_path / "run").exists()


def test_a_dry_run_does_not_make_data(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    train.dry_run(TrainConfig(data=DEFAULT_DATA))
    assert "would be synthesised" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "nowhere"}, "nowhere is not a dataset"),
        ({"weights": "nowhere.pth"}, "nowhere.pth"),
        ({"num_workers": 9}, "9 workers are too many for steps of 8 tuples"),
        ({"num_workers": "2:9"}, "9 workers are too many"),
    ],
)
def test_bad_input(training: TrainConfig, change: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        train.run(replace(training, out=str(tmp_path / "run"), **change))
    assert not (tmp_path / "run").exists()


def test_without_imagenet_weights_there_is_advice_at_once(
    training: TrainConfig, tmp_path: Path
) -> None:
    result = command(
        *("--preset", "paper", "--data", training.data, "--out", str(tmp_path / "run")),
        TORCH_HOME=str(tmp_path / "no-weights"),
        https_proxy="http://127.0.0.1:9",
    )
    assert result.returncode == 2
    assert "--weights as a file" in result.stderr
    assert "Traceback" not in result.stderr
    assert "training process" not in result.stdout
    assert not (tmp_path / "run").exists()


def test_mistakes_in_the_model_do_not_wait_for_data(
    training: TrainConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="nowhere.pth"):
        train.run(replace(training, data=DEFAULT_DATA, weights="nowhere.pth"))
    assert not list(tmp_path.iterdir())


def test_a_loss_that_is_not_finite_is_one_sentence_of_the_command(
    training: TrainConfig, tmp_path: Path
) -> None:
    result = command(
        *("--preset", "quick", "--data", training.data, "--out", str(tmp_path / "run")),
        *("--weights", "none", "--num-workers", "0", "--num-cpus", "1"),
        *("--learning-rate", "1e30", "--warmup-steps", "0"),
    )
    assert result.returncode == 1
    assert result.stderr.splitlines()[-1].startswith("error: Step ")
    assert "not finite" in result.stderr and "from the beginning" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_explains_the_options() -> None:
    result = command("--help")
    assert result.returncode == 0
    for option in (
        *("--contrastive-range", "--num-workers", "--preset", "--epochs", "--weights"),
        *("--checkpoint-every", "--dry-run", "--track", "--precision", "--ema-decay"),
    ):
        assert option in result.stdout
