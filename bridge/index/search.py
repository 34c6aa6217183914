"""Search by inner product over descriptors (paper, Sec. 3: nearest neighbours): FAISS.

The inner product of L2-normalised descriptors is their cosine similarity.
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.record import from_json
from bridge.index.folder import FAISS_FILE, IndexManifest
from bridge.index.layouts import Layout, is_of_type, searched, set_effort


def build_index(descriptors: ArrayLike) -> faiss.IndexFlatIP:
    """Exact inner-product index over float descriptors [N, d], held as float32.

    Row i of `descriptors` is row i of the index. Raises ValueError unless they are a finite matrix.
    """
    array = _checked(descriptors, "descriptors")
    index = faiss.IndexFlatIP(array.shape[1])
    index.add(array)
    return index


def save_index(index: faiss.Index, path: str | Path) -> None:
    """Write the index to a file, local or `s3://`/`gs://`: whole or not at all.

    It is written piece by piece: no second copy of it is held in memory, but where it goes to an
    object store, one on this machine's disk until it is there.
    """
    # Where FAISS writes a file itself, it does not notice that the last of it finds no room.
    with storage.replaced(path) as temporary, open(temporary, "wb") as file:
        faiss.write_index(index, faiss.PyCallbackIOWriter(file.write))


def load_index(path: str | Path, *, mmap: bool = False) -> faiss.Index:
    """Read what `save_index` wrote.

    With `mmap`, a local file is mapped: it opens at once, its pages are read as searches touch
    them, processes share them, and nothing can be added. Files elsewhere are read into memory.

    Raises:
        InputError: there is none, it is cut off, or it is not an index. (The loss of less than
            8 bytes at the end of a mapped file is noticed by `open_search_index` alone.)
    """
    if not storage.exists(path):
        raise InputError(f"There is no index at {path}.")
    try:
        if not storage.is_uri(path):
            file = storage.absolute(path)
            return faiss.read_index(file, faiss.IO_FLAG_MMAP_IFC if mmap else 0)
        with storage.open_read(path) as stream:
            return faiss.read_index(faiss.PyCallbackIOReader(stream.read))
    except (RuntimeError, MemoryError) as error:
        raise InputError(f"{path} is damaged or is not a FAISS index.") from error


def open_search_index(index: str, manifest: IndexManifest, *, verify: bool = False) -> faiss.Index:
    """The search index of a finished INDEX, memory-mapped, with its search parameters set.

    Args:
        index: the INDEX folder.
        manifest: its manifest.
        verify: compare the file's hash, which reads all of it; its size, type, dimension and
            number of rows are always compared.

    Raises:
        InputError: there is none, or it is not the one that the manifest describes.
    """
    path, record = storage.join(index, FAISS_FILE), manifest.search
    if not record:
        raise InputError(f"{index} has no search index: run build_index.py again.")
    if not is_file(path, record["bytes"], record["sha256"] if verify else None):
        raise InputError(f"{path} is missing or damaged: run build_index.py again.")
    found = load_index(path, mmap=True)
    layout = from_json(Layout, record["layout"], f"layout of {path}")
    rows = sum(part.rows for part in manifest.searched_parts)
    same = (found.d, found.ntotal, record["rows"]) == (manifest.dimension, rows, rows)
    if not same or not is_of_type(found, layout):
        raise InputError(f"{path} is not the index that its manifest describes: build it again.")
    set_effort(found, record["effort"])
    return found


def is_file(path: str, size: int, sha256: str | None = None) -> bool:
    """Whether there is a file of this size in bytes and, where given, of this hash."""
    # A folder has no size and a missing file has none either.
    if storage.file_size(path) != size:
        return False
    return sha256 is None or storage.sha256_file(path) == sha256


def search(
    index: faiss.Index,
    queries: ArrayLike,
    top: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `top` most similar rows of each query, best first.

    Args:
        index: of N rows.
        queries: float [Q, d].
        top: how many; at least 1.
        allowed: bool [N], the rows that may be found; default: all.

    Returns:
        Similarities float32 [Q, k] and row numbers int64 [Q, k] with k = min(top, N). Where fewer
        rows than that are found, the rest are row -1 of similarity -inf.

    Raises:
        ValueError: mis-shaped or non-finite queries, mis-shaped `allowed`, or `top` < 1.
    """
    array, top = _checked_search(index, queries, top, allowed)
    if not _has_any(index, allowed):
        return _nothing(len(array), top)
    where, parameters = searched(index, allowed)
    similarities, rows = where.search(array, top, params=parameters)
    similarities[rows < 0] = -np.inf
    return similarities, rows


def search_descriptors(
    index: faiss.Index,
    queries: ArrayLike,
    top: int,
    *,
    allowed: NDArray[np.bool_] | None = None,
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """As `search`, with the descriptors float32 [Q, k, d] of the rows as the index holds them.

    They are zeros where there is no row.
    """
    array, top = _checked_search(index, queries, top, allowed)
    if not _has_any(index, allowed):
        return *_nothing(len(array), top), np.zeros((len(array), top, index.d), np.float32)
    where, parameters = searched(index, allowed)
    if allowed is None or not isinstance(where, faiss.IndexIVF):
        similarities, rows, found = where.search_and_reconstruct(array, top, params=parameters)
        found[rows < 0] = 0
    else:
        # Lists cannot be searched for some rows and tell where in them these are, both at once.
        similarities, rows = where.search(array, top, params=parameters)
        where.make_direct_map()
        found = np.zeros((*rows.shape, index.d), np.float32)
        found[rows >= 0] = where.reconstruct_batch(rows[rows >= 0])
    similarities[rows < 0] = -np.inf
    return similarities, rows, found


def _checked_search(
    index: faiss.Index, queries: ArrayLike, top: int, allowed: NDArray[np.bool_] | None
) -> tuple[NDArray[np.float32], int]:
    """The queries, and how many rows can be found at most; ValueError as `search`."""
    array = _checked(queries, "queries")
    if array.shape[1] != index.d:
        raise ValueError(f"queries have {array.shape[1]} dimensions, the index has {index.d}.")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}.")
    if allowed is not None and (allowed.dtype != bool or allowed.shape != (index.ntotal,)):
        raise ValueError(
            f"allowed must be {index.ntotal} booleans, not {allowed.dtype} {allowed.shape}."
        )
    return array, min(top, index.ntotal)


def _has_any(index: faiss.Index, allowed: NDArray[np.bool_] | None) -> bool:
    return bool(index.ntotal and (allowed is None or allowed.any()))


def _nothing(queries: int, top: int) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    shape = queries, top
    return np.full(shape, -np.inf, np.float32), np.full(shape, -1, np.int64)


def _checked(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(values, np.float32)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must be a [rows, d] array, not {list(array.shape)}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain NaN or infinite values.")
    return array
