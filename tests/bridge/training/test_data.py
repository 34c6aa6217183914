from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.dataset.cache import ImageCache
from bridge.dataset.manifest import open_manifest
from bridge.training.bliss import BlissConfig
from bridge.training.data import AHEAD, TooManyUnreadable, TrainingData, prefetch
from bridge.training.recipe import Recipe
from bridge.training.selection import select_training_images
from tests.factories import make_dataset, rewrite_shard, write_selections

SIZE = (24, 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder, {"train": 3})
    return select_training_images(str(folder), open_manifest(str(folder)), Recipe()).load()


def test_batches_hold_the_images_and_labels_of_their_rows(data: TrainingData) -> None:
    tuples = np.array([[4, 0, 30], [35, 2, 1]], dtype=np.int32)
    batch = data.batch(tuples, SIZE)
    rows = tuples.reshape(-1)
    assert batch.images.shape == (6, 3, *SIZE) and batch.images.dtype == torch.uint8
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.tuple_size == 3
    for place, row in enumerate(rows):
        expected = decode(data.images[int(row)]).transpose(2, 0, 1)
        assert np.array_equal(batch.images[place].numpy(), expected)
    assert batch.rows.tolist() == rows.tolist() and batch.valid.tolist() == [True] * 6
    assert batch.objects.tolist() == data.labels.object[rows].tolist()
    assert batch.levels.tolist() == data.labels.blur_level[rows].tolist()
    assert batch.positions.tolist() == data.labels.blur_level[rows].tolist()
    np.testing.assert_allclose(batch.visibility, 1 - data.labels.blur_severity[rows])
    np.testing.assert_array_equal(batch.boxes, data.labels.bbox[rows])
    assert not data.unreadable


def test_moving_a_batch_keeps_all_of_it(data: TrainingData) -> None:
    batch = data.batch(np.array([[3, -1]]), SIZE)
    # Another device for the test: the same values, no memory.
    moved = batch.to(torch.device("meta"))
    assert moved.tuple_size == 2 and moved.valid.shape == (2,) and moved.images.is_meta
    assert moved.images.stride() == batch.images.stride()


def test_padding_is_black_and_not_valid(data: TrainingData) -> None:
    batch = data.batch(np.array([[5, 6], [-1, -1]]), SIZE)
    assert batch.valid.tolist() == [True, True, False, False]
    assert batch.rows.tolist() == [5, 6, -1, -1]
    assert not batch.images[2:].any() and batch.images[:2].any()
    only = data.batch(np.full((1, 2), -1), SIZE)
    assert not only.valid.any() and not data.unreadable


def damaged(data: TrainingData, rows: list[int]) -> TrainingData:
    """The same selection with some images cut off."""
    encoded = [bytes(data.images[row]) for row in range(len(data.images))]
    for row in rows:
        encoded[row] = encoded[row][:100]
    images = ImageCache([pa.array(encoded)])
    return TrainingData(data.labels, images, data.visibility, data.positions)


@pytest.mark.parametrize("ahead", [False, True])
def test_an_unreadable_image_is_noted_and_left_out(data: TrainingData, ahead: bool) -> None:
    bad = damaged(data, [7])
    tuples = np.array([[4, 7, 30], [35, 7, 1]])
    batch = next(prefetch(bad, iter([tuples]), SIZE, 2)) if ahead else bad.batch(tuples, SIZE)
    assert batch.valid.tolist() == [True, False, True] * 2
    assert not batch.images[~batch.valid].any()
    whole = data.batch(tuples, SIZE)
    assert torch.equal(batch.images[batch.valid], whole.images[whole.rows != 7])
    assert bad.unreadable.keys() == {7} and bad.unreadable[7]
    # Seeing it again is no second one.
    bad.batch(tuples, SIZE)


def test_too_many_unreadable_images_are_refused(data: TrainingData) -> None:
    bad = damaged(data, [7, 9])
    bad.batch(np.array([[7, 8]]), SIZE)
    bad.check(bad.unreadable)
    bad.batch(np.array([[9, 8]]), SIZE)
    with pytest.raises(TooManyUnreadable, match="2 of 36 training images.*1%") as error:
        bad.check(bad.unreadable)
    assert f"{data.labels.image_id[7]}: " in str(error.value)
    # Rows that another process met are counted too.
    with pytest.raises(TooManyUnreadable, match="3 of 36"):
        bad.check({1, 7, 9})


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetching_keeps_the_order(data: TrainingData, threads: int) -> None:
    # Of different sizes, and the first one of more parts than threads.
    sizes = [40, *range(1, 20), 3]
    slices = [np.arange(2 * n).reshape(n, 2).astype(np.int32) % 36 for n in sizes]
    batches = list(prefetch(data, iter(slices), SIZE, threads))
    assert len(batches) == len(slices)
    for tuples, batch in zip(slices, batches, strict=True):
        expected = data.batch(tuples, SIZE)
        assert torch.equal(batch.rows, expected.rows) and torch.equal(batch.valid, expected.valid)
        assert torch.equal(batch.images, expected.images)
    assert list(prefetch(data, iter([]), SIZE, threads)) == []


def test_prefetching_is_bounded_and_stops_with_its_consumer(data: TrainingData) -> None:
    taken = 0

    def slices() -> Iterator[np.ndarray]:
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield np.array([[i % 30]], dtype=np.int32)

    before = threading.active_count()
    batches = prefetch(data, slices(), SIZE, threads=2)
    for received in range(1, 6):
        next(batches)
        assert taken == received + AHEAD
    batches.close()
    assert taken == 5 + AHEAD and threading.active_count() == before


def test_whatever_fails_in_a_thread_comes_out(data: TrainingData) -> None:
    batches = prefetch(data, iter([np.array([[0, 1]]), np.array([[2, 10**6]])]), SIZE, 2)
    assert next(batches).rows.tolist() == [0, 1]
    with pytest.raises(IndexError, match="1000000"):
        next(batches)


def test_targets_and_places_follow_the_options(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"train": 3})
    manifest = open_manifest(str(tmp_path))
    samples = BlissConfig(window="severity")
    selection = select_training_images(str(tmp_path), manifest, Recipe(bliss=samples)).load()
    severity = selection.labels.blur_severity
    np.testing.assert_allclose(selection.positions, 10 * severity, rtol=1e-6)
    np.testing.assert_allclose(selection.visibility, 1 - severity)
    opaque = select_training_images(str(tmp_path), manifest, Recipe(blur_target="opacity")).load()
    np.testing.assert_array_equal(opaque.visibility, opaque.labels.mean_opacity)
    assert not np.isnan(opaque.visibility).any()


@pytest.mark.parametrize(
    ("columns", "left_out"),
    [
        ((), ()),
        (("bbox",), ("localisation",)),
        (("blur_severity",), ("blur",)),
        (("bbox", "blur_severity"), ("blur", "localisation")),
    ],
)
def test_losses_that_no_image_has_labels_for_are_left_out(
    columns: tuple[str, ...], left_out: tuple[str, ...], tmp_path: Path
) -> None:
    manifest = make_dataset(tmp_path, {"train": 3})

    def forget(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row.update(dict.fromkeys(columns))

    results = [rewrite_shard(shard, tmp_path, forget) for shard in manifest.shards.values()]
    selected = select_training_images(str(tmp_path), manifest.with_shards(results), Recipe())
    assert selected.left_out == left_out
    weights, asked = selected.recipe.loss, Recipe().loss
    for name in ("contrastive", "classification", "blur", "localisation"):
        assert getattr(weights, name) == (0 if name in left_out else getattr(asked, name))


def test_a_loss_that_one_image_has_labels_for_stays(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"train": 3})

    def forget(rows: list[dict[str, Any]]) -> None:
        for row in rows[:-11]:
            row["bbox"] = None

    results = [rewrite_shard(shard, tmp_path, forget) for shard in manifest.shards.values()]
    selected = select_training_images(str(tmp_path), manifest.with_shards(results), Recipe())
    assert selected.left_out == ()


def test_datasets_of_before_the_mean_opacity_are_told_so(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"train": 3})
    for path in manifest.shards:
        shard = pq.read_table(tmp_path / path).drop_columns(["mean_opacity"])
        pq.write_table(shard, tmp_path / path)
    assert (
        len(select_training_images(str(tmp_path), manifest, Recipe()).load(check=False).labels)
        == 36
    )
    with pytest.raises(InputError, match="mean_opacity"):
        select_training_images(str(tmp_path), manifest, Recipe(blur_target="opacity")).load()


def test_a_dataset_may_bring_its_training_images(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"train": 2}, trajectories=3)
    chosen = {"train": ["shape0/000/001/4", "shape1/001/002/7"]}
    write_selections(tmp_path, chosen)
    selection = select_training_images(str(tmp_path), manifest, Recipe())
    assert selection.labels.image_id.to_pylist() == chosen["train"]
    assert len(selection.load().images) == 2


def test_datasets_without_training_images_are_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"test": 1})
    with pytest.raises(InputError, match="no training images"):
        select_training_images(str(tmp_path), open_manifest(str(tmp_path)), Recipe()).load()
