from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from bridge.dataset.card import card, write_card
from bridge.dataset.manifest import Manifest
from bridge.dataset.schema import SHARD_SCHEMA
from tests.factories import make_dataset, make_unlabelled, without_column

SPLITS = ("train", "validation", "test", "distractor", "real")


def opened(folder: Path) -> dict:
    datasets = pytest.importorskip("datasets", reason="needs the library (make test has it)")
    datasets.disable_progress_bars()
    return datasets.load_dataset(str(folder / "data"), cache_dir=str(folder / "cache"))


def test_every_split_opens_with_its_name_and_pictures(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    manifest = make_dataset(folder, dict.fromkeys(SPLITS, 1), trajectories=2)
    # What lies beside the shards is none of them.
    pq.write_table(pq.read_table(folder / next(iter(manifest.shards))), folder / "other.parquet")
    write_card(str(folder), manifest)
    found = opened(tmp_path)
    assert set(found) == set(SPLITS)
    for split in SPLITS:
        row = found[split][0]
        assert len(found[split]) == 22
        assert isinstance(row["image"], Image.Image) and row["image"].size == (32, 24)
        assert row["blur_level"] == 1 and len(row["bbox"]) == 4


def test_older_shards_open_too(tmp_path: Path) -> None:
    folder = tmp_path / "data"
    (shard,) = make_dataset(folder, {"test": 2}, trajectories=1).shards.values()
    older = without_column(shard, folder, "mean_opacity")
    table = pq.read_table(folder / older.record.path)
    fields = [table.schema.field(name).with_nullable(False) for name in ("image", "object_id")]
    for field in fields:
        place = table.schema.get_field_index(field.name)
        table = table.set_column(place, field, table[field.name])
    pq.write_table(table.replace_schema_metadata(None), folder / older.record.path)
    write_card(str(folder), Manifest("dataset", {}).with_shards([older]))
    assert isinstance(opened(tmp_path)["test"][3]["image"], Image.Image)


def test_unlabelled_photos_open_with_nulls(tmp_path: Path) -> None:
    manifest = make_unlabelled(tmp_path / "data")
    write_card(str(tmp_path / "data"), manifest)
    row = opened(tmp_path)["real"][5]
    assert (row["object_id"], row["blur_level"], row["bbox"]) == (None, None, None)


def test_pictures_open_without_the_card_too(tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"test": 1}, trajectories=1)
    assert isinstance(opened(tmp_path)["test"][0]["image"], Image.Image)


def test_the_card_tells_people_what_is_there(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"test": 2}, trajectories=2)
    text = card(str(tmp_path), manifest)
    _, head, page = text.split("---\n", 2)
    described = yaml.safe_load(head)["dataset_info"]
    assert [feature["name"] for feature in described["features"]] == SHARD_SCHEMA.names
    (split,) = described["splits"]
    assert (split["name"], split["num_examples"]) == ("test", 44)
    assert "| test | 44 | 2 | 4 |" in page and '"made_for": "tests"' in page
    assert all(f"- `{name}`: " in page for name in SHARD_SCHEMA.names)
    assert text == card(str(tmp_path), manifest)
