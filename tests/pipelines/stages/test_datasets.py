from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ray.data import Dataset

from bridge.common.errors import InputError
from pipelines.stages import read_dataset, rows
from pipelines.synthesize import SynthesizeConfig


def table(dataset: Dataset) -> pa.Table:
    """All rows in the order of their ids."""
    batches = list(dataset.iter_batches(batch_format="pyarrow", batch_size=None))
    return pa.concat_tables(batches).sort_by("image_id")


def written(folder: Path, split: str = "") -> pa.Table:
    files = sorted((folder / "data").glob(f"{split}*.parquet"))
    return pa.concat_tables(map(pq.read_table, files)).sort_by("image_id")


def test_rows_are_those_that_the_manifest_names(dataset: Path) -> None:
    expected = written(dataset)
    leftover = dataset / "data" / "train-99999-of-99999.parquet"
    leftover.write_bytes(b"a leftover")
    assert table(read_dataset(str(dataset))) == expected
    leftover.unlink()


def test_columns_and_splits(dataset: Path) -> None:
    labels = read_dataset(str(dataset), columns=["image_id", "blur_level"], splits=["test"])
    assert table(labels) == written(dataset, "test").select(["image_id", "blur_level"])


def test_simulated_rows_are_those_that_would_be_written(
    dataset: Path, config: SynthesizeConfig
) -> None:
    simulated = rows(replace(config, out=None), splits=["test"])
    assert table(simulated) == written(dataset, "test")


def test_what_there_is_not_is_refused(dataset: Path, config: SynthesizeConfig) -> None:
    with pytest.raises(InputError, match="`columns`: there is no 'blur', only image, "):
        read_dataset(str(dataset), columns=["blur"])
    with pytest.raises(InputError, match="`splits`: there is no 'real', only "):
        read_dataset(str(dataset), splits=["real"])
    with pytest.raises(InputError, match="`splits`: there is no 'distractor', only "):
        rows(config, splits=["distractor"])
    with pytest.raises(InputError):
        read_dataset(str(dataset / "nowhere"))
