from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from bridge.dataset import photos
from bridge.dataset.checks import verify_shard
from bridge.dataset.manifest import Rejection
from bridge.dataset.photo_listing import list_photos
from bridge.dataset.photos import PHOTO_SCHEMA, cut_shards, make_photo_shard
from bridge.dataset.shards import read_images
from tests.factories import write_photos


def test_photos_become_rows_with_their_bytes(tmp_path: Path) -> None:
    root, out = tmp_path / "photos", str(tmp_path / "out")
    write_photos(root, "mug/a.jpg", "mug/b.png", "cup/c.gif", "d.jpg")
    (root / "bad.jpg").write_bytes(b"no picture")
    (shard,) = cut_shards(list_photos(str(root), "objects").table)
    result = make_photo_shard(shard, str(root), out)
    assert result.record.path == "data/real-00000-of-00001.parquet"
    assert (result.record.rows, result.objects, result.trajectories) == (4, ("cup", "mug"), 3)
    assert result.by_blur_level == {"0": 4}
    (rejection,) = result.rejections
    assert (rejection.reason, rejection.item) == ("unreadable", "bad.jpg")
    table = pq.read_table(Path(out) / result.record.path)
    assert table.schema == PHOTO_SCHEMA
    assert table["image_id"].to_pylist() == ["cup/c.gif", "d.jpg", "mug/a.jpg", "mug/b.png"]
    images = read_images(out, result.record.path, np.array([1, 2, 3]))
    assert images == [(root / name).read_bytes() for name in ("d.jpg", "mug/a.jpg", "mug/b.png")]
    assert verify_shard(result, out, None).problems == ()


def test_a_file_that_goes_on_the_way_is_named(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.jpg", "b.jpg")
    (shard,) = cut_shards(list_photos(str(tmp_path / "photos"), "flat").table)
    (tmp_path / "photos" / "a.jpg").unlink()
    result = make_photo_shard(shard, str(tmp_path / "photos"), str(tmp_path))
    assert result.rejections == (Rejection("unreadable", "a.jpg", "No such file or directory"),)


def test_estimates_are_kept_apart_from_what_is_known(tmp_path: Path) -> None:
    write_photos(tmp_path, "a.jpg", "b.jpg", "c.jpg")
    table = list_photos(str(tmp_path), "flat").table
    known = table.set_column(
        table.column_names.index("blur_level"),
        PHOTO_SCHEMA.field("blur_level"),
        pa.array([4, None, None], pa.int8()),
    )
    asked: list[Sequence[bytes]] = []

    def estimate(images: Sequence[bytes]) -> list[int | None]:
        asked.append(images)
        return [7, None]

    (shard,) = cut_shards(known)
    result = make_photo_shard(shard, str(tmp_path), str(tmp_path / "out"), estimate=estimate)
    rows = pq.read_table(tmp_path / "out" / result.record.path)
    assert rows["blur_level"].to_pylist() == [4, None, None]
    assert rows["estimated_blur_level"].to_pylist() == [None, 7, None]
    assert [len(images) for images in asked] == [2]


def test_shards_are_cut_by_photos_and_by_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(photos, "_SHARD_PHOTOS", 3)
    monkeypatch.setattr(photos, "_SHARD_BYTES", 100)
    for number, size in enumerate([10, 10, 10, 10, 60, 60, 500, 10]):
        (tmp_path / f"{number}.jpg").write_bytes(b"x" * size)
    plan = cut_shards(list_photos(str(tmp_path), "flat").table)
    cut = [[path[0] for path in shard.photos["path"].to_pylist()] for shard in plan]
    assert cut == [["0", "1", "2"], ["3", "4"], ["5"], ["6"], ["7"]]
    assert plan.photos == 8 and plan[1].path == "data/real-00001-of-00005.parquet"
    left = plan.missing({plan.paths[0], plan.paths[3]})
    assert [shard.path for shard in left] == [plan.paths[i] for i in (1, 2, 4)]
    assert left.photos == 4 and left[1:][0].photos["path"].to_pylist() == ["5.jpg"]


def test_large_photos_lie_in_small_row_groups(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_photos(tmp_path, *(f"{number}.jpg" for number in range(6)))
    size = (tmp_path / "0.jpg").stat().st_size
    (shard,) = cut_shards(list_photos(str(tmp_path), "flat").table)
    for limit, groups in ((100 * size, 1), (2.5 * size, 3), (1, 6)):
        monkeypatch.setattr(photos, "_GROUP_BYTES", limit)
        result = make_photo_shard(shard, str(tmp_path), str(tmp_path / "out"))
        file = pq.ParquetFile(tmp_path / "out" / result.record.path)
        assert file.num_row_groups == groups
