"""Search an index with pictures: the database images most like them, and how blurred they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from bridge.blur import blur_level
from bridge.common import storage
from bridge.common.errors import InputError
from bridge.index.catalogue import Box, Catalogue, Entry, rounded_box
from bridge.index.config import TOP, Rerank
from bridge.index.folder import model_of, open_index_manifest
from bridge.model.config import Precision

# Torch and FAISS are imported once an index and its model are known to be there; the processes
# that answer HTTP need neither.
if TYPE_CHECKING:
    import torch

    from bridge.model.embedding import Embedded


@dataclass(frozen=True)
class Query:
    """An encoded picture to search with, the number of results, and what they may show.

    No blur levels means any level, no objects any object. Raises InputError for `top` < 1.
    """

    image: bytes = field(repr=False)
    top: int = TOP
    blur_levels: tuple[int, ...] = ()
    objects: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.top < 1:
            raise InputError(f"`top` must be at least 1, not {self.top}.")


@dataclass(frozen=True)
class Hit:
    """A result: `row` is its number in the index, `similarity` the cosine with the query, -1..1.

    Where results are re-ranked, similarities need not fall from rank to rank.
    """

    rank: int
    similarity: float
    row: int
    entry: Entry


@dataclass(frozen=True)
class Found:
    """The answer to a query, best result first.

    Blur severity (0..1), blur level (1..10) and box are the network's predictions for the query,
    None where it has no such head. `error` says why a picture could not be read.
    """

    results: tuple[Hit, ...] = ()
    blur_severity: float | None = None
    blur_level: int | None = None
    bbox: Box | None = None
    error: str | None = None


class Searcher:
    """An index, opened for searching with the network that built it."""

    def __init__(
        self,
        index: str,
        *,
        model: str | None = None,
        device: str | torch.device = "cpu",
        threads: int = 2,
        rerank: Rerank | None = None,
    ) -> None:
        """Open an index.

        Args:
            index: its folder, local or on an object store.
            model: the network, where it is no longer where it was when the index was built.
            device: where to embed.
            threads: that decode pictures.
            rerank: what puts the results in another order than that of their similarities.

        Raises:
            InputError: no finished index, a damaged one, or not the network that built it.
        """
        index = storage.absolute(index)
        manifest = open_index_manifest(index)
        folder = model_of(manifest, model)
        from bridge.index.search import open_search_index
        from bridge.model.checkpoint import load

        self._model = load(folder, device)
        self._index = open_search_index(index, manifest)
        self._threads, self._rerank = threads, rerank
        self._precision: Precision = manifest.precision or "float32"
        self.catalogue = Catalogue(index, manifest)

    def search(
        self,
        images: Sequence[bytes],
        top: int = TOP,
        blur_levels: Sequence[int] = (),
        objects: Sequence[str] = (),
    ) -> list[Found]:
        """The `top` images of the index most like each encoded picture, as `answer`."""
        filters = tuple(blur_levels), tuple(objects)
        return self.answer([Query(image, top, *filters) for image in images])

    def answer(self, queries: Sequence[Query]) -> list[Found]:
        """One answer per query, in their order; embedded together, searched as each asks.

        Raises:
            InputError: a query asks for an object that the index does not have.
        """
        from bridge.index.rerank import search_reranked
        from bridge.model.embedding import embed_encoded

        images = [query.image for query in queries]
        embedded = embed_encoded(
            self._model, images, threads=self._threads, precision=self._precision
        )
        found = [Found()] * len(queries)
        for place, why in embedded.unreadable.items():
            found[place] = Found(error=why)
        alike: dict[tuple, list[int]] = {}
        for row, place in enumerate(embedded.rows):
            query = queries[place]
            alike.setdefault((query.top, query.blur_levels, query.objects), []).append(row)
        for (top, levels, objects), rows in alike.items():
            allowed = self.catalogue.allowed(levels, objects)
            scores, hits = search_reranked(
                self._index, embedded.descriptors[rows], top, self._rerank, allowed=allowed
            )
            for row, similarities, numbers in zip(rows, scores, hits, strict=True):
                found[embedded.rows[row]] = self._found(embedded, row, similarities, numbers)
        return found

    def _found(
        self, embedded: Embedded, row: int, similarities: np.ndarray, numbers: np.ndarray
    ) -> Found:
        numbers = numbers[numbers >= 0]
        entries = self.catalogue.entries(numbers)
        results = tuple(
            Hit(rank, round(float(similarity), 4), int(number), entry)
            for rank, (similarity, number, entry) in enumerate(
                # Fewer rows than asked for leave places without a number at the end.
                zip(similarities, numbers, entries, strict=False),
                start=1,
            )
        )
        severity = (
            None if embedded.blur_severity is None else round(float(embedded.blur_severity[row]), 4)
        )
        return Found(
            results,
            blur_severity=severity,
            blur_level=None if severity is None else blur_level(severity),
            bbox=None if embedded.boxes is None else rounded_box(embedded.boxes[row]),
        )
