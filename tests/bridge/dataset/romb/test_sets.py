"""What is imported of trees and archives is what the simulator drew, label by label."""

from __future__ import annotations

import os
import shutil
import zipfile
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest

from bridge.blur import blur_level
from bridge.common.errors import InputError
from bridge.dataset.checks import verify_shard
from bridge.dataset.manifest import ShardResult
from bridge.dataset.romb.archives import read_archives
from bridge.dataset.romb.plan import Plan, make_romb_shard
from bridge.dataset.romb.sets import (
    USUAL_FOLDERS,
    PublishedSet,
    distractor_set,
    refuse_shared,
    synthetic_set,
)
from bridge.dataset.romb.sources import (
    Catalogue,
    Folder,
    Source,
    catalogue_of,
    categories_of,
    open_source,
    trajectories_of,
)
from tests.romb import (
    BLUR_FILES,
    Drawn,
    Generation,
    draw,
    write_distractor_statistics,
    write_split_info,
    write_statistics,
    write_tree,
    zipped,
)

ANYWHERE = ("", "./synthetic_data/", "/home/someone/old_name/synthetic_data/")
OBJECTS, TRAJECTORIES = 3, 2


@pytest.fixture(scope="module")
def pictures() -> dict[str, Drawn]:
    return draw(OBJECTS, TRAJECTORIES)


def opened(*paths: Path, name: str = "synthetic") -> tuple[Source, Catalogue]:
    """What the command does over the cluster."""
    place = open_source([str(path) for path in paths], USUAL_FOLDERS[name])  # type: ignore[index]
    if not isinstance(place, Folder):
        return read_archives(place)
    numbers: dict[str, np.ndarray] = {}
    for category in categories_of(place)[0]:
        numbers |= trajectories_of(category, place)[0]
    return place, catalogue_of(numbers)


def imported(
    found: PublishedSet, out: Path, read_alpha: bool = True
) -> tuple[dict[str, dict[str, Any]], list[ShardResult]]:
    """Rows by image id, and the shards."""
    tasks = list(Plan.of(found.parts))
    results = [make_romb_shard(task, str(out), read_alpha) for task in tasks]
    rows = [row for r in results for row in pq.read_table(out / r.record.path).to_pylist()]
    for row in rows:
        row["split"] = next(r.record.split for r in results if row["object_id"] in r.objects)
    assert len({row["image_id"] for row in rows}) == len(rows)
    for result in results:
        assert verify_shard(result, str(out), None).problems == ()
    return {row["image_id"]: row for row in rows}, results


def assert_as_drawn(row: dict[str, Any], drawn: Drawn, *, boxes: bool = True) -> None:
    sample = drawn.sample
    assert row["image"]["bytes"] == drawn.rendered
    assert row["object_id"] == drawn.object_id
    assert row["category"] == drawn.object_id.partition("/")[0]
    assert (row["trajectory"], row["window"]) == (drawn.trajectory, sample.window)
    assert row["blur_level"] == sample.blur_level
    assert row["blur_severity"] == pytest.approx(sample.blur_severity, abs=2e-6)
    if boxes:
        assert row["mean_opacity"] == pytest.approx(sample.mean_opacity, abs=1e-6)
        assert row["bbox"] == pytest.approx(sample.bbox, abs=1e-6)
    else:
        assert row["mean_opacity"] is None
        assert row["bbox"] is None


def containers(root: Path, kind: str) -> list[Path]:
    """The tree, as loose files or in archives."""
    if kind == "folder":
        return [root]
    if kind == "zip":
        return [zipped(root, root.with_suffix(".zip"))]
    if kind == "stored":
        return [zipped(root, root.with_suffix(".zip"), method=zipfile.ZIP_STORED)]
    parts = []
    for inner in sorted(root.iterdir()):
        archive = root.parent / f"part-{inner.name}.zip"
        with zipfile.ZipFile(archive, "w") as file:
            for path in sorted(inner.rglob("*")):
                file.write(path, f"{root.name}/{path.relative_to(root)}")
        parts.append(archive)
    return parts


@pytest.mark.parametrize("kind", ["folder", "zip", "stored", "parts"])
@pytest.mark.parametrize("generation", ["later", "earlier"])
@pytest.mark.parametrize("prefix", ANYWHERE)
def test_every_label_of_the_synthetic_set_is_the_simulators(
    kind: str, generation: Generation, prefix: str, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values())
    write_statistics(root, pictures.values(), generation, prefix)
    names = sorted({drawn.object_id for drawn in pictures.values()})
    splits = {n: ("train", "validation", "test")[i % 3] for i, n in enumerate(names)}
    write_split_info(root, splits, prefix)
    found = synthetic_set(*opened(*containers(root, kind)), seed=0, per_shard=3)
    assert found.rejections == found.adjustments == ()
    rows, results = imported(found, tmp_path / "out")
    assert rows.keys() == pictures.keys()
    for name, row in rows.items():
        assert_as_drawn(row, pictures[name])
        assert row["split"] == splits[row["object_id"]]
    assert [r.rejections for r in results] == [()] * len(results)


def test_shards_are_equal_byte_by_byte_wherever_they_come_from(
    pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values())
    write_statistics(root, pictures.values())
    digests = []
    for kind in ("folder", "zip", "parts", "folder"):
        found = synthetic_set(*opened(*containers(root, kind)), seed=0, per_shard=3)
        results = imported(found, tmp_path / "out")[1]
        digests.append([(r.record.path, r.record.sha256) for r in results])
    assert all(digest == digests[0] for digest in digests)


@pytest.mark.parametrize("generation", ["later", "earlier"])
def test_distractors(generation: Generation, pictures: dict[str, Drawn], tmp_path: Path) -> None:
    root = tmp_path / USUAL_FOLDERS["distractors"][generation == "earlier"]
    write_tree(root, pictures.values(), alpha=False)
    write_distractor_statistics(root, list(pictures.values()), generation)
    # The folder that holds the set will do.
    found = distractor_set(*opened(tmp_path, name="distractors"), per_shard=5)
    rows, _ = imported(found, tmp_path / "out")
    assert rows.keys() == pictures.keys()
    assert {row["split"] for row in rows.values()} == {"distractor"}
    for name, row in rows.items():
        assert_as_drawn(row, pictures[name], boxes=False)


def test_distractors_of_the_objects_of_the_other_set_are_refused(
    pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    write_tree(tmp_path, pictures.values())
    found = opened(tmp_path)
    with pytest.raises(InputError, match="share 6 objects"):
        refuse_shared(synthetic_set(*found, 0, 9), distractor_set(*found, 9))


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_without_statistics_labels_come_from_the_opacity(
    kind: str, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values())
    found = synthetic_set(*opened(*containers(root, kind)), seed=0, per_shard=3)
    for name, row in imported(found, tmp_path / "out")[0].items():
        assert_as_drawn(row, pictures[name])


@pytest.mark.parametrize("alpha", [True, False], ids=["not read", "not there"])
def test_without_both_they_are_not_known(
    alpha: bool, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    write_tree(tmp_path / "synthetic_data", pictures.values(), alpha=alpha)
    found = synthetic_set(*opened(tmp_path), seed=0, per_shard=3)
    rows, results = imported(found, tmp_path / "out", read_alpha=not alpha)
    unknown = ("blur_level", "blur_severity", "mean_opacity", "bbox")
    assert {row[name] for row in rows.values() for name in unknown} == {None}
    assert sum(Counter(r.by_blur_level)["0"] for r in results) == len(rows) == len(pictures)


def test_a_picture_that_the_statistics_do_not_name_has_the_labels_of_its_opacity(
    pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    write_tree(tmp_path, pictures.values())
    named = [drawn for drawn in pictures.values() if drawn.sample.window != 7]
    write_statistics(tmp_path, named)
    for name, row in imported(synthetic_set(*opened(tmp_path), 0, 9), tmp_path / "out")[0].items():
        assert_as_drawn(row, pictures[name])


def rejected(results: Iterable[ShardResult]) -> dict[str, str]:
    return {r.item: r.reason for result in results for r in result.rejections}


@pytest.mark.parametrize("kind", ["folder", "zip"])
def test_what_is_missing_or_damaged_is_named(
    kind: str, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values())
    write_statistics(root, pictures.values())
    first, second, third, *_ = sorted({d.object_id for d in pictures.values()})
    (root / first / "000/3_rendered.png").unlink()
    cut, altered = root / first / "000/4_rendered.png", root / first / "001/5_rendered.png"
    cut.write_bytes(cut.read_bytes()[:-20])
    data = bytearray(altered.read_bytes())
    data[60] ^= 1
    altered.write_bytes(data)
    (root / first / "001/6_rendered.png").write_bytes(b"no picture")
    (root / first / "001/7_blurred.png").write_bytes(b"no picture")
    for path in (root / second / "001").iterdir():
        path.unlink()
    shutil.rmtree(root / second / "000")
    shutil.rmtree(root / third)
    found = synthetic_set(*opened(*containers(root, kind)), seed=0, per_shard=3)
    assert {(r.reason, r.item) for r in found.rejections} == {
        ("missing_object", third),
        ("missing_trajectory", f"{second}/000"),
    }
    rows, results = imported(found, tmp_path / "out")
    assert rejected(results) == {
        f"{first}/000/3": "missing_image",
        f"{first}/000/4": "damaged_image",
        f"{first}/001/5": "damaged_image",
        f"{first}/001/6": "damaged_image",
        f"{first}/001/7": "damaged_alpha",
        f"{second}/001": "empty_trajectory",
    }
    gone = {f"{first}/000/3", f"{first}/000/4", f"{first}/001/5", f"{first}/001/6"}
    gone |= {name for name in pictures if name.startswith((f"{second}/", f"{third}/"))}
    assert rows.keys() == pictures.keys() - gone
    assert_as_drawn(rows[f"{first}/001/7"], pictures[f"{first}/001/7"], boxes=False)


def test_links_to_pictures_are_not_followed(pictures: dict[str, Drawn], tmp_path: Path) -> None:
    root = tmp_path / "tree"
    write_tree(root, pictures.values())
    name = min(pictures)
    outside = tmp_path / "outside.png"
    picture = root / f"{name}_rendered.png"
    picture.rename(outside)
    os.symlink(outside, picture)
    rows, results = imported(synthetic_set(*opened(root), 0, 9), tmp_path / "out")
    assert rejected(results) == {name: "damaged_image"}
    assert rows.keys() == pictures.keys() - {name}


def test_names_may_have_spaces_accents_and_dashes_and_models_the_same_name(tmp_path: Path) -> None:
    """An object is a model of a category, whatever other categories call theirs."""
    categories = ("-rf weiß", "02958343")
    drawn = draw(1, 1, categories=categories)
    model = "-ein Modell é"
    pictures = {}
    for old in drawn.values():
        object_id = f"{old.object_id.partition('/')[0]}/{model}"
        new = Drawn(object_id, old.trajectory, old.sample, old.rendered, old.blurred)
        pictures[new.image_id] = new
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values())
    write_statistics(root, pictures.values())
    for kind in ("folder", "zip"):
        found = synthetic_set(*opened(*containers(root, kind)), seed=0, per_shard=9)
        rows, _ = imported(found, tmp_path / kind)
        assert {row["object_id"] for row in rows.values()} == {f"{c}/{model}" for c in categories}
        for name, row in rows.items():
            assert_as_drawn(row, pictures[name])


def test_what_is_no_set_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        opened(tmp_path / "nowhere")
    (tmp_path / "file.txt").write_text("")
    with pytest.raises(InputError, match="neither a folder nor a zip archive"):
        opened(tmp_path / "file.txt")
    with pytest.raises(InputError, match="one folder, or any number"):
        opened(tmp_path, tmp_path)
    with pytest.raises(InputError, match="holds no trajectories"):
        synthetic_set(*opened(tmp_path), 0, 9)
    (tmp_path / "photos" / "holiday").mkdir(parents=True)
    with pytest.raises(InputError, match="holds no trajectories"):
        synthetic_set(*opened(tmp_path / "photos"), 0, 9)


def test_a_folder_of_archives_is_a_set(pictures: dict[str, Drawn], tmp_path: Path) -> None:
    root, downloads = tmp_path / "synthetic_data", tmp_path / "downloads"
    write_tree(root, pictures.values())
    downloads.mkdir()
    for path in containers(root, "parts"):
        path.rename(downloads / path.name)
    assert len(imported(synthetic_set(*opened(downloads), 0, 9), tmp_path / "o")[0]) == len(
        pictures
    )


def test_the_division_must_be_one(pictures: dict[str, Drawn], tmp_path: Path) -> None:
    write_tree(tmp_path, pictures.values())
    one, *others = sorted({drawn.object_id for drawn in pictures.values()})
    write_split_info(tmp_path, dict.fromkeys(others, "train"), "")
    found = synthetic_set(*opened(tmp_path), 0, 9)
    assert [(r.reason, r.item) for r in found.rejections] == [("object_in_no_split", one)]
    info = tmp_path / "stats/loader/data_split_info.json"
    info.write_text(
        info.read_text().replace(
            '"test_instance_folders": []', f'"test_instance_folders": ["a/{others[0]}"]'
        )
    )
    with pytest.raises(InputError, match="is in train and in test"):
        synthetic_set(*opened(tmp_path), 0, 9)


def test_levels_of_rows_follow_from_their_severities(
    pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    """Also after a trip through float32: `verify_shard` in `imported` compares them."""
    write_tree(tmp_path, pictures.values(), alpha=False)
    write_statistics(tmp_path, pictures.values())
    edges = np.array([0.1, 0.2, 0.3, 0.7, 0.8, 0.9, np.nextafter(0.7, 0), np.nextafter(0.9, 0)])
    lists, values = (tmp_path / "stats" / name for name in BLUR_FILES["later"])
    names = sorted(pictures)[: len(edges)]
    levels = 10 - (np.arange(11) / 10 <= edges[:, None]).sum(axis=1)
    by_level = [[n for n, lv in zip(names, levels, strict=True) if lv == k] for k in range(10)]
    lists.write_text(str([[f"{n}_blurred.png" for n in ns] for ns in by_level]).replace("'", '"'))
    np.savez(values, *[edges[levels == k] for k in range(10)])
    rows, _ = imported(synthetic_set(*opened(tmp_path), 0, 9), tmp_path / "out")
    assert [rows[n]["blur_level"] for n in names] == (levels + 1).tolist()
    assert all(blur_level(rows[n]["blur_severity"]) == rows[n]["blur_level"] for n in names)
