"""Types of search index: exact, HNSW and IVF-PQ, their sizes and what a search in them is given.

An index is described by its `Layout`. How much of it a search looks at is its effort: the number
of lists (nprobe) for IVF-PQ, the length of the candidate list (efSearch) for HNSW.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from bridge.index.config import IndexType

CENTROIDS = 256
"""Per sub-vector of a code: one byte."""
POINTS_PER_CENTROID = 39
"""Fewer training points than this make poor lists (FAISS's own limit)."""
POINTS_PER_LIST = 64
"""Training rows that are drawn for each list."""
MOST_LISTS = 2**16
LINKS = 32
"""Neighbours of an HNSW row; twice as many at the bottom, where all rows are."""
CONSTRUCTION = 80
"""Candidates that HNSW looks at for each row that it links (efConstruction)."""
CANDIDATES_PER_RESULT = 10
"""Rows that IVF-PQ ranks again with finer codes, for each row asked for."""
_CODEBOOK_ROUNDS, _CODEBOOK_POINTS = 10, 48
"""Of the k-means of the codebooks: more of either costs minutes and gains no recall."""
_SPARSE = 0.1
"""Where fewer rows than this share are allowed, HNSW would find hardly any of them."""


@dataclass(frozen=True)
class Layout:
    """How an index stores its rows."""

    type: IndexType
    lists: int = 0
    """IVF-PQ: lists that the rows are divided among by the nearest centroid."""
    code_bytes: int = 0
    """IVF-PQ: bytes of a row's product-quantised code."""
    refined: bool = False
    """IVF-PQ: whether each row has a second code, a byte for every dimension, to rank again by."""
    links: int = 0
    """HNSW: neighbours of a row."""

    @property
    def factory(self) -> str:
        """FAISS's name for it."""
        if self.type == "exact":
            return "Flat"
        if self.type == "hnsw":
            return f"HNSW{self.links},Flat"
        # np: no polysemous training, which takes minutes and serves another kind of search.
        return f"IVF{self.lists},PQ{self.code_bytes}np" + (",Refine(SQ8)" if self.refined else "")

    def bytes_per_row(self, dimension: int) -> float:
        """Mean bytes of one more row of `dimension` numbers."""
        if self.type == "exact":
            return 4 * dimension
        if self.type == "hnsw":
            # A place in the link table and a level; of the levels above, each has 1/links as
            # many rows as the one below.
            return 4 * dimension + 12 + 4 * (2 * self.links + self.links / (self.links - 1))
        return self.code_bytes + 8 + dimension * self.refined

    def nbytes(self, rows: int, dimension: int) -> int:
        """Size of the whole index, in memory and in its file, within a few per cent."""
        fixed = 0
        if self.type == "ivfpq":
            fixed = 4 * dimension * (self.lists + CENTROIDS) + 8 * self.lists
        return math.ceil(rows * self.bytes_per_row(dimension)) + fixed


def layouts(rows: int, dimension: int, index_type: IndexType | None = None) -> list[Layout]:
    """What can be made of so many rows, that of the best recall first; all types, or one.

    The first of a type is its default. IVF-PQ needs 256 rows to learn its codes from.
    """
    made = [Layout("exact"), Layout("hnsw", links=LINKS)]
    if rows >= CENTROIDS:
        lists = _number_of_lists(rows)
        codes = [dimension // size for size in (2, 4, 8, 16) if dimension % size == 0]
        codes = codes or [dimension]
        made += [Layout("ivfpq", lists, code, refined=True) for code in codes[1:2] or codes]
        made += [Layout("ivfpq", lists, code) for code in codes]
    return [layout for layout in made if index_type in (None, layout.type)]


def _number_of_lists(rows: int) -> int:
    """The power of two nearest to 4 sqrt(rows) that has enough rows to learn from."""
    wanted = 2 ** round(math.log2(4 * math.sqrt(rows)))
    most = 2 ** int(math.log2(max(1, rows // POINTS_PER_CENTROID)))
    return min(wanted, most, MOST_LISTS)


def training_rows(layout: Layout, rows: int) -> int:
    """How many of the rows to learn the layout's centroids and codes from; 0 where it has none."""
    if layout.type != "ivfpq":
        return 0
    return min(rows, max(POINTS_PER_LIST * layout.lists, _CODEBOOK_POINTS * CENTROIDS))


def new_index(layout: Layout, dimension: int, sample: NDArray[np.float32]) -> faiss.Index:
    """An index without rows, trained on a sample float32 [n, d] where its layout needs that."""
    index = faiss.index_factory(dimension, layout.factory, faiss.METRIC_INNER_PRODUCT)
    if layout.type == "hnsw":
        index.hnsw.efConstruction = CONSTRUCTION
    if layout.type == "ivfpq":
        lists = _ivf(index)
        lists.cp.min_points_per_centroid = lists.pq.cp.min_points_per_centroid = 1
        lists.cp.max_points_per_centroid = POINTS_PER_LIST
        lists.pq.cp.niter = _CODEBOOK_ROUNDS
        lists.pq.cp.max_points_per_centroid = _CODEBOOK_POINTS
        index.train(sample)
    if layout.refined:
        index.k_factor = CANDIDATES_PER_RESULT
    return index


def merge(index: faiss.Index, other: faiss.Index) -> None:
    """Move the rows of `other` behind those of `index`; both are of one layout, but not HNSW."""
    if isinstance(index, faiss.IndexRefine):
        merge(faiss.downcast_index(index.base_index), faiss.downcast_index(other.base_index))
        merge(faiss.downcast_index(index.refine_index), faiss.downcast_index(other.refine_index))
        index.ntotal = index.base_index.ntotal
    else:
        index.merge_from(other, index.ntotal if isinstance(index, faiss.IndexIVF) else 0)


def reserve(index: faiss.Index, rows: int) -> None:
    """Make room for so many rows in all, so that merging never holds them twice."""
    if isinstance(index, faiss.IndexRefine):
        reserve(faiss.downcast_index(index.refine_index), rows)
    elif isinstance(index, faiss.IndexFlatCodes):
        used = index.codes.size()
        index.codes.resize(rows * index.code_size)
        index.codes.resize(used)


def is_of_type(index: faiss.Index, layout: Layout) -> bool:
    """Whether an index that was read has this layout."""
    if layout.type == "exact":
        return isinstance(index, faiss.IndexFlat)
    if layout.type == "hnsw":
        return isinstance(index, faiss.IndexHNSWFlat)
    if isinstance(index, faiss.IndexRefine) != layout.refined:
        return False
    lists = _ivf(index)
    return (
        isinstance(lists, faiss.IndexIVFPQ)
        and lists.nlist == layout.lists
        and layout.code_bytes == lists.pq.M
    )


def efforts(layout: Layout) -> Sequence[int]:
    """The efforts to choose from, rising; exact search has but one."""
    if layout.type == "exact":
        return [0]
    if layout.type == "hnsw":
        return [100, 150, 200, 300, 400, 600, 800]
    return [2**power for power in range(layout.lists.bit_length())]


def set_effort(index: faiss.Index, effort: int) -> None:
    """Have every search in the index use this effort."""
    if isinstance(index, faiss.IndexHNSW):
        index.hnsw.efSearch = effort
    elif not isinstance(index, faiss.IndexFlat):
        _ivf(index).nprobe = effort


def searched(
    index: faiss.Index, allowed: NDArray[np.bool_] | None
) -> tuple[faiss.Index, faiss.SearchParameters | None]:
    """The index to search, and how, so that allowed rows alone are found; None: all of them.

    The effort grows by as much as there are fewer rows, so that as many of them are looked at. At
    least one row must be allowed.
    """
    if allowed is None:
        return index, None
    selector = faiss.IDSelectorBitmap(np.packbits(allowed, bitorder="little"))
    share = np.count_nonzero(allowed) / len(allowed)
    if isinstance(index, faiss.IndexHNSW):
        if share < _SPARSE:
            return faiss.downcast_index(index.storage), faiss.SearchParameters(sel=selector)
        effort = math.ceil(index.hnsw.efSearch / share)
        return index, faiss.SearchParametersHNSW(sel=selector, efSearch=effort)
    return index, _restricted(index, selector, share)


def _restricted(index: faiss.Index, selector: faiss.IDSelector, share: float) -> Any:
    if isinstance(index, faiss.IndexRefine):
        base = _restricted(faiss.downcast_index(index.base_index), selector, share)
        return faiss.IndexRefineSearchParameters(k_factor=index.k_factor, base_index_params=base)
    if isinstance(index, faiss.IndexIVF):
        lists = min(index.nlist, math.ceil(index.nprobe / share))
        return faiss.SearchParametersIVF(sel=selector, nprobe=lists)
    return faiss.SearchParameters(sel=selector)


def _ivf(index: faiss.Index) -> faiss.Index:
    base = index.base_index if isinstance(index, faiss.IndexRefine) else index
    return faiss.downcast_index(base)
