from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.dataset.schema import to_table
from bridge.dataset.shards import write_shard
from pipelines import synthesize
from pipelines.stages.synthesis_options import SynthesizeConfig
from pipelines.stages.verification import verify
from tests.factories import make_dataset, make_meshes

pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_datasets_of_other_commands_are_checked_without_rendering(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_dataset(tmp_path, {"train": 2, "test": 1}, trajectories=2)
    assert verify(str(tmp_path), 2)
    output = capsys.readouterr().out
    assert "2 shards, 66 images" in output and "16 decoded" in output
    assert "simulated again: none, another command made this dataset" in output
    assert "problems: none\n" in output


def test_every_problem_is_a_line_with_its_shard(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = make_dataset(tmp_path, {"train": 2, "test": 1}, trajectories=2)
    first, second = sorted(manifest.shards)
    shutil.copy(tmp_path / second, tmp_path / first)
    assert not verify(str(tmp_path), 2)
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith(f"{first}: has ") and "bytes instead of" in line for line in lines)
    assert f"{first}: 44 of its image ids are in another shard too" in lines
    wrong = [line for line in lines if line.startswith("data/")]
    assert f"  problems: {len(wrong)}" in lines


def test_labels_are_simulated_again_while_the_meshes_are_there(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_meshes(tmp_path / "meshes", {"box": 4})
    config = SynthesizeConfig(
        out=str(tmp_path / "data"),
        meshes=str(tmp_path / "meshes"),
        trajectories=2,
        image_size=(48, 64),
        trajectories_per_shard=2,
    )
    synthesize.run(config)
    assert verify(config.folder, 2)
    assert "simulated again: 4 trajectories\n" in capsys.readouterr().out
    # Another object takes the place of one.
    shutil.copy(tmp_path / "meshes/box/001.glb", tmp_path / "meshes/box/000.glb")
    (tmp_path / "meshes/box/002.glb").unlink()
    assert not verify(config.folder, 2)
    output = capsys.readouterr().out
    assert "comes out otherwise" in output
    assert "3 trajectories, 1 skipped as their meshes are gone" in output
    shutil.rmtree(tmp_path / "meshes")
    assert verify(config.folder, 2)
    assert "simulated again: skipped. The mesh folder" in capsys.readouterr().out


@pytest.mark.parametrize("options", [{}, {"erosion_pixels": 3, "filter": "endpoint-iou"}])
def test_datasets_are_simulated_again_with_their_erosion_and_filter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], options: dict[str, Any]
) -> None:
    config = SynthesizeConfig(
        out=str(tmp_path), objects_per_category=1, trajectories=1, image_size=(48, 64), **options
    )
    synthesize.run(config)
    assert verify(config.folder, 2)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in ("erosion_pixels", "filter"):
        del manifest["config"][name]
    path.write_text(json.dumps(manifest))
    # One that does not say was made before there was a choice.
    assert verify(config.folder, 2) is not bool(options)
    output = capsys.readouterr().out
    assert ("a blur severity comes out otherwise" in output) is bool(options)
    assert "another command" not in output


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"image_size": [24]}, "another command made this dataset"),
        (SynthesizeConfig(image_size=(24, 32)).identity() | {"realism": 5}, "another command"),
        (SynthesizeConfig(image_size=(24, 32)).identity() | {"image_size": [24]}, "another"),
    ],
)
def test_damaged_options_end_in_no_traceback(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], config: Any, found: str
) -> None:
    make_dataset(tmp_path, {"train": 1}, trajectories=1)
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"config": config}))
    assert verify(str(tmp_path), 2)
    assert found in capsys.readouterr().out


def test_labels_and_images_of_other_trajectories_are_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "photos")
    config = SynthesizeConfig(
        out=str(tmp_path / "data"),
        kind="distractors",
        backgrounds=str(tmp_path / "photos"),
        objects_per_category=1,
        trajectories=2,
        image_size=(24, 32),
    )
    manifest = synthesize.run(config)
    assert verify(config.folder, 2)
    assert "simulated again: 15 trajectories\n" in capsys.readouterr().out
    (path,) = manifest.shards
    rows = pq.read_table(tmp_path / "data" / path).to_pylist()
    images = [row["image"] for row in rows]
    for row, image in zip(rows, images[11:] + images[:11], strict=True):
        row["image"] = image
    record = write_shard(config.folder, path, "distractor", to_table(rows))
    manifest.with_shards([replace(manifest.shards[path], record=record)]).save(config.folder)
    assert not verify(config.folder, 2)
    assert "pixels come out otherwise" in capsys.readouterr().out
    shutil.rmtree(tmp_path / "photos")
    assert verify(config.folder, 2)
    output = capsys.readouterr().out
    assert "15 trajectories, 15 of them without comparing pixels as photos are gone\n" in output


def make_photos(folder: Path) -> None:
    folder.mkdir()
    rng = np.random.default_rng(0)
    for number in range(6):
        photo = rng.integers(0, 256, (48, 64, 3), np.uint8)
        Image.fromarray(photo).save(folder / f"{number}.png")


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a dataset"):
        verify(str(tmp_path), 2)
