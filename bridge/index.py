"""Exact search by inner product over descriptors (paper, Sec. 3.1: nearest neighbours): FAISS.

The inner product of L2-normalised descriptors is their cosine similarity.
"""

from __future__ import annotations

from pathlib import Path

import faiss
import numpy as np
from numpy.typing import ArrayLike, NDArray

from bridge import storage
from bridge.errors import InputError


def build_index(descriptors: ArrayLike) -> faiss.IndexFlatIP:
    """Exact inner-product index over float descriptors [N, d], held as float32.

    Row i of `descriptors` is row i of the index. Raises ValueError unless they are a finite matrix.
    """
    array = _checked(descriptors, "descriptors")
    index = faiss.IndexFlatIP(array.shape[1])
    index.add(array)
    return index


def save_index(index: faiss.Index, path: str | Path) -> None:
    """Write the index to a file, local or `s3://`/`gs://`: whole or not at all."""
    storage.write_bytes(path, faiss.serialize_index(index).tobytes())


def load_index(path: str | Path) -> faiss.Index:
    """Read what `save_index` wrote. Raises InputError where there is none or it is damaged."""
    try:
        return faiss.deserialize_index(np.frombuffer(storage.read_bytes(path), np.uint8))
    except FileNotFoundError as error:
        raise InputError(f"There is no index at {path}.") from error
    except RuntimeError as error:
        raise InputError(f"{path} is damaged or is not a FAISS index.") from error


def search(
    index: faiss.Index, queries: ArrayLike, top: int
) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """The `top` most similar rows of each query, best first.

    `queries` are float [Q, d]. Returns similarities float32 [Q, k] and row numbers int64 [Q, k]
    with k = min(top, rows of the index). Raises ValueError for mis-shaped or non-finite queries,
    or `top` < 1.
    """
    array = _checked(queries, "queries")
    if array.shape[1] != index.d:
        raise ValueError(f"queries have {array.shape[1]} dimensions, the index has {index.d}.")
    if top < 1:
        raise ValueError(f"top must be at least 1, not {top}.")
    similarities, rows = index.search(array, min(top, index.ntotal))
    return similarities, rows


def _checked(values: ArrayLike, name: str) -> NDArray[np.float32]:
    array = np.ascontiguousarray(values, np.float32)
    if array.ndim != 2 or array.shape[1] == 0:
        raise ValueError(f"{name} must be a [rows, d] array, not {list(array.shape)}.")
    if not np.isfinite(array).all():
        raise ValueError(f"{name} contain NaN or infinite values.")
    return array
