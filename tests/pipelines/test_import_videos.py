"""Tests of pipelines/import_videos.py."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.dataset.manifest import Manifest
from bridge.dataset.videos.layout import PLATE
from bridge.dataset.videos.shard import STEPPY
from pipelines import build_index, evaluate, import_videos
from pipelines.build_index import BuildIndexConfig
from pipelines.import_videos import ImportVideosConfig
from pipelines.stages.evaluation_options import EvaluateConfig
from tests.searchable import make_model, without_actors
from tests.videos import GREY, SIZE, ball, moving, write_video


@pytest.fixture
def config(tmp_path: Path) -> ImportVideosConfig:
    """Two objects of two trajectories each, in three shards with one that is damaged."""
    root = tmp_path / "my videos"
    for object_id, side in (("cup", 8), ("mug", 12)):
        for number, speed in enumerate((0.5, 1)):
            frames = moving(41, speed, start=12, side=side)
            write_video(root / object_id / f"{number}.mkv", frames)
    (root / "mug" / "2.avi").write_bytes(b"no video")
    return ImportVideosConfig(
        videos=str(root),
        out=str(tmp_path / "real"),
        image_size=SIZE,
        image_format="png",
        most_frames=9,
        images=5,
        trajectories_per_shard=2,
        num_cpus=2,
    )


def rows_of(config: ImportVideosConfig, manifest: Manifest) -> dict[str, dict]:
    shards = sorted(manifest.shards)
    rows = [row for path in shards for row in pq.read_table(f"{config.folder}/{path}").to_pylist()]
    return {row["image_id"]: row for row in rows}


@pytest.mark.usefixtures("ray_cluster")
def test_videos_become_a_dataset(
    config: ImportVideosConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    manifest = import_videos.run(config)
    assert manifest.complete and manifest.kind == "videos" and len(manifest.shards) == 3
    counts = manifest.counts()["real"]
    assert (counts["rows"], counts["objects"], counts["trajectories"]) == (20, 2, 4)
    assert [(r.reason, r.item) for r in manifest.all_rejections] == [("unreadable", "mug/2.avi")]
    rows = rows_of(config, manifest)
    sharp = decode(rows["mug/001/0"]["image"]["bytes"])
    assert (sharp == ball(12 + 20, side=12)).all()
    blurred = rows["mug/001/4"]
    assert 0.1 < blurred["blur_severity"] < 0.6
    assert blurred["bbox"][2] * SIZE[1] == pytest.approx(12 - 1 + 8)
    assert "left out: 1 unreadable" in capsys.readouterr().out

    hashes = {path: shard.record.sha256 for path, shard in manifest.shards.items()}
    import_videos.run(config)
    assert "is complete" in capsys.readouterr().out
    again = import_videos.run(replace(config, out=config.out + " again"))
    assert {path: shard.record.sha256 for path, shard in again.shards.items()} == hashes


@pytest.mark.usefixtures("ray_cluster")
def test_an_interrupted_import_continues_to_the_same_bytes(config: ImportVideosConfig) -> None:
    manifest = import_videos.run(config)
    hashes = {path: shard.record.sha256 for path, shard in manifest.shards.items()}
    kept = sorted(manifest.shards)[1]
    before = os.stat(f"{config.folder}/{kept}").st_mtime_ns
    part = replace(manifest, shards={kept: manifest.shards[kept]}, complete=False)
    part.save(config.folder)
    for path in sorted(manifest.shards):
        if path != kept:
            os.unlink(f"{config.folder}/{path}")
    resumed = import_videos.run(config)
    assert {path: shard.record.sha256 for path, shard in resumed.shards.items()} == hashes
    assert os.stat(f"{config.folder}/{kept}").st_mtime_ns == before
    part.save(config.folder)
    write_video(Path(config.videos) / "cup" / "9.mkv", moving(10, 1))
    with pytest.raises(InputError, match="have changed since"):
        import_videos.run(config)
    with pytest.raises(InputError, match="response srgb instead of linear"):
        import_videos.run(replace(config, response="linear"))


@pytest.mark.usefixtures("ray_cluster")
def test_noted_levels_replace_the_proposed_ones(config: ImportVideosConfig, tmp_path: Path) -> None:
    labels = tmp_path / "labels.csv"
    labels.write_text("video,frames,blur_level\ncup/0.mkv,,3\ncup/0.mkv,9,6\n")
    manifest = import_videos.run(replace(config, labels=str(labels)))
    rows = rows_of(config, manifest)
    assert [rows[f"cup/000/{window}"]["blur_level"] for window in range(5)] == [3, 3, 3, 3, 6]
    assert rows["cup/001/0"]["blur_level"] == 1


@pytest.mark.usefixtures("ray_cluster")
def test_without_truth_levels_are_unknown(config: ImportVideosConfig) -> None:
    manifest = import_videos.run(replace(config, truth="none"))
    assert manifest.counts()["real"]["by_blur_level"] == {"0": 20}
    rows = rows_of(config, manifest)
    unknown = ("blur_level", "blur_severity", "bbox", "mean_opacity")
    assert all(row[name] is None for row in rows.values() for name in unknown)


@pytest.mark.usefixtures("ray_cluster")
def test_the_benchmark_of_fast_moving_objects_is_read(
    config: ImportVideosConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "tbd" / "imgs_gt" / "v_ball"
    folder.mkdir(parents=True)
    for number in range(32):
        Image.fromarray(ball(8 + 1.5 * number)).save(folder / f"{number + 1:08d}.png")
    (folder / "00000012.png").unlink()
    tbd = replace(config, videos=str(tmp_path / "tbd"), layout="fmo", most_frames=None, images=11)
    manifest = import_videos.run(tbd)
    counts = manifest.counts()["real"]
    # Of the second blurred frame the frames up to the hole, and none beyond.
    assert (counts["objects"], counts["trajectories"]) == (1, 4)
    rows = rows_of(tbd, manifest)
    assert [name for name in rows if name.startswith("v_ball/000/")] == [
        f"v_ball/000/{window}" for window in range(8)
    ]
    assert counts["rows"] < 4 * 8
    assert (decode(rows["v_ball/003/0"]["image"]["bytes"]) == ball(8 + 1.5 * 28)).all()
    steppy = {one.item for one in manifest.all_adjustments if one.reason == STEPPY}
    assert "v_ball/000/7" in steppy and "v_ball/000/0" not in steppy


@pytest.mark.usefixtures("ray_cluster")
@without_actors()
def test_videos_are_evaluated_by_the_protocol_of_real_images(
    config: ImportVideosConfig, tmp_path: Path
) -> None:
    import_videos.run(config)
    make_model(tmp_path / "model")
    index, report = str(tmp_path / "index"), tmp_path / "report"
    build_index.run(
        BuildIndexConfig(model=str(tmp_path / "model"), data=config.folder, out=index, num_cpus=2)
    )
    evaluate.run(EvaluateConfig(index=index, out=str(report)))
    scores = json.loads((report / "metrics.json").read_text())["protocols"]["real"]
    # Of each object one trajectory is the query.
    assert (scores["num_queries"], scores["num_database"]) == (10, 10)
    assert 0 < scores["map"] <= 1


def test_too_many_unusable_videos_are_refused(
    config: ImportVideosConfig, ray_cluster: None
) -> None:
    with pytest.raises(InputError, match=r"At least 1 of 5 videos came to nothing.*mug/2.avi"):
        import_videos.run(replace(config, max_rejected=0.1))


def test_a_preview_is_drawn_and_no_dataset_made(
    config: ImportVideosConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    import_videos.command(replace(config, preview=3))
    with Image.open(Path(config.out) / "preview.png") as sheet:
        assert (np.asarray(sheet) == (255, 214, 10)).all(axis=2).any()
    assert sorted(os.listdir(config.out)) == ["preview.png"]
    assert "preview.png" in capsys.readouterr().out


def test_a_preview_of_nothing_is_refused(config: ImportVideosConfig, tmp_path: Path) -> None:
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.mp4").write_bytes(b"no video")
    with pytest.raises(InputError, match="Not one video can be used, e.g. a.mp4: "):
        import_videos.preview(replace(config, videos=str(tmp_path / "bad")), 2)


def test_clean_plates_are_asked_for(config: ImportVideosConfig) -> None:
    with pytest.raises(InputError, match="no clean plate for cup/0.mkv"):
        import_videos.run(replace(config, truth="plate"))
    for name in ("cup", "mug"):
        plate = np.full((*SIZE, 3), GREY, np.uint8)
        Image.fromarray(plate).save(Path(config.videos) / name / f"{PLATE}.png")
    assert all(clip.plate for clip in import_videos.find_clips(replace(config, truth="plate")))


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"videos": "gone"}, "gone is no folder"),
        ({"labels": "gone.csv"}, "gone.csv does not exist"),
        ({"layout": "fmo"}, "holds no sequences"),
        ({"layout": "fmo", "truth": "plate"}, "--layout fmo has no clean plates"),
        ({"images": 129}, "`images` must be at most 128"),
        ({"most_frames": 0}, "`most_frames` must be at least 1"),
        ({"threshold": 0.0}, "`threshold` must be more than 0"),
    ],
)
def test_mistakes_are_named(config: ImportVideosConfig, change: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        import_videos.run(replace(config, **change))
    assert not Path(config.out).exists()


def test_without_pyav_the_command_that_installs_it_is_named(
    config: ImportVideosConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match="bridge-retrieval"):
        import_videos.run(config)
    assert not Path(config.out).exists()
