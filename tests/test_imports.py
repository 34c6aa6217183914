"""Nothing heavy is imported before it is used: not for help and mistakes, nor in workers."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.dataset.manifest import Manifest
from pipelines.__main__ import commands
from tests.children import command, python
from tests.factories import make_dataset

HEAVY = ("torch", "ray", "numba", "pandas", "matplotlib", "tensorboard", "faiss", "timm", "fastapi")
FOR_DATA = ("numpy", "pyarrow", "pydantic", "PIL", "scipy")
"""Cheaper, but not for `--help`."""

COMMANDS = commands()
BOX = ("--box", "0.5", "0.5", "0.1", "0.1")


@pytest.mark.parametrize("name", COMMANDS)
def test_help_imports_next_to_nothing(name: str, tmp_path: Path) -> None:
    ended = command(COMMANDS[name], ["--help"], tmp_path)
    assert ended.code == 0 and "usage:" in ended.output
    assert ended.has(*HEAVY, *FOR_DATA) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_a_wrong_option_imports_nothing_heavy(name: str, tmp_path: Path) -> None:
    ended = command(COMMANDS[name], ["--no-such-option", "1"], tmp_path)
    assert ended.code == 2 and "no-such-option" in ended.errors
    assert ended.has(*HEAVY) == set()


@pytest.mark.parametrize(
    ("module", "arguments", "said"),
    [
        ("pipelines.synthesize", ["--meshes", "gone"], "does not exist"),
        ("pipelines.synthesize", ["--backgrounds", "gone"], "gone"),
        ("pipelines.synthesize", ["--exclude", "gone"], "not a dataset"),
        ("pipelines.synthesize", ["--verify", "gone"], "not a dataset"),
        ("pipelines.synthesize", ["--dry-run", "--meshes", "gone"], "does not exist"),
        ("pipelines.synthesize", ["--preview", "2", "--meshes", "gone"], "does not exist"),
        ("pipelines.synthesize", ["--preset", "paper"], "needs --meshes"),
        ("pipelines.synthesize", ["--preset", "none"], "There is no preset"),
        ("pipelines.train", ["--data", "gone"], "not a dataset"),
        ("pipelines.train", ["--data", "gone", "--preset", "quick"], "not a dataset"),
        ("pipelines.train", ["--data", "empty"], "no training images"),
        ("pipelines.train", ["--data", "tests_only"], "no training images"),
        ("pipelines.train", ["--data", "empty", "--dry-run"], "no training images"),
        ("pipelines.train", ["--method", "none"], "--method must be one of"),
        ("pipelines.train", ["--epochs", "0"], "--epochs must be at least 1"),
        ("tune.search", ["--data", "gone"], "not a dataset"),
        ("tune.search", ["--data", "empty"], "no training images"),
        ("tune.search", ["--fix", "nosuch=1"], "has no option 'nosuch'"),
        ("tune.search", ["--space.contrastive-range", "12"], "must be at most 9"),
        ("tune.search", ["--report", "gone"], "holds no search"),
        ("pipelines.train", ["--config", "gone"], "gone does not exist"),
        ("pipelines.build_index", ["--model", "gone", "--data", "gone"], "not a dataset"),
        ("pipelines.build_index", ["--model", "gone", "--data", "tests_only"], "gone"),
        ("pipelines.build_index", ["--model", "gone", "--data", "empty"], "too few test objects"),
        ("pipelines.build_index", ["--add", "tests_only", "--out", "gone"], "no index at gone"),
        ("pipelines.evaluate", ["--index", "gone"], "gone"),
        ("pipelines.picture", ["--index", "gone"], "gone"),
        ("pipelines.study", ["--data", "gone"], "not a dataset"),
        ("pipelines.study", ["--data", "empty"], "no training images"),
        ("pipelines.study", ["--grid", "gone"], "gone does not exist"),
        ("pipelines.study", ["--grid", "picture.jpg"], "must be a mapping"),
        ("pipelines.study", ["--only", "none"], "There is no configuration 'none'"),
        ("pipelines.study", ["--passes", "0"], "--passes must be at least 1"),
        ("pipelines.search", ["--index", "gone", "--images", "gone.jpg"], "gone.jpg"),
        ("pipelines.search", ["--index", "gone", "--images", "picture.jpg"], "gone"),
        ("pipelines.search", ["--photos", "gone", "--images", "picture.jpg"], "needs --model"),
        ("pipelines.import_videos", ["--videos", "gone"], "gone is no folder"),
        ("pipelines.import_videos", ["--videos", "empty"], "holds no videos"),
        ("pipelines.import_videos", ["--videos", "empty", "--layout", "fmo"], "no sequences"),
        ("pipelines.import_videos", ["--videos", "empty", "--images", "0"], "at least 1"),
        ("pipelines.search_video", ["--video", "gone.mp4", *BOX], "gone.mp4 does not exist"),
        ("pipelines.search_video", ["--video", "empty", *BOX], "cannot be used: no_frames"),
        ("pipelines.serve", ["--index", "gone"], "gone"),
        ("pipelines.serve", ["--photos", "gone"], "--photos needs --model"),
        ("pipelines.import_photos", ["--photos", "gone"], "does not exist"),
        ("pipelines.import_photos", ["--photos", "empty"], "holds no photo"),
        ("pipelines.import_photos", ["--photos", ".", "--table", "gone"], "gone does not exist"),
        ("pipelines.import_photos", ["--photos", ".", "--model", "gone"], "gone"),
        ("pipelines.serve", ["--index", "gone", "--port", "0"], "--port must be at least 1"),
    ],
)
def test_mistakes_are_told_before_anything_heavy_is_imported(
    module: str, arguments: list[str], said: str, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    Manifest("dataset", {}).finished().save(str(tmp_path / "empty"))
    make_dataset(tmp_path / "tests_only", {"test": 2}, trajectories=2)
    (tmp_path / "picture.jpg").touch()
    ended = command(module, arguments, tmp_path)
    assert ended.code == 2, ended.errors
    assert said in ended.errors and len(ended.errors.splitlines()) == 1
    assert ended.has(*HEAVY) == set()


def test_a_simulating_worker_has_only_the_simulator(tmp_path: Path) -> None:
    ended = python(
        """
from bridge.simulator import ProceduralBackgrounds, SimulatorConfig, procedural_objects
from bridge.synthesis.plan import plan_shards
from bridge.synthesis.shard import make_shard
plan = plan_shards(procedural_objects(1, 0)[:1], "distractors", 1, 1, 0)
(task,) = plan.missing(())
simulator = SimulatorConfig(image_size=(24, 32))
print(make_shard(task, simulator, "jpeg", ProceduralBackgrounds(), "made").trajectories)
""",
        tmp_path,
    )
    assert ended.output == "1\n", ended.errors
    # Arrow imports pandas by itself where it is installed.
    assert ended.has("numba")
    assert ended.has("torch", "ray", "faiss", "timm", "matplotlib", "fastapi") == set()


def test_a_training_worker_has_neither_the_index_nor_the_simulator(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"train": 4})
    ended = python(
        """
from dataclasses import replace
from pipelines.stages.train_options import trainings
from pipelines.stages.train_worker import build_trainer
quick = trainings("bridge")["quick"]
model = replace(quick.model, backbone="resnet18", image_size=(24, 32))
recipe = replace(quick.recipe, steps=1, batch_size=4)
config = replace(quick, data="data", weights="none", model=model, recipe=recipe)
print([event.step for event in build_trainer(config, "cpu", 1).run()][-1])
""",
        tmp_path,
    )
    assert ended.output.endswith("1\n"), ended.errors
    assert ended.has("torch")
    assert ended.has("faiss", "numba", "trimesh", "matplotlib", "fastapi") == set()


def test_the_processes_that_answer_http_have_neither_torch_nor_faiss(tmp_path: Path) -> None:
    ended = python("import bridge.web.app", tmp_path)
    assert ended.code == 0 and ended.has("fastapi")
    assert ended.has("torch", "faiss", "numba", "ray", "matplotlib") == set()
