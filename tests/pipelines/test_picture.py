"""Tests of pipelines/picture.py."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.dataset.roles import QUERY
from bridge.dataset.schema import TEST_SPLIT
from bridge.index.folder import Descriptors, open_index_manifest, read_descriptors
from bridge.metrics import evaluate_retrieval
from pipelines import picture
from pipelines.picture import PictureConfig
from pipelines.stages.picturing import typical_query
from tests.factories import make_dataset


@pytest.fixture
def config(searchable: Path, tmp_path: Path) -> PictureConfig:
    data, index = str(searchable / "data"), str(searchable / "index")
    return PictureConfig(data=data, index=index, out=str(tmp_path / "figures" / "picture.jpg"))


@pytest.fixture(scope="module")
def rows(searchable: Path) -> Descriptors:
    index = str(searchable / "index")
    return read_descriptors(index, open_index_manifest(index))


def test_the_picture_is_small_and_of_the_query_that_is_named(
    config: PictureConfig, rows: Descriptors, capsys: pytest.CaptureFixture[str]
) -> None:
    named = rows.only(QUERY, split=TEST_SPLIT).image_ids[3].as_py()
    assert picture.run(replace(config, query=named)) == named
    assert named in capsys.readouterr().out
    path = Path(config.out)
    assert path.stat().st_size <= 300_000
    with Image.open(path) as image:
        assert image.width > image.height


def test_the_query_is_otherwise_typical_of_the_most_blurred(
    config: PictureConfig, rows: Descriptors
) -> None:
    queries = rows.only(QUERY, split=TEST_SPLIT)
    place = typical_query(rows)
    assert queries.blur_levels[place] == queries.blur_levels.max()
    database = rows.only("database", split=TEST_SPLIT)
    database = database.take(database.roles == "database")
    names = np.unique(queries.object_ids)
    result = evaluate_retrieval(
        queries.descriptors,
        database.descriptors,
        np.searchsorted(names, queries.object_ids),
        np.searchsorted(names, database.object_ids),
    )
    precision = result.average_precision["retrieved"]
    rivals = precision[queries.blur_levels == queries.blur_levels.max()]
    assert abs((rivals < precision[place]).sum() - (rivals > precision[place]).sum()) <= 1
    assert picture.run(config) == queries.image_ids[place].as_py()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"query": "shape0/000/999/0"}, "no query 'shape0/000/999/0'"),
        ({"windows": (0,)}, "`windows` must have at least 2 items"),
        ({"windows": (0, 11)}, "no test image"),
        ({"top": 0}, "`top` must be at least 1"),
    ],
)
def test_mistakes_are_named(config: PictureConfig, change: dict, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        picture.run(replace(config, **change))
    assert not Path(config.out).exists()


def test_another_dataset_is_refused(config: PictureConfig, tmp_path: Path) -> None:
    make_dataset(tmp_path / "other", {"test": 2}, trajectories=2)
    with pytest.raises(InputError, match="is not an index of"):
        picture.run(replace(config, data=str(tmp_path / "other")))
