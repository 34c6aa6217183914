from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from bridge.common.errors import InputError
from pipelines import synthesize
from pipelines.synthesize import SynthesizeConfig
from tests.factories import make_meshes

SIZE = (48, 64)
pytestmark = pytest.mark.usefixtures("ray_cluster")


def test_preview_is_one_picture(config: SynthesizeConfig, tmp_path: Path) -> None:
    synthesize.command(replace(config, out=str(tmp_path / "out"), preview=3))
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["preview.png"]
    with Image.open(tmp_path / "out" / "preview.png") as sheet:
        assert sheet.width > 11 * 100 and sheet.height > 3 * 100


def test_a_preview_with_fewer_rows_than_asked_for_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_meshes(tmp_path / "meshes", {"box": 1})
    config = SynthesizeConfig(
        out=str(tmp_path / "out"), meshes=str(tmp_path / "meshes"), trajectories=2, image_size=SIZE
    )
    synthesize.preview(config, 4)
    assert (
        "note: 2 trajectories instead of 4: there are no more to show." in capsys.readouterr().out
    )
    synthesize.preview(config, 2)
    assert "note" not in capsys.readouterr().out


def test_a_preview_of_nothing_usable_says_why(tmp_path: Path) -> None:
    (tmp_path / "meshes" / "box").mkdir(parents=True)
    for name in ("a.obj", "b.glb"):
        (tmp_path / "meshes" / "box" / name).write_text("v 0 0 0\n")
    config = SynthesizeConfig(
        out=str(tmp_path / "out"), meshes=str(tmp_path / "meshes"), trajectories=1, image_size=SIZE
    )
    with pytest.raises(
        InputError, match=r"of the 2 objects .*: 2 do not open, e\.g\. box/.: \w+: "
    ):
        synthesize.preview(config, 2)


def test_dry_run_says_what_would_be_made_and_writes_nothing(
    config: SynthesizeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    synthesize.command(replace(config, out=str(tmp_path / "out"), dry_run=True))
    output = capsys.readouterr().out
    assert "train: 9 objects, 27 trajectories, 297 images, 7 shards" in output
    assert "test: 4 objects, 12 trajectories, 132 images, 3 shards" in output
    for word in (
        " ± ",
        "core-hours",
        "GB",
        "on 2 cores",
        "standard deviation",
        "of 15 passed the filter",
    ):
        assert word in output
    assert not (tmp_path / "out").exists()


def test_dry_run_of_a_begun_dataset_counts_the_rest(
    dataset: Path, config: SynthesizeConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = json.loads((dataset / "manifest.json").read_text()) | {"complete": False}
    manifest["shards"] = manifest["shards"][::2]
    (copy / "manifest.json").write_text(json.dumps(manifest))
    synthesize.command(replace(config, out=str(copy), dry_run=True))
    total = len(list((dataset / "data").iterdir()))
    assert f"finished: {len(manifest['shards'])} of {total} shards" in capsys.readouterr().out


def test_one_thing_at_a_time(config: SynthesizeConfig) -> None:
    with pytest.raises(InputError, match="Choose one of --preview and --dry-run"):
        synthesize.command(replace(config, preview=1, dry_run=True))
