"""Selections that a dataset brings, and what stands in for them where it does not."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest, open_manifest
from bridge.dataset.selections import Selections, open_selections, selections_of
from bridge.dataset.splits import (
    queries_and_database,
    real_queries_and_database,
    training_rows,
)
from tests.factories import make_dataset, make_unlabelled, write_selections

SEED = 3
OBJECTS = {"train": 2, "validation": 2, "test": 2, "real": 2}


@pytest.fixture
def manifest(tmp_path: Path) -> Manifest:
    return make_dataset(tmp_path, OBJECTS, trajectories=4)


def labels_of(folder: Path, split: str) -> Labels:
    return read_labels(str(folder), open_manifest(str(folder)), split)


def names(labels: Labels, rows: np.ndarray) -> list[str]:
    return [labels.image_id[int(row)].as_py() for row in rows]


def opened(folder: Path) -> Selections:
    return open_selections(str(folder), open_manifest(str(folder)), SEED)


def test_without_a_file_the_labels_and_the_seed_decide(tmp_path: Path, manifest: Manifest) -> None:
    selections = opened(tmp_path)
    train, test, real = (labels_of(tmp_path, split) for split in ("train", "test", "real"))
    for sharp in (False, True):
        np.testing.assert_array_equal(
            selections.training_rows(train, sharp_only=sharp),
            training_rows(train, SEED, sharp_only=sharp),
        )
    expected = queries_and_database(test, SEED)
    for name, rows in vars(selections.queries_and_database(test, "test")).items():
        np.testing.assert_array_equal(rows, getattr(expected, name))
    np.testing.assert_array_equal(
        selections.queries_and_database(real, "real").queries,
        real_queries_and_database(real).queries,
    )
    assert selections_of(str(tmp_path), SEED) == {"source": "computed", "seed": SEED}


def test_a_file_decides_for_all_splits(tmp_path: Path, manifest: Manifest) -> None:
    train, validation, test, real = (labels_of(tmp_path, split) for split in OBJECTS)
    searched = [(test, 5, 40, 41), (real, 7, 50, 51), (validation, 9, 60, 61)]
    write_selections(
        tmp_path,
        {
            "train": names(train, np.array([12, 4])),
            "query": [name for labels, q, _, _ in searched for name in names(labels, [q])],
            "database": [name for labels, _, a, b in searched for name in names(labels, [b, a])],
            # An image may have several roles.
            "database_per_level": names(test, np.array([40, 42])),
        },
    )
    selections = opened(tmp_path)
    assert selections.training_rows(train).tolist() == [4, 12]
    for (labels, query, first, last), split in zip(
        searched, ("test", "real", "validation"), strict=True
    ):
        sides = selections.queries_and_database(labels, split)
        assert sides.queries.tolist() == [query]
        assert sides.database.tolist() == [first, last]
        assert sides.per_level.tolist() == ([40, 42] if split == "test" else [])
    digest = hashlib.sha256((tmp_path / "selections.parquet").read_bytes()).hexdigest()
    assert selections_of(str(tmp_path), SEED) == {"source": "recorded", "sha256": digest}


def test_sharp_training_keeps_the_trajectories_of_the_file(
    tmp_path: Path, manifest: Manifest
) -> None:
    train = labels_of(tmp_path, "train")
    chosen = np.array([3, 7, 25, 60])
    write_selections(tmp_path, {"train": names(train, chosen)})
    # Trajectories of eleven images, the first of which is the sharp one.
    assert opened(tmp_path).training_rows(train, sharp_only=True).tolist() == [0, 22, 55]


def test_validation_images_are_divided_into_queries_and_database(
    tmp_path: Path, manifest: Manifest
) -> None:
    labels = labels_of(tmp_path, "validation")
    chosen = np.flatnonzero(labels.window % 2 == 1)
    write_selections(tmp_path, {"validation": names(labels, chosen)})
    sides = opened(tmp_path).queries_and_database(labels, "validation")
    expected = queries_and_database(labels.take(chosen), SEED)
    assert len(sides.queries) and len(sides.database)
    for name, rows in vars(expected).items():
        np.testing.assert_array_equal(getattr(sides, name), chosen[rows])


def test_unknown_images_and_roles_are_named(tmp_path: Path, manifest: Manifest) -> None:
    train, test = labels_of(tmp_path, "train"), labels_of(tmp_path, "test")
    known = names(train, np.array([0]))
    write_selections(tmp_path, {"train": [*known, "a/b/000/1"]})
    with pytest.raises(InputError, match=r"selections.parquet .*train to 1 images .*a/b/000/1"):
        opened(tmp_path)
    write_selections(tmp_path, {"query": names(test, np.array([0])), "gallery": ["x/y/000/1"]})
    with pytest.raises(InputError, match=r"selections.parquet gives x/y/000/1 .*role 'gallery'"):
        opened(tmp_path)
    # What trains is not searched, and the other way round.
    for role, image in (("query", known), ("train", names(test, np.array([0])))):
        write_selections(tmp_path, {role: image})
        with pytest.raises(InputError, match=f"role {role} to 1 images .*{image[0]}"):
            opened(tmp_path)


def test_files_of_another_kind_are_refused(tmp_path: Path, manifest: Manifest) -> None:
    path = tmp_path / "selections.parquet"
    path.write_bytes(b"torn")
    with pytest.raises(InputError, match="selections.parquet is damaged"):
        opened(tmp_path)
    pq.write_table(pa.table({"image": ["a"], "role": ["train"]}), path)
    with pytest.raises(InputError, match="with the texts image_id and role"):
        opened(tmp_path)
    # Other writers have other types for the same texts.
    name = labels_of(tmp_path, "train").image_id[5]
    table = pa.table({"role": pa.array(["train"]).dictionary_encode(), "image_id": [name.as_py()]})
    pq.write_table(table.append_column("note", [["kept"]]), path)
    assert opened(tmp_path).training_rows(labels_of(tmp_path, "train")).tolist() == [5]


@pytest.mark.parametrize(
    ("images", "missing"),
    [({}, "database"), ({"query": 3}, "database")],
)
def test_a_file_that_lacks_what_is_needed_is_refused(
    tmp_path: Path, manifest: Manifest, images: dict[str, int], missing: str
) -> None:
    train, validation, test = (labels_of(tmp_path, s) for s in ("train", "validation", "test"))
    write_selections(
        tmp_path, {role: names(test, np.arange(count)) for role, count in images.items()}
    )
    selections = opened(tmp_path)
    with pytest.raises(InputError, match=f"no image of the split test the role {missing}"):
        selections.queries_and_database(test, "test")
    with pytest.raises(InputError, match="no image of the split train the role train"):
        selections.training_rows(train)
    with pytest.raises(InputError, match="no image of the split validation the role validation"):
        selections.queries_and_database(validation, "validation")
    # A split that the dataset does not have needs nothing.
    nothing = selections.queries_and_database(labels_of(tmp_path, "distractor"), "real")
    assert not len(nothing.queries) and not len(nothing.database)


def test_a_file_without_queries_makes_images_to_be_searched(
    tmp_path: Path, manifest: Manifest
) -> None:
    real = labels_of(tmp_path, "real")
    write_selections(tmp_path, {"database": names(real, np.arange(7))})
    sides = opened(tmp_path).queries_and_database(real, "real")
    assert sides.queries.tolist() == [] and sides.database.tolist() == [*range(7)]
    # With queries of one split there must be some of every other one.
    test = labels_of(tmp_path, "test")
    write_selections(tmp_path, {"database": names(real, [1]), "query": names(test, [2])})
    with pytest.raises(InputError, match="no image of the split real the role query"):
        opened(tmp_path).queries_and_database(real, "real")


def test_unlabelled_images_are_no_queries_and_do_not_train(tmp_path: Path) -> None:
    for split, roles in (("real", ("query", "database")), ("train", ("train",))):
        folder = tmp_path / split
        make_unlabelled(folder, split)
        labels = labels_of(folder, split)
        write_selections(folder, {role: names(labels, np.arange(5)) for role in roles})
        if split == "real":
            sides = opened(folder).queries_and_database(labels, split)
            assert not len(sides.queries) and len(sides.database) == 5
        else:
            assert not len(opened(folder).training_rows(labels))
