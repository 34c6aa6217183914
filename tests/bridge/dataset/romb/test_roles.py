"""The published selections decide; what was not published is drawn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest
from bridge.dataset.romb.plan import Plan, make_romb_shard
from bridge.dataset.romb.roles import published_real_selections, published_selections
from bridge.dataset.romb.roles import write_selections as write
from bridge.dataset.romb.sets import synthetic_set
from bridge.dataset.romb.sources import Folder
from bridge.dataset.selections import open_selections
from bridge.dataset.splits import queries_and_database, training_rows
from tests.bridge.dataset.romb.test_sets import opened
from tests.romb import (
    PER_LEVEL,
    TEST_FOLDER,
    Drawn,
    Generation,
    draw,
    write_selection,
    write_split_info,
    write_statistics,
    write_tree,
)

PREFIX = "/data/synthetic_data/"


@pytest.fixture(scope="module")
def pictures() -> dict[str, Drawn]:
    return draw(3, 2)


@pytest.fixture
def root(pictures: dict[str, Drawn], tmp_path: Path) -> Path:
    """A set whose first two objects train, the next two validate and the others test."""
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values(), alpha=False)
    write_statistics(root, pictures.values())
    names = sorted({drawn.object_id for drawn in pictures.values()})
    splits = ("train", "train", "validation", "validation", "test", "test")
    write_split_info(root, dict(zip(names, splits, strict=True)), PREFIX)
    return root


def of_split(
    pictures: dict[str, Drawn], split: str, trajectory: int, windows: list[int]
) -> list[str]:
    names = sorted({drawn.object_id for drawn in pictures.values()})
    chosen = {"train": names[:2], "validation": names[2:4], "test": names[4:]}[split]
    return [f"{name}/{trajectory:03d}/{window}" for name in chosen for window in windows]


def imported(root: Path, out: Path) -> tuple[Manifest, dict[tuple[str, str], set[str]], list[str]]:
    """The manifest, image ids by split and role, and what was selected and is not there."""
    found = synthetic_set(*opened(root), seed=0, per_shard=9)
    results = [make_romb_shard(task, str(out), True) for task in Plan.of(found.parts)]
    manifest = Manifest("romb", {}).with_shards(results).finished()
    manifest.save(str(out))
    missing = write(str(out), manifest, found.selections, seed=0)
    labels = {s: read_labels(str(out), manifest, s) for s in ("train", "validation", "test")}
    where = {name: s for s, part in labels.items() for name in part.image_id.to_pylist()}
    chosen: dict[tuple[str, str], set[str]] = {}
    for row in pq.read_table(out / "selections.parquet").to_pylist():
        chosen.setdefault((where[row["image_id"]], row["role"]), set()).add(row["image_id"])
    open_selections(str(out), manifest, 0)
    return manifest, chosen, [rejection.item for rejection in missing]


@pytest.mark.parametrize("generation", ["later", "earlier"])
def test_published_selections_decide(
    generation: Generation, root: Path, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    loader = root / "stats/loader"
    wanted = {}
    for split, folder, role, file, trajectory, windows in (
        ("train", "train", "train", "instance_images_mixed.npy", 0, [1, 5]),
        ("validation", "val", "validation", "instance_images_mixed.npy", 1, [2]),
        ("validation", "val_dbq", "query", "instance_images_q_mixed.npy", 0, [3]),
        ("validation", "val_dbq", "database", "instance_images_db_mixed.npy", 1, [4]),
        ("test", None, "query", "instance_images_q_mixed.npy", 0, [0, 6]),
        ("test", None, "database", "instance_images_db_mixed.npy", 1, [2]),
        ("test", None, "database_per_level", PER_LEVEL[generation], 1, [0, 2, 9]),
    ):
        path = loader / folder / file if folder else root / "stats" / TEST_FOLDER[generation] / file
        names = of_split(pictures, split, trajectory, windows)
        write_selection(path, pictures, names, PREFIX, plain=folder in ("train", "val"))
        wanted[split, role] = set(names)
    _, chosen, missing = imported(root, tmp_path / "out")
    assert chosen == wanted
    assert missing == []


def test_what_was_not_published_is_drawn_by_the_rules(
    root: Path, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    loader = root / "stats/loader/test"
    for file, trajectory in (("q", 0), ("db", 1)):
        names = of_split(pictures, "test", trajectory, [1])
        path = loader / f"instance_images_{file}_mixed.npy"
        write_selection(path, pictures, names, PREFIX, plain=False)
    manifest, chosen, _ = imported(root, tmp_path / "out")

    def ids(labels: Labels, rows: np.ndarray) -> set[str]:
        return set(labels.image_id.take(rows).to_pylist())

    labels = {s: read_labels(str(tmp_path / "out"), manifest, s) for s in ("train", "validation")}
    sides = queries_and_database(labels["validation"], 0)
    assert chosen["train", "train"] == ids(labels["train"], training_rows(labels["train"], 0))
    assert chosen["validation", "query"] == ids(labels["validation"], sides.queries)
    assert chosen["validation", "database"] == ids(labels["validation"], sides.database)
    assert chosen["test", "query"] == set(of_split(pictures, "test", 0, [1]))
    # Pictures of the published queries could be drawn for it.
    assert ("test", "database_per_level") not in chosen


def test_half_of_a_pair_is_not_used(root: Path, pictures: dict[str, Drawn], tmp_path: Path) -> None:
    names = of_split(pictures, "test", 1, [9])
    path = root / "stats/loader/test/instance_images_q_mixed.npy"
    write_selection(path, pictures, names, PREFIX, plain=False)
    manifest, chosen, _ = imported(root, tmp_path / "out")
    labels = read_labels(str(tmp_path / "out"), manifest, "test")
    drawn = queries_and_database(labels, 0)
    assert chosen["test", "query"] == set(labels.image_id.take(drawn.queries).to_pylist())


def test_selected_pictures_that_are_not_there_are_named(
    root: Path, pictures: dict[str, Drawn], tmp_path: Path
) -> None:
    names = of_split(pictures, "train", 0, [1, 5])
    path = root / "stats/loader/train/instance_images_mixed.npy"
    write_selection(path, pictures, names, PREFIX, plain=True)
    (root / f"{names[0]}_rendered.png").unlink()
    _, chosen, missing = imported(root, tmp_path / "out")
    assert missing == names[:1]
    assert chosen["train", "train"] == set(names[1:])


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._marker,)


def test_a_hostile_selection_is_refused_and_not_run(root: Path, tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    path = root / "stats/loader/test/instance_images_q_mixed.npy"
    path.parent.mkdir(parents=True)
    np.save(path, np.array({"abc": [Bomb(marker)]}, dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match="is refused: it names .*, which is no data"):
        published_selections(Folder(str(root)))
    assert not marker.exists()


@pytest.mark.parametrize("value", [[1], {"a": 3}, {"a": [3]}, {"a": [("x",)]}, {"a": [()]}])
def test_selections_of_other_things_are_refused(value: object, root: Path) -> None:
    path = root / "stats/loader/test/instance_images_q_mixed.npy"
    path.parent.mkdir(parents=True)
    box = np.empty((), object)
    box[()] = value
    np.save(path, box, allow_pickle=True)
    with pytest.raises(InputError, match="instance_images_q_mixed.npy"):
        published_selections(Folder(str(root)))


def test_selections_of_real_photos(tmp_path: Path) -> None:
    (tmp_path / "stats").mkdir()
    rows = [["./real_data/blur_level_2/003_001_017.png", "1", "003"]]
    np.save(tmp_path / "stats/queries.npy", np.array(rows))
    source = Folder(str(tmp_path))
    # Both or none.
    assert published_real_selections(source) == {}
    np.save(tmp_path / "stats/database.npy", np.array([["blur_level_1/003_000_000.png", "0", "x"]]))
    found = published_real_selections(source)
    assert {key: p.image_ids.to_pylist() for key, p in found.items()} == {
        ("real", "query"): ["real/003/001/2-017"],
        ("real", "database"): ["real/003/000/1-000"],
    }
    np.save(tmp_path / "stats/database.npy", np.zeros(3))
    with pytest.raises(InputError, match="database.npy is damaged"):
        published_real_selections(source)
