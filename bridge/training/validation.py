"""Choosing a model: retrieval among the validation objects (Sec. 5; reference: mAP@500)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridge.common.chance import rng_for
from bridge.metrics import evaluate_retrieval, standard_error
from bridge.model.embedding import embed_encoded
from bridge.model.method import RetrievalModel
from bridge.training.distributed import World, gather_interleaved

if TYPE_CHECKING:
    from bridge.dataset.cache import ImageCache
    from bridge.dataset.labels import Labels
    from bridge.dataset.manifest import Manifest

TOP = 500
"""The published code chooses its model by the mAP of the first 500 results."""

CHOICE = f"validation/map_at_{TOP}"
"""Name of the score that decides which model is the best."""

STANDARD_ERROR = f"{CHOICE}_standard_error"
"""Name of its bootstrap standard error over objects; absent where there is a single object."""

BY_LEVEL = "validation/map_blur_level_"
"""With a query blur level behind it: name of the mAP of its queries."""


@dataclass(frozen=True)
class ValidationData:
    """The validation benchmark: the first `num_queries` images are queries, the rest database."""

    labels: Labels
    images: ImageCache
    num_queries: int


def load_validation_data(
    dataset: str,
    manifest: Manifest,
    seed: int,
    split: str = "validation",
    *,
    objects: int = 0,
    check: bool = True,
) -> ValidationData | None:
    """Queries and database of a split's objects; None where the dataset has none.

    With `objects`, of at most so many, drawn from the seed. `check` as in `open_cache`.
    """
    # As in `data`: reading a dataset needs Arrow, training does not.
    from bridge.dataset.cache import open_cache
    from bridge.dataset.labels import read_labels
    from bridge.dataset.selections import open_selections

    labels = read_labels(dataset, manifest, split)
    sides = open_selections(dataset, manifest, seed).queries_and_database(labels, split)
    if not len(sides.queries) or not len(sides.database):
        return None
    queries, database = sides.queries, sides.database
    if objects:
        drawn = _some(labels.object[queries], objects, seed)
        queries = queries[np.isin(labels.object[queries], drawn)]
        database = database[np.isin(labels.object[database], drawn)]
    selected = labels.take(np.concatenate([queries, database]))
    images = open_cache(selected, manifest.content_hash, check=check)
    return ValidationData(selected, images, len(queries))


def _some(objects: np.ndarray, number: int, seed: int) -> np.ndarray:
    """So many of the objects that occur, the same ones whatever the order."""
    there = np.unique(objects)
    return rng_for(seed, "validation objects").permutation(there)[:number]


def validate(model: RetrievalModel, data: ValidationData, threads: int = 2) -> dict[str, float]:
    """mAP over all results and the first 500, with its error, and by level; equal on all ranks.

    Images that cannot be decoded are left out and counted (`validation/unreadable`).
    """
    world = World.current()
    mine = range(world.rank, len(data.images), world.size)
    embedded = embed_encoded(model, [data.images[i] for i in mine], threads=threads)
    part = np.full((len(mine), model.config.descriptor_dim), np.nan, dtype=np.float32)
    part[embedded.rows] = embedded.descriptors
    descriptors = gather_interleaved(part, len(data.images))
    readable = np.isfinite(descriptors).all(axis=1)
    queries = (np.arange(len(data.images)) < data.num_queries)[readable]
    descriptors = descriptors[readable]
    sides = (descriptors[queries], descriptors[~queries])
    objects, levels = data.labels.object[readable], data.labels.blur_level[readable]
    full = evaluate_retrieval(
        *sides, objects[queries], objects[~queries], query_blur_levels=levels[queries]
    )
    first = evaluate_retrieval(*sides, objects[queries], objects[~queries], k=TOP)
    by_level = {
        f"{BY_LEVEL}{level}": scores["retrieved"]
        for level, scores in full.map_by_query_blur_level.items()
    }
    error = standard_error(first.average_precision["retrieved"], objects[queries])
    return {
        "validation/map": full.map["retrieved"],
        CHOICE: first.map["retrieved"],
        "validation/unreadable": int((~readable).sum()),
        **({} if error is None else {STANDARD_ERROR: error}),
        **by_level,
    }
