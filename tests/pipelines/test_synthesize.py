from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import psutil
import pyarrow.parquet as pq
import pytest
from PIL import Image

from bridge.blur import blur_level
from bridge.common.cli import as_options
from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.common.storage import sha256
from bridge.dataset.manifest import Manifest, load_manifest, open_manifest
from bridge.dataset.schema import SHARD_SCHEMA
from pipelines import synthesize
from pipelines.stages import synthesis
from pipelines.stages import synthesis_inputs as inputs
from pipelines.synthesize import SynthesizeConfig
from tests.bridge.simulator.meshes.gltf_files import Gltf
from tests.factories import make_meshes, textured_box
from tests.waiting import PATIENCE, wait_until

ROOT = Path(__file__).parents[2]
SIZE = (48, 64)
pytestmark = pytest.mark.usefixtures("ray_cluster")


def hashes(folder: Path) -> dict[str, str]:
    """What is on the disk, by path, and that the manifest says the same."""
    manifest = json.loads((folder / "manifest.json").read_text())
    found = {
        str(path.relative_to(folder)): sha256(path.read_bytes())
        for path in sorted((folder / "data").iterdir())
    }
    assert found == {shard["path"]: shard["sha256"] for shard in manifest["shards"]}
    return found


def test_shards_and_manifest_are_the_contract(dataset: Path) -> None:
    manifest = json.loads((dataset / "manifest.json").read_text())
    assert manifest["complete"] and manifest["kind"] == "dataset"
    rows = []
    for shard in manifest["shards"]:
        table = pq.read_table(dataset / shard["path"])
        assert table.schema.equals(SHARD_SCHEMA)
        assert (table.num_rows, (dataset / shard["path"]).stat().st_size) == (
            shard["rows"],
            shard["bytes"],
        )
        rows += [row | {"split": shard["split"]} for row in table.to_pylist()]
    hashes(dataset)
    assert len({row["image_id"] for row in rows}) == len(rows) == 15 * 3 * 11
    for split, counts in manifest["counts"].items():
        mine = [row for row in rows if row["split"] == split]
        assert counts["rows"] == len(mine)
        assert counts["objects"] == len({row["object_id"] for row in mine})
        levels = Counter(str(row["blur_level"]) for row in mine)
        assert counts["by_blur_level"] == dict(levels)
    objects = {row["object_id"]: row["split"] for row in rows}
    # 8 and 7 objects per category: 5 + 4 train, 1 + 1 validation, the rest test.
    assert Counter(objects.values()) == {"train": 9, "validation": 2, "test": 4}


def test_labels_and_pictures_belong_together(dataset: Path) -> None:
    for path in sorted((dataset / "data").iterdir())[:3]:
        for row in pq.read_table(path).to_pylist():
            assert row["image_id"] == (
                f"{row['object_id']}/{row['trajectory']:03d}/{row['window']}"
            )
            assert decode(row["image"]["bytes"]).shape == (*SIZE, 3)
            assert blur_level(row["blur_severity"]) == row["blur_level"]
            cx, cy, w, h = row["bbox"]
            assert cx - w / 2 >= 0 and cx + w / 2 <= 1 and cy - h / 2 >= 0 and cy + h / 2 <= 1
            if row["window"] == 0:
                assert row["blur_level"] == 1


def test_one_background_per_trajectory_and_growing_blur(dataset: Path) -> None:
    rows = pq.read_table(next((dataset / "data").glob("train-*"))).to_pylist()
    for start in range(0, len(rows), 11):
        trajectory = rows[start : start + 11]
        assert [row["window"] for row in trajectory] == list(range(11))
        assert len({row["background_id"] for row in trajectory}) == 1
        severities = [row["blur_severity"] for row in trajectory]
        assert severities[10] > severities[5] > severities[0]


def test_a_second_run_does_nothing(dataset: Path, config: SynthesizeConfig) -> None:
    before = {path: path.stat().st_mtime_ns for path in dataset.rglob("*")}
    synthesize.run(config)
    assert {path: path.stat().st_mtime_ns for path in dataset.rglob("*")} == before


def test_another_configuration_in_the_same_folder_is_refused(
    dataset: Path, config: SynthesizeConfig
) -> None:
    with pytest.raises(InputError, match="seed 0 instead of 1"):
        synthesize.run(replace(config, seed=1))


def test_missing_shards_come_back_byte_equal(
    dataset: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    for shard in manifest["shards"][1::2]:
        (copy / shard["path"]).unlink()
    manifest["shards"] = manifest["shards"][::2]
    manifest["complete"] = False
    (copy / "manifest.json").write_text(json.dumps(manifest))
    synthesize.run(replace(config, out=str(copy)))
    assert hashes(copy) == hashes(dataset)


def test_a_dataset_older_than_an_option_is_continued_byte_equal(
    dataset: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    manifest = json.loads((copy / "manifest.json").read_text())
    later = ("erosion_pixels", "filter", "objects")
    assert [manifest["config"].pop(name) for name in later] == [1, "coverage", "textured"]
    (copy / manifest["shards"].pop()["path"]).unlink()
    (copy / "manifest.json").write_text(json.dumps(manifest | {"complete": False}))
    synthesize.run(replace(config, out=str(copy)))
    assert hashes(copy) == hashes(dataset)
    with pytest.raises(InputError, match="erosion_pixels 1 instead of 3"):
        synthesize.run(replace(config, out=str(copy), erosion_pixels=3))
    with pytest.raises(InputError, match="filter coverage instead of endpoint-iou"):
        synthesize.run(replace(config, out=str(copy), filter="endpoint-iou"))
    with pytest.raises(InputError, match="objects textured instead of any"):
        synthesize.run(replace(config, out=str(copy), objects="any"))


def test_distractors_use_other_objects_and_a_background_per_image(
    meshes: Path, dataset: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    make_meshes(tmp_path / "more", {"extra": 3}, seed=1)
    shutil.copytree(meshes, tmp_path / "more", dirs_exist_ok=True)
    distractors = replace(
        config,
        kind="distractors",
        meshes=str(tmp_path / "more"),
        exclude=str(dataset),
        out=str(tmp_path / "distractors"),
    )
    synthesize.run(distractors)
    manifest = open_manifest(str(tmp_path / "distractors"))
    assert manifest.objects == {"extra/000", "extra/001", "extra/002"}
    rows = pq.read_table(tmp_path / "distractors" / next(iter(manifest.shards))).to_pylist()
    assert len({row["background_id"] for row in rows[:11]}) > 5
    with pytest.raises(InputError, match="uses every object"):
        synthesize.run(replace(distractors, meshes=str(meshes), out=str(tmp_path / "none")))
    assert not (tmp_path / "none").exists()


def test_built_in_objects_need_no_input(tmp_path: Path) -> None:
    small = SynthesizeConfig(
        out=str(tmp_path / "a"), objects_per_category=1, trajectories=1, image_size=SIZE
    )
    synthesize.run(small)
    manifest = open_manifest(str(tmp_path / "a"))
    assert len({name.split("/")[0] for name in manifest.objects}) >= 12
    synthesize.run(replace(small, out=str(tmp_path / "b"), kind="distractors"))
    assert not manifest.objects & open_manifest(str(tmp_path / "b")).objects


def test_bad_files_among_good_ones_are_recorded(meshes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "meshes"
    shutil.copytree(meshes, folder)
    whole = (folder / "box" / "000.glb").read_bytes()
    (folder / "box" / "torn.glb").write_bytes(whole[: len(whole) // 2])
    (folder / "box" / "empty.obj").write_text("v 0 0 0\nv 1 0 0\nv 0 1 0\n")
    bare = textured_box(np.random.default_rng(0))
    (folder / "box" / "bare.obj").write_text(
        "".join(f"v {x} {y} {z}\n" for x, y, z in bare.vertices)
        + "".join(f"f {a + 1} {b + 1} {c + 1}\n" for a, b, c in bare.faces)
    )
    photos = tmp_path / "photos"
    photos.mkdir()
    noise = np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8)
    for number in range(6):
        Image.fromarray(noise).save(photos / f"{number}.jpg")
    for number in range(6):
        data = (photos / f"{number}.jpg").read_bytes()
        (photos / f"torn{number}.jpg").write_bytes(data[: len(data) // 3])
    config = SynthesizeConfig(
        out=str(tmp_path / "out"),
        meshes=str(folder),
        backgrounds=str(photos),
        trajectories=2,
        image_size=SIZE,
    )
    synthesize.run(config)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    rejected = manifest["rejected"]
    assert rejected["unreadable"] == rejected["no_faces"] == rejected["no_texture"] == 1
    assert 1 <= rejected["background"] <= 6
    assert manifest["counts"]["train"]["objects"] == 9
    items = {item["item"] for item in manifest["rejected_items"]}
    assert {"box/torn", "box/empty", "box/bare"} <= items
    with pytest.raises(InputError, match="At least 2 of 18 meshes"):
        synthesize.run(replace(config, out=str(tmp_path / "strict"), max_rejected=0.1))
    assert not (tmp_path / "strict" / "manifest.json").exists()


def test_a_changed_mesh_folder_does_not_continue_an_old_dataset(
    meshes: Path, dataset: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"
    copy.mkdir()
    manifest = json.loads((dataset / "manifest.json").read_text()) | {"complete": False}
    manifest["config"]["catalogue"] = "another"
    (copy / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="have changed since"):
        synthesize.run(replace(config, out=str(copy)))


def test_others_take_the_place_of_meshes_that_cannot_be_used(meshes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "meshes"
    shutil.copytree(meshes, folder)
    for number in range(4):
        (folder / "box" / f"torn{number}.glb").write_bytes(b"nothing")
    config = SynthesizeConfig(
        out=str(tmp_path / "out"),
        meshes=str(folder),
        objects_per_category=7,
        trajectories=1,
        image_size=SIZE,
        max_rejected=1.0,
    )
    manifest = synthesize.run(config)
    counts = Counter(name.split("/")[0] for name in manifest.objects)
    assert counts == {"box": 7, "brick": 7}
    assert {r.reason for r in manifest.rejections} <= {"unreadable"}
    assert synthesize.run(config).content_hash == manifest.content_hash


def test_plain_meshes_are_refused_with_the_option_that_takes_them(tmp_path: Path) -> None:
    (tmp_path / "box").mkdir()
    for name in ("000", "001"):
        gltf = Gltf()
        gltf.mesh(*(gltf.square(gltf.plain(x, 0, 0, 1)) for x in (0, 1)))
        gltf.save(tmp_path).rename(tmp_path / "box" / f"{name}.glb")
    refused = SynthesizeConfig(meshes=str(tmp_path), out=str(tmp_path / "out"))
    with pytest.raises(InputError, match="no_texture.*`objects` coloured takes it") as caught:
        synthesis.check_objects(refused, inputs.object_pool(refused))
    assert "--objects coloured takes it" in as_options(str(caught.value))
    taken = replace(refused, objects="coloured")
    assert synthesis.check_objects(taken, inputs.object_pool(taken)) == ((), ())


def test_meshes_that_vanish_on_the_way_end_the_run_only_when_too_many(
    meshes: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    folder = tmp_path / "meshes"
    shutil.copytree(meshes, folder)
    small = replace(config, meshes=str(folder), out=str(tmp_path / "out"), trajectories=1)
    entries = inputs.choose_objects(small, inputs.object_pool(small))
    backgrounds = inputs.open_backgrounds(small)
    plan = synthesis.plan_of(small, entries)
    for number in range(5):
        (folder / "box" / f"{number:03d}.glb").unlink()
    empty = Manifest("dataset", {})
    strict = replace(small, max_rejected=0.1)
    with pytest.raises(InputError, match="At least . of 15 trajectories came to nothing"):
        synthesis.make_missing_shards(strict, empty, plan, backgrounds)
    begun = load_manifest(strict.folder)
    assert begun.shards
    with pytest.raises(InputError, match="came to nothing"):
        synthesis.make_missing_shards(strict, begun, plan, backgrounds)
    done = synthesis.make_missing_shards(small, begun, plan, backgrounds)
    assert done.to_json()["rejected"] == {"trajectory": 5}
    assert sum(counts["objects"] for counts in done.counts().values()) == 10


def test_verify_ends_with_1_where_anything_is_wrong(dataset: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(dataset, copy)
    # As datasets are that were made before there were cards.
    (copy / "README.md").unlink()
    for expected in (0, 1):
        with pytest.raises(SystemExit) as exit_info:
            synthesize.command(SynthesizeConfig(verify=str(copy)))
        assert exit_info.value.code == expected
        assert (copy / "README.md").read_bytes() == (dataset / "README.md").read_bytes()
        next((copy / "data").iterdir()).unlink()


def command(config: SynthesizeConfig, out: Path) -> list[str]:
    return [
        *(sys.executable, str(ROOT / "pipelines" / "synthesize.py"), "--out", str(out)),
        *("--meshes", str(config.meshes), "--trajectories", str(config.trajectories)),
        *("--image-size", *map(str, config.image_size), "--num-cpus", "2"),
        *("--trajectories-per-shard", str(config.trajectories_per_shard)),
    ]


@pytest.mark.long
def test_killed_drivers_and_workers_change_nothing(
    dataset: Path, config: SynthesizeConfig, tmp_path: Path
) -> None:
    out = tmp_path / "killed"
    driver = subprocess.Popen(command(config, out), stdout=subprocess.DEVNULL, text=True)
    wait_until(lambda: len(list((out / "data").glob("*.parquet"))) >= 2, driver)
    driver.send_signal(signal.SIGKILL)
    driver.wait()
    killed_at = len(list((out / "data").glob("*.parquet")))
    second = subprocess.Popen(command(config, out), stdout=subprocess.PIPE, text=True)
    workers: list[psutil.Process] = []

    def find() -> bool:
        workers[:] = [
            process
            for process in psutil.Process(second.pid).children(recursive=True)
            if "ray::MapWorker" in " ".join(process.cmdline())
        ]
        return bool(workers) or second.poll() is not None

    wait_until(find, second)
    for worker in workers:
        worker.kill()
    output, _ = second.communicate(timeout=PATIENCE)
    assert second.returncode == 0, output
    assert killed_at < len(hashes(dataset))
    assert hashes(out) == hashes(dataset)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--meshes", "nowhere"], "nowhere"),
        (["--meshes", "{empty}"], "{empty}"),
        (["--backgrounds", "{empty}"], "{empty}"),
        (["--trajectories", "0"], "--trajectories must be at least 1"),
        (["--verify", "{empty}"], "not a dataset"),
        (["--verify", "{empty}", "--num-cpus", "0"], "--num-cpus must be at least 1"),
        (["--out", "{file}/x"], "cannot be written"),
        (["--exclude", "{empty}", "--meshes", "{meshes}"], "not a dataset"),
    ],
)
def test_bad_input_is_one_sentence_and_exit_code_2(
    arguments: list[str], message: str, tmp_path: Path, meshes: Path
) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    names = {"empty": tmp_path / "empty", "file": tmp_path / "file", "meshes": meshes}
    filled = [argument.format(**names) for argument in arguments]
    result = subprocess.run(
        [sys.executable, str(ROOT / "pipelines" / "synthesize.py"), *filled],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    assert result.returncode == 2
    assert message.format(**names) in result.stderr
    assert result.stderr.startswith("error: ") and len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "data").exists()
