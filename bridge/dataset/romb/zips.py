"""Zip archives of millions of files: the list of their members, and single members, unpacked.

The list is read once, in blocks, and is checked as a whole: names that point outside, links,
encrypted members, sizes that cannot be and members that lie over each other are refused.
"""

from __future__ import annotations

import io
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.reading import reading

MEMBER = np.dtype(
    [
        ("archive", np.int16),
        ("method", np.int8),
        ("offset", np.int64),
        ("packed", np.int64),
        ("size", np.int64),
        ("crc", np.uint32),
    ]
)
"""Where a member is: the number of its archive (-1: there is none) and what its list says."""

MEMBER_BYTES = struct.Struct("<hbqqqL")
"""Of a `MEMBER`."""

STORED, DEFLATED = 0, 8
DEFLATE_AT_MOST = 1032
"""How many times smaller DEFLATE can make anything."""

_BLOCK = 1 << 23
_END = struct.Struct("<4s4H2LH")
_END_64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR = struct.Struct("<4sLQL")
_ENTRY = struct.Struct("<4s4B4H3L5H2L")
_HEAD = struct.Struct("<4s5H3L2H")
_MAXIMUM = 0xFFFFFFFF
"""Of sizes and offsets: larger ones are in an extra field."""
_ZIP_64 = 1
_UTF8, _ENCRYPTED = 0x800, 0x1
_UNIX = 3
_OUTSIDE = re.compile(r"^/|^[A-Za-z]:|\\|\0|(^|/)\.\.(/|$)")
_USUAL_HEAD = 256
"""Bytes that are read with a member for its name and extra fields."""


class DamagedMember(ValueError):
    """A member is not what the list of its archive says."""


class _Refused(ValueError):
    """An archive is not to be read, sound or not."""


class Entry(NamedTuple):
    """A file, or a folder where the name ends in a slash."""

    name: str
    method: int
    offset: int
    packed: int
    size: int
    crc: int


def entries(path: str) -> Iterator[Entry]:
    """The members of an archive, in the order of its list.

    Raises:
        InputError: it is no archive, damaged, one of several volumes, or hostile.
    """
    with reading(f"The archive {path}"):
        file = _opened(path)
        start, size, count, shift = _list_of(file)
        found = 0
        try:
            for entry in _parsed(file, start, size, shift):
                _refuse(entry, start)
                found += 1
                yield entry
        except _Refused as error:
            raise InputError(f"The archive {path} is refused: {error}.") from error
        if found != count:
            raise ValueError(f"its list has {found:,} of {count:,} members")


def refuse_overlap(path: str, members: np.ndarray) -> None:
    """InputError where members of an archive, `MEMBER` [N], share bytes, as those of bombs do."""
    order = np.argsort(members["offset"], kind="stable")
    starts, packed = members["offset"][order], members["packed"][order]
    if (starts[:-1] + _HEAD.size + packed[:-1] > starts[1:]).any():
        raise InputError(f"The archive {path} is refused: members lie over each other.")


def read_member(path: str, member: Any) -> bytes:
    """A member, a row of `MEMBER`, unpacked and compared with its checksum.

    Raises:
        DamagedMember: it is not what the list says.
    """
    file = _opened(path)
    offset, packed, size = int(member["offset"]), int(member["packed"]), int(member["size"])
    data = _read(path, file, _HEAD.size + _USUAL_HEAD + packed, offset)
    if len(data) < _HEAD.size or data[:4] != b"PK\3\4":
        raise DamagedMember("it is not where the list of its archive says")
    *_, name, extra = _HEAD.unpack_from(data)
    start = _HEAD.size + name + extra
    if name + extra > _USUAL_HEAD:
        data = _read(path, file, start + packed, offset)
    data = data[start : start + packed]
    if member["method"] == DEFLATED:
        unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
        try:
            data = unpacker.decompress(data, size + 1)
        except zlib.error as error:
            raise DamagedMember(f"it cannot be unpacked: {error}") from error
    if len(data) != size or zlib.crc32(data) != member["crc"]:
        raise DamagedMember("it is not what the list of its archive says")
    return bytes(data)


def _read(path: str, file: pa.NativeFile, size: int, offset: int) -> bytes:
    # An object store that does not answer is no fault of the member's.
    with storage.told(path):
        data: bytes = file.read_at(size, offset)
    return data


@lru_cache(maxsize=64)
def _opened(path: str) -> pa.NativeFile:
    """One open file per archive and process: it is read from any place."""
    fs, inner = storage.filesystem(path)
    return fs.open_input_file(inner)


def _list_of(file: pa.NativeFile) -> tuple[int, int, int, int]:
    """Start and bytes of the list, members in it, and bytes that lie before the archive."""
    length = file.size()
    tail = file.read_at(min(length, _END.size + 0xFFFF), max(0, length - _END.size - 0xFFFF))
    place = tail.rfind(b"PK\5\6")
    if place < 0 or len(tail) - place < _END.size:
        raise ValueError("it is no zip archive, or not whole")
    _, disk, first, _, count, size, offset, _ = _END.unpack_from(tail, place)
    end = length - len(tail) + place
    locator = file.read_at(_LOCATOR.size, max(0, end - _LOCATOR.size))
    if locator[:4] == b"PK\6\7":
        _, _, _, volumes = _LOCATOR.unpack(locator)
        record = file.read_at(_END_64.size, max(0, end - _LOCATOR.size - _END_64.size))
        if record[:4] != b"PK\6\6" or volumes > 1:
            raise ValueError("it is one of several volumes, or its end is not whole")
        *_, disk, first, _, count, size, offset = _END_64.unpack(record)
        end -= _LOCATOR.size + _END_64.size
    if disk or first:
        raise ValueError("it is one of several volumes: join them to one archive first")
    shift = end - size - offset
    if shift < 0:
        raise ValueError("it is not whole")
    return offset + shift, size, count, shift


def _parsed(file: pa.NativeFile, start: int, size: int, shift: int) -> Iterator[Entry]:
    block, place, stop = b"", 0, start + size
    while place < len(block) or start < stop:
        # An entry has at most three fields of 64 kB beside its numbers.
        if len(block) - place < _ENTRY.size + 3 * 0xFFFF and start < stop:
            more = file.read_at(min(_BLOCK, stop - start), start)
            if not more:
                raise ValueError("its list is not whole")
            start += len(more)
            block, place = block[place:] + more, 0
        entry, place = _entry(block, place, shift)
        yield entry


def _refuse(entry: Entry, end: int) -> None:
    """_Refused where an entry is not to be read, of an archive whose members end somewhere."""
    name, method, offset, packed, size, _ = entry
    why = ""
    # Nearly all names have none of these, which are found faster than by the expression.
    doubtful = name[:1] == "/" or ".." in name or ":" in name or "\\" in name or "\0" in name
    if doubtful and _OUTSIDE.search(name):
        why = "points outside"
    elif method not in (STORED, DEFLATED):
        why = f"is packed by method {method}, where 0 and 8 are known"
    elif size > (DEFLATE_AT_MOST * packed if method == DEFLATED else packed):
        why = f"claims to have {size:,} bytes in {packed:,}"
    elif offset + _HEAD.size + packed > end:
        why = "reaches over the end of the members"
    if why:
        raise _Refused(f"{shown(name)} {why}")


def _long(extra: bytes, numbers: tuple[int, int, int]) -> Iterator[int]:
    """Size, packed size and offset, those that have 8 bytes from the field for them."""
    place = 0
    while place + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, place)
        if kind == _ZIP_64:
            field = io.BytesIO(extra[place + 4 : place + 4 + length])
            for number in numbers:
                yield int.from_bytes(field.read(8), "little") if number == _MAXIMUM else number
            return
        place += 4 + length
    raise ValueError("its list is damaged")


def _entry(block: bytes, place: int, shift: int) -> tuple[Entry, int]:
    """The entry at a place of the list, and the place behind it."""
    if len(block) - place < _ENTRY.size:
        raise ValueError("its list is not whole")
    # fmt: off
    (signature, _, system, _, _, flags, method, _, _, crc, packed, size, name_length, extra_length,
     note_length, volume, _, attributes, offset) = _ENTRY.unpack_from(block, place)
    # fmt: on
    if signature != b"PK\1\2":
        raise ValueError("its list is damaged")
    begin = place + _ENTRY.size
    raw = block[begin : begin + name_length]
    if len(raw) < name_length:
        raise ValueError("its list is not whole")
    name = raw.decode("utf-8" if flags & _UTF8 else "cp437")
    if _MAXIMUM in (size, packed, offset):
        extra = block[begin + name_length : begin + name_length + extra_length]
        size, packed, offset = _long(extra, (size, packed, offset))
    if flags & _ENCRYPTED:
        raise _Refused(f"{shown(name)} is encrypted")
    kind = stat.S_IFMT(attributes >> 16) if system == _UNIX else 0
    if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise _Refused(f"{shown(name)} is a link or a device")
    if volume not in (0, 0xFFFF):
        raise ValueError("it is one of several volumes: join them to one archive first")
    end = begin + name_length + extra_length + note_length
    return Entry(name, method, offset + shift, packed, size, crc), end
