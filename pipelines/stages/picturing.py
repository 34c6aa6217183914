"""The picture of a trajectory and of what is retrieved for an image of it."""

from __future__ import annotations

import numpy as np
import pyarrow.compute as pc

from bridge.common.errors import InputError
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.roles import DATABASE, DISTRACTOR, QUERY
from bridge.dataset.schema import TEST_SPLIT
from bridge.evaluation.protocols import tasks
from bridge.evaluation.showcase import galleries
from bridge.index.folder import (
    Descriptors,
    IndexManifest,
    read_descriptors,
)
from bridge.metrics import RetrievalResult
from bridge.report.picture import Exposure, draw_picture, encode_picture


def draw(
    data: str,
    index: str,
    manifest: IndexManifest,
    query: str | None,
    windows: tuple[int, ...],
    top: int,
) -> tuple[bytes, str, int, int]:
    """Draw the picture of a query of an index.

    Args:
        data: the dataset of the queries.
        index: an index of it.
        manifest: of the index.
        query: an image_id; None chooses a typical one.
        windows: exposures of the top row, 0..10.
        top: results that are shown.

    Returns:
        The encoded picture, the query, and how many results of how many are correct.

    Raises:
        InputError: the index knows no such query, an exposure or an image is not there.
    """
    rows = read_descriptors(index, manifest)
    queries = rows.only(QUERY, split=TEST_SPLIT)
    place = _place(queries, query) if query else typical_query(rows)
    database = rows.only(DATABASE, DISTRACTOR, split=TEST_SPLIT)
    (gallery,) = galleries(queries, database, {"": [place]}, top)
    name = str(queries.image_ids[place])
    same = int((database.object_ids == queries.object_ids[place]).sum())
    searched = f"of {len(database):,} images, {same} of which show the object"
    shown = draw_picture(exposures(data, name, windows), gallery, searched)
    correct = sum(bool(result.correct) for result in gallery.results)
    return encode_picture(shown), name, correct, len(gallery.results)


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
