from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from bridge.dataset.manifest import open_manifest
from bridge.errors import InputError
from bridge.images import decode
from bridge.training_data import TrainingData, load_training_data, prefetch
from tests.factories import make_dataset

SIZE = (24, 32)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> TrainingData:
    folder = tmp_path_factory.mktemp("data")
    make_dataset(folder, {"train": 3})
    return load_training_data(str(folder), open_manifest(str(folder)), seed=0)


def test_batches_hold_the_images_and_labels_of_their_rows(data: TrainingData) -> None:
    tuples = np.array([[4, 0, 30], [35, 2, 1]], dtype=np.int32)
    batch = data.batch(tuples, SIZE)
    rows = tuples.reshape(-1)
    assert batch.images.shape == (6, 3, *SIZE) and batch.images.dtype == torch.uint8
    assert batch.tuple_size == 3
    for place, row in enumerate(rows):
        expected = decode(data.images[int(row)]).transpose(2, 0, 1)
        assert np.array_equal(batch.images[place].numpy(), expected)
    assert batch.objects.tolist() == data.labels.object[rows].tolist()
    assert batch.levels.tolist() == data.labels.blur_level[rows].tolist()
    np.testing.assert_allclose(batch.blur_values, 1 - data.labels.blur_severity[rows])
    np.testing.assert_array_equal(batch.boxes, data.labels.bbox[rows])


@pytest.mark.parametrize("threads", [1, 3])
def test_prefetching_keeps_the_order(data: TrainingData, threads: int) -> None:
    slices = [np.array([[i, i + 1]], dtype=np.int32) for i in range(20)]
    batches = list(prefetch(data, iter(slices), SIZE, threads))
    assert len(batches) == 20
    for rows, batch in zip(slices, batches, strict=True):
        assert batch.objects.tolist() == data.labels.object[rows[0]].tolist()
        assert torch.equal(batch.images, data.batch(rows, SIZE).images)


def test_prefetching_stops_with_its_consumer(data: TrainingData) -> None:
    taken = []

    def slices():  # type: ignore[no-untyped-def]
        for i in range(1000):
            taken.append(i)
            yield np.array([[i % 30]], dtype=np.int32)

    batches = prefetch(data, slices(), SIZE, threads=2)
    next(batches)
    batches.close()  # type: ignore[attr-defined]
    assert len(taken) < 10


def test_datasets_without_training_images_are_refused(tmp_path: Path) -> None:
    make_dataset(tmp_path, {"test": 1})
    with pytest.raises(InputError, match="no training images"):
        load_training_data(str(tmp_path), open_manifest(str(tmp_path)), seed=0)
