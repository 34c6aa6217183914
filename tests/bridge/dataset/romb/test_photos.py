"""The real set: which photos are queries, and all counts of the published list."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import Manifest
from bridge.dataset.romb.archives import read_photo_archives
from bridge.dataset.romb.plan import Plan, make_romb_shard
from bridge.dataset.romb.sets import PublishedSet, real_set
from bridge.dataset.romb.sources import Folder
from bridge.dataset.splits import real_queries_and_database
from tests.romb import tiny_png, write_json, zipped

QUERIES = (612, 620, 561, 396, 315, 249)
DATABASE = (1923, 1803, 2080, 1745, 1375, 1414)
"""Photos of each blur level: Table 1 of the paper."""
OBJECTS, TRAJECTORIES = 35, 139
FEWEST, MOST = 12, 157
TIED = (3, 5, 8, 9, 10, 27)
"""Objects with several trajectories of the fewest photos."""


def published_list() -> list[str]:
    """Paths as the published list has them, with its counts: level by level, then by name.

    Trajectory 0 is the query of the tied objects, and another one of most others.
    """
    rng = np.random.default_rng(0)
    queries = [79 if i < 23 else 78 for i in range(OBJECTS)]
    assert sum(queries) == sum(QUERIES)
    per_object = [4 if i % 35 < 34 else 3 for i in range(OBJECTS)]
    assert sum(per_object) == TRAJECTORIES
    others = [(i, t) for i in range(OBJECTS) for t in range(1, per_object[i])]
    sizes = {key: queries[key[0]] + 1 for key in others}
    for i in TIED:
        sizes[i, 1] = queries[i]
    free = [key for key in others if key[1] > 1 or key[0] not in TIED]
    rest, place = sum(DATABASE) - sum(sizes.values()), 0
    while rest:
        key = free[place % len(free)]
        step = min(rest, MOST - sizes[key], 30)
        sizes[key], rest, place = sizes[key] + step, rest - step, place + 1
    # The query is not always the first trajectory.
    number = {key: key[1] for key in others}
    first = dict.fromkeys(range(OBJECTS), 0)
    for i in range(OBJECTS):
        if i not in TIED and i % 2:
            number[i, 1], first[i] = 0, 1
    paths = []
    for counts, groups in (
        (QUERIES, [(i, first[i], queries[i]) for i in range(OBJECTS)]),
        (DATABASE, [(i, number[i, t], sizes[i, t]) for i, t in others]),
    ):
        levels = rng.permutation(np.repeat(np.arange(1, 7), counts))
        photos = [(i, t, k) for i, t, size in groups for k in range(size)]
        paths += [
            f"./real_data/blur_level_{level}/{i:03d}_{t:03d}_{k:03d}.png"
            for level, (i, t, k) in zip(levels, photos, strict=True)
        ]
    return sorted(paths)


def imported(found: PublishedSet, out: Path) -> Manifest:
    results = [make_romb_shard(task, str(out), True) for task in Plan.of(found.parts)]
    manifest = Manifest("romb", {}).with_shards(results).finished()
    manifest.save(str(out))
    return manifest


def test_the_rule_gives_the_counts_of_the_paper(tmp_path: Path) -> None:
    paths = published_list()
    root = tmp_path / "real_data"
    write_json(root / "stats/all_images.json", paths)
    for level in range(1, 7):
        (root / f"blur_level_{level}").mkdir()
    for number, path in enumerate(paths):
        (tmp_path / path).write_bytes(tiny_png(number))
    found = real_set(*read_photo_archives([str(zipped(root, tmp_path / "real_data.zip"))]))
    manifest = imported(found, tmp_path / "out")
    counts = manifest.counts()["real"]
    assert (counts["rows"], counts["objects"]) == (13_093, OBJECTS)
    assert counts["trajectories"] == TRAJECTORIES
    labels = read_labels(str(tmp_path / "out"), manifest, "real")
    sides = real_queries_and_database(labels)
    assert (len(sides.queries), len(sides.database)) == (2_753, 10_340)
    for rows, wanted in ((sides.queries, QUERIES), (sides.database, DATABASE)):
        found_levels = Counter(labels.blur_level[rows].tolist())
        assert found_levels == Counter(dict(enumerate(wanted, start=1)))
    tied = {f"real/{i:03d}" for i in TIED}
    for row in sides.queries:
        if labels.objects[labels.object[row]] in tied:
            assert labels.trajectory[row] == 0


def small(root: Path, paths: list[str]) -> None:
    for number, path in enumerate(paths):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(tiny_png(number))


SMALL = [
    "blur_level_1/000_001_000.png",
    "blur_level_1/000_000_000.png",
    "blur_level_2/000_000_001.png",
    "blur_level_2/000_001_001.png",
    "blur_level_3/000_002_000.png",
    "blur_level_3/000_002_001.png",
    "blur_level_3/000_002_002.png",
]


@pytest.mark.parametrize("listed", ["stats/all_images.json", "all_images.json", None])
def test_of_equally_short_trajectories_the_first_of_the_list_is_the_query(
    listed: str | None, tmp_path: Path
) -> None:
    root = tmp_path / "real_data"
    small(root, SMALL)
    if listed:
        write_json(root / listed, [f"/somewhere/real_data/{path}" for path in SMALL])
    manifest = imported(real_set(Folder(str(root)), None), tmp_path / "out")
    labels = read_labels(str(tmp_path / "out"), manifest, "real")
    queries = real_queries_and_database(labels).queries
    # Without a list it is the first by name.
    assert set(labels.trajectory[queries].tolist()) == {1 if listed else 0}
    (shard,) = manifest.shards
    for row in pq.read_table(tmp_path / "out" / shard).to_pylist():
        level, name = row["image"]["path"].split("/")
        assert row["image"]["bytes"] == (root / level / name).read_bytes()
        assert row["blur_level"] == int(level[-1])
        assert row["object_id"] == "real/000"
        assert row["trajectory"] == int(name[4:7])
        assert (row["bbox"], row["blur_severity"], row["mean_opacity"]) == (None, None, None)


def test_photos_that_are_missing_or_damaged_are_named(tmp_path: Path) -> None:
    small(tmp_path, SMALL)
    write_json(tmp_path / "all_images.json", SMALL)
    (tmp_path / SMALL[0]).unlink()
    (tmp_path / SMALL[6]).write_bytes(b"")
    manifest = imported(real_set(Folder(str(tmp_path)), None), tmp_path / "out")
    assert [(r.reason, r.item) for r in manifest.all_rejections] == [
        ("missing_image", "real/000/001/1-000"),
        ("damaged_image", "real/000/002/3-002"),
    ]


@pytest.mark.parametrize(
    ("listed", "message"),
    [
        ([], "names no photo"),
        (["blur_level_1/000_000_000.png"] * 2, "names photos twice"),
        (["blur_level_1/000_000.png"], "names 1 paths that are not of the published layout"),
        (["blur_level_1/../../000_000_000.png"], "not of the published layout"),
        ({"a": 1}, "no list of paths"),
        ([1], "no list of paths"),
    ],
)
def test_lists_of_other_things_are_refused(listed: object, message: str, tmp_path: Path) -> None:
    (tmp_path / "all_images.json").write_text(json.dumps(listed))
    with pytest.raises(InputError, match=message):
        real_set(Folder(str(tmp_path)), None)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="names no photo"):
        real_set(Folder(str(tmp_path)), None)
