from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.schema import ROWS_PER_GROUP, SHARD_SCHEMA, to_table
from bridge.dataset.shards import (
    encode_parquet,
    image_bytes,
    read_images,
    read_rows,
    shard_path,
    write_shard,
)
from tests.factories import make_dataset


def rows(count: int) -> list[dict]:
    return [
        {
            "image": {"bytes": f"image {i}".encode(), "path": f"{i}.jpeg"},
            "image_id": f"a/b/000/{i}",
            "object_id": "a/b",
            "category": "a",
            "trajectory": i // 11,
            "window": i % 11,
            "blur_severity": None if i % 2 else i / 1000,
            "blur_level": 1,
            "mean_opacity": None if i % 5 == 0 else 0.75,
            "bbox": None if i % 3 == 0 else (0.5, 0.5, 0.1, 0.2),
            "background_id": None,
        }
        for i in range(count)
    ]


def test_shard_holds_the_contract_schema(tmp_path: Path) -> None:
    record = write_shard(str(tmp_path), shard_path("train", 3, 12), "train", to_table(rows(250)))
    assert record.path == "data/train-00003-of-00012.parquet"
    file = pq.ParquetFile(tmp_path / record.path)
    assert file.schema_arrow.equals(SHARD_SCHEMA)
    assert record.rows == file.metadata.num_rows == 250
    assert record.bytes == (tmp_path / record.path).stat().st_size
    assert file.metadata.row_group(0).num_rows == ROWS_PER_GROUP
    assert file.read().to_pylist()[7]["blur_severity"] is None
    assert file.read().to_pylist()[0]["bbox"] is None
    assert [row["mean_opacity"] for row in file.read().to_pylist()[4:6]] == [0.75, None]


def test_equal_rows_give_equal_bytes() -> None:
    assert encode_parquet(to_table(rows(120))) == encode_parquet(to_table(rows(120)))
    assert encode_parquet(to_table(rows(120))) != encode_parquet(to_table(rows(121)))


def test_images_come_back_in_the_order_asked_for(tmp_path: Path) -> None:
    record = write_shard(str(tmp_path), "data/x.parquet", "test", to_table(rows(250)))
    wanted = np.array([249, 0, 98, 99, 100, 0])
    images = read_images(str(tmp_path), record.path, wanted)
    assert images == [f"image {i}".encode() for i in wanted]


def test_rows_come_back_whole_in_the_order_asked_for(tmp_path: Path) -> None:
    (path,) = make_dataset(tmp_path, {"train": 2}, trajectories=12).shards
    whole = pq.read_table(tmp_path / path)
    assert pq.ParquetFile(tmp_path / path).num_row_groups > 2
    for rows in ([], [5], [3, 98, 99, 200], [200, 3, 99, 3, 2]):
        numbers = np.array(rows, np.int64)
        assert read_rows(str(tmp_path), path, numbers).equals(whole.take(pa.array(numbers)))
        some = read_rows(str(tmp_path), path, numbers, ["image_id", "window"])
        assert some.equals(whole.select(["image_id", "window"]).take(pa.array(numbers)))


def test_bytes_of_images_are_known_without_reading_them(tmp_path: Path) -> None:
    record = write_shard(str(tmp_path), "data/x.parquet", "test", to_table(rows(250)))
    for chosen in (np.arange(250), np.arange(5, 250, 3), np.array([249])):
        exact = sum(len(image) for image in read_images(str(tmp_path), record.path, chosen))
        about = image_bytes(str(tmp_path), record.path, chosen)
        # Parquet has four bytes of length beside each image, and a header on each page.
        assert exact < about < exact + 6 * len(chosen) + 40
    assert image_bytes(str(tmp_path), record.path, np.array([], int)) == 0


def test_rows_that_do_not_fit_the_schema_are_refused() -> None:
    bad = rows(1)
    bad[0]["blur_level"] = "three"
    with pytest.raises((pa.ArrowInvalid, pa.ArrowTypeError)):
        to_table(bad)


@pytest.mark.parametrize("damage", ["missing", "torn"])
def test_damaged_shards_are_input_errors(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "data" / "x.parquet"
    path.parent.mkdir()
    if damage == "torn":
        path.write_bytes(encode_parquet(to_table(rows(20)))[:-30])
    with pytest.raises(InputError, match="x.parquet"):
        read_images(str(tmp_path), "data/x.parquet", np.array([0]))
