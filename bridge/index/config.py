"""What can be chosen of a search index, as data; nothing here needs FAISS."""

from __future__ import annotations

from typing import Literal, get_args

IndexType = Literal["exact", "ivfpq", "hnsw"]
INDEX_TYPES: tuple[IndexType, ...] = get_args(IndexType)

TOP = 20
"""Results of a search where nothing is said."""
