from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from bridge.errors import InputError
from pipelines import synthesize
from pipelines.synthesis_options import SynthesizeConfig
from pipelines.verification import verify
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
    assert output.endswith("problems: none\n")


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


def test_what_is_no_dataset_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a dataset"):
        verify(str(tmp_path), 2)
