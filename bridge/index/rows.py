"""Single rows of an INDEX, read from the parts that hold them."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from bridge.index.folder import ROWS_PER_GROUP, IndexManifest, checked, open_part

_CACHED_GROUPS = 64


class RowReader:
    """What is known of single rows of `index.faiss`, read from the parts that hold them.

    Holds no more than `_CACHED_GROUPS` row groups in memory, whatever the size of the index.
    """

    def __init__(self, index: str, manifest: IndexManifest) -> None:
        self._index, self._parts = index, manifest.searched_parts
        self._dimension = manifest.dimension
        self._first = np.cumsum([0, *(part.rows for part in self._parts)])
        self._group = lru_cache(_CACHED_GROUPS)(self._read_group)

    def __len__(self) -> int:
        return int(self._first[-1])

    def rows(self, numbers: ArrayLike) -> list[dict[str, Any]]:
        """The columns but the descriptor, of each row number; IndexError beyond the last."""
        return [self._row(int(number)) for number in np.asarray(numbers)]

    def _row(self, number: int) -> dict[str, Any]:
        if not 0 <= number < len(self):
            raise IndexError(f"The index has {len(self)} rows, not a row {number}.")
        part = int(np.searchsorted(self._first, number, "right")) - 1
        group, place = divmod(number - int(self._first[part]), ROWS_PER_GROUP)
        return {name: values[place] for name, values in self._group(part, group).items()}

    def _read_group(self, part: int, group: int) -> dict[str, list[Any]]:
        with open_part(self._index, self._parts[part], self._dimension) as parquet:
            names = [n for n in parquet.schema_arrow.names if n not in ("descriptor", "thumbnail")]
            return checked(parquet.read_row_group(group, columns=names)).to_pydict()
