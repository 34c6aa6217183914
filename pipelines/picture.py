"""Draw one picture of what an index does: for a page, a talk, a first look.

    python pipelines/picture.py --data data/synthetic --index indexes/bridge
    python pipelines/picture.py --query bed/oak/003/8 --out docs/figures/readme.jpg

The top row is one trajectory under growing exposure, with the blur level and blur severity of each
image. Below are a query of that trajectory and what is retrieved for it, framed green where it
shows the same object and red where it does not. Unless one is named, the query is chosen by rule:
of the most blurred queries the one whose average precision is the median, neither the best nor the
worst of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import numpy as np
import pyarrow.compute as pc
from annotated_types import MinLen

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.record import Count, WholeNumber, check
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.roles import DATABASE, DISTRACTOR, QUERY
from bridge.dataset.schema import TEST_SPLIT
from bridge.evaluation.protocols import tasks
from bridge.evaluation.showcase import galleries
from bridge.index.folder import (
    Descriptors,
    open_index_manifest,
    read_descriptors,
)
from bridge.metrics import RetrievalResult
from bridge.report.gallery import Gallery
from bridge.report.picture import Exposure, draw_picture, encode_picture


@dataclass(frozen=True)
class PictureConfig:
    """What to draw."""

    data: str = "data/synthetic"
    """The dataset of the queries."""
    index: str = "indexes/bridge"
    """An index of it."""
    out: str = "picture.jpg"
    """The picture, a JPEG of 300 kB at most."""
    query: str | None = None
    """The image_id of a query of the index; default: a typical one of the most blurred."""
    windows: Annotated[tuple[WholeNumber, ...], MinLen(2)] = (
        0,
        2,
        4,
        6,
        8,
        10,
    )
    """The exposures of the top row, in sub-trajectories: 0 is sharp, 10 the longest."""
    top: Count = 10
    """Results that are shown."""

    def __post_init__(self) -> None:
        check(self)


def run(config: PictureConfig) -> str:
    """Draw the picture; returns the image_id of its query.

    Raises:
        InputError: the index is not of this dataset or knows no such query, an exposure or an
            image is not there.
    """
    data = storage.absolute(config.data)
    manifest = open_index_manifest(storage.absolute(config.index))
    if open_manifest(data).content_hash not in manifest.datasets.values():
        raise InputError(f"{config.index} is not an index of {config.data}.")
    rows = read_descriptors(storage.absolute(config.index), manifest)
    queries = rows.only(QUERY, split=TEST_SPLIT)
    place = _place(queries, config.query) if config.query else typical_query(rows)
    database = rows.only(DATABASE, DISTRACTOR, split=TEST_SPLIT)
    (gallery,) = galleries(queries, database, {"": [place]}, config.top)
    query = str(queries.image_ids[place])
    same = int((database.object_ids == queries.object_ids[place]).sum())
    searched = f"of {len(database):,} images, {same} of which show the object"
    shown = draw_picture(exposures(data, query, config.windows), gallery, searched)
    storage.write_bytes(storage.absolute(config.out), encode_picture(shown))
    print(f"{config.out}: {query}, {_score(gallery)} of {len(gallery.results)} results correct")
    return query


def typical_query(rows: Descriptors) -> int:
    """Among the queries of the highest blur level, the place of the one of median precision.

    Raises InputError where there is no query with a database.
    """
    task = next((task for task in tasks(rows) if task.protocol.split == TEST_SPLIT), None)
    if task is None:
        raise InputError("The index has no queries of test objects with a database.")
    result = task.evaluate()
    assert isinstance(result, RetrievalResult)
    most_blurred = np.flatnonzero(task.query_levels == task.query_levels.max())
    precision = result.average_precision["retrieved"][most_blurred]
    order = np.argsort(precision, kind="stable")
    return int(most_blurred[order[len(order) // 2]])


def _place(queries: Descriptors, image_id: str) -> int:
    place = pc.index(queries.image_ids, image_id).as_py()
    if place < 0:
        raise InputError(f"The index has no query {image_id!r}.")
    return int(place)


def exposures(data: str, image_id: str, windows: tuple[int, ...]) -> list[Exposure]:
    """Images of the trajectory that a test image is of, one for each of the windows.

    Raises InputError where the dataset lacks one.
    """
    labels = read_labels(data, open_manifest(data), TEST_SPLIT)
    trajectory = image_id.rpartition("/")[0]
    names = [f"{trajectory}/{window}" for window in windows]
    places = [pc.index(labels.image_id, name).as_py() for name in names]
    if min(places) < 0:
        raise InputError(f"{data} has no test image {names[places.index(min(places))]!r}.")
    chosen = labels.take(np.array(places))
    severities = [None if np.isnan(value) else float(value) for value in chosen.blur_severity]
    levels = chosen.blur_level.tolist()
    images = chosen.read_images()
    return [Exposure(*each) for each in zip(images, windows, levels, severities, strict=True)]


def _score(gallery: Gallery) -> int:
    return sum(bool(result.correct) for result in gallery.results)


if __name__ == "__main__":
    cli.main(run, PictureConfig, description=__doc__)
