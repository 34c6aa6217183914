"""NumPy's files, `.npy` and `.npz`, whatever they hold: no code of theirs is ever run."""

from __future__ import annotations

import io
import math
import zipfile
from typing import Any

import numpy as np
from numpy.lib import format as npy_format

from bridge.common.errors import InputError
from bridge.common.reading import reading
from bridge.dataset.romb.pickled import NotData, plain_data

MOST_BYTES = 1 << 31
"""Of all arrays in an `.npz`; the published ones have 12 MB."""


def read_npy(data: bytes, source: str) -> Any:
    """What an `.npy` file holds: an array, or the one object that was saved as such.

    Args:
        data: the file.
        source: its name, for messages.

    Raises:
        InputError: it is damaged, or a pickle of more than plain data.
    """
    with reading(source):
        file = io.BytesIO(data)
        version = npy_format.read_magic(file)
        if version not in ((1, 0), (2, 0)):
            raise ValueError(f"version {version} of the format is unknown")
        first = version == (1, 0)
        header = npy_format.read_array_header_1_0 if first else npy_format.read_array_header_2_0
        shape, fortran, dtype = header(file)
        content = file.read()
        if not dtype.hasobject:
            if dtype.kind not in "biufUS" or len(content) != math.prod(shape) * dtype.itemsize:
                raise ValueError("it is not whole")
            flat = np.frombuffer(content, dtype, math.prod(shape))
            return flat.reshape(shape, order="F" if fortran else "C")
    try:
        value = plain_data(content)
    except NotData as error:
        raise InputError(f"{source} is refused: {error}.") from error
    if not isinstance(value, np.ndarray):
        raise InputError(f"{source} is refused: it holds no array.")
    return value.item() if value.ndim == 0 else value


def read_npz(data: bytes, source: str) -> dict[str, np.ndarray]:
    """The arrays of an `.npz` file by name.

    Raises:
        InputError: as `read_npy`, or the arrays would be larger than `MOST_BYTES`.
    """
    arrays = {}
    with reading(source), zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = archive.infolist()
        if sum(member.file_size for member in members) > MOST_BYTES:
            raise ValueError(f"it would take more than {MOST_BYTES:,} bytes")
        for member in members:
            name = member.filename.removesuffix(".npy")
            arrays[name] = read_npy(archive.read(member), f"{source}: {member.filename}")
    return arrays
