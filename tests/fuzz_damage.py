"""Ways to damage a file: its bytes, and where it is JSON or Parquet, what it says."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

Damage = Callable[[bytes, random.Random], bytes]


def damage(folder: Path, files: Sequence[str], key: str, manifest: str | None) -> str:
    """Damage a file of an artefact; says which, and how.

    Args:
        folder: of the artefact.
        files: patterns of its files.
        key: decides which file and which way.
        manifest: the file in which the hashes of the others are. Half of the Parquet files that
            were written anew come with the right hash there, as from somebody who knows how.
    """
    chance = random.Random(key)
    path = chance.choice(sorted(p for pattern in files for p in folder.glob(pattern)))
    ways = list(_OF_BYTES)
    if path.suffix in (".json", ".jsonl"):
        ways = [*ways, *4 * _OF_JSON]
    elif path.suffix == ".parquet":
        ways = [*ways, *2 * _OF_PARQUET]
    way = chance.choice(ways)
    old = path.read_bytes()
    new = way(old, chance)
    # The file is linked to the sound one.
    path.unlink()
    path.write_bytes(new)
    told = f"{path.relative_to(folder)} {way.__name__.strip('_')}"
    if manifest and way in _OF_PARQUET and chance.random() < 0.5:
        _vouch(folder / manifest, old, new)
        told += ", vouched for"
    return told


def _vouch(manifest: Path, old: bytes, new: bytes) -> None:
    from bridge.common.storage import sha256

    text = manifest.read_text().replace(sha256(old), sha256(new))
    manifest.unlink()
    manifest.write_text(text)


def _flip(data: bytes, chance: random.Random) -> bytes:
    changed = bytearray(data)
    for _ in range(chance.choice([1, 1, 8])):
        if changed:
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
    return bytes(changed)


def _cut(data: bytes, chance: random.Random) -> bytes:
    return data[: chance.choice([chance.randrange(len(data) + 1), len(data) - 1, 0])]


def _zero(data: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(data) + 1), chance.choice([1, 64, 4096])
    return data[:start] + bytes(min(length, len(data) - start)) + data[start + length :]


def _insert(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + chance.randbytes(chance.choice([1, 7, 300])) + data[start:]


def _remove(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[:start] + data[start + chance.choice([1, 7, 300]) :]


def _repeat(data: bytes, chance: random.Random) -> bytes:
    start = chance.randrange(len(data) + 1)
    return data[: start + 300] + data[start:]


def _replace(data: bytes, chance: random.Random) -> bytes:
    return chance.choice(
        [chance.randbytes(500), b"{}", b"[]", b"null", b"0", b'"a"', b"<html></html>", b"PK\3\4"]
    )


_OF_BYTES: tuple[Damage, ...] = (_flip, _cut, _zero, _insert, _remove, _repeat, _replace)

_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 10**400, 1e308, -0.5, float("nan"), float("inf"),
    "", "a", "\0", "../../etc/passwd", "\ud800", "x" * 100_000, [], {}, [None], {"a": None},
)  # fmt: skip


def _value(data: bytes, chance: random.Random) -> bytes:
    """Another value in the place of one."""

    def change(value: Any) -> Any:
        return chance.choice(_VALUES)

    return _changed_json(data, chance, change)


def _delete(data: bytes, chance: random.Random) -> bytes:
    """One value less."""
    return _changed_json(data, chance, lambda value: _GONE)


def _deepen(data: bytes, chance: random.Random) -> bytes:
    """A value within very many lists."""
    deep = "[" * 50_000 + "]" * 50_000
    text = _changed_json(data, chance, lambda value: "DEEP").decode()
    return text.replace('"DEEP"', deep, 1).encode()


def _double(data: bytes, chance: random.Random) -> bytes:
    """A list twice, where a value is a list."""
    return _changed_json(data, chance, lambda v: v + v if isinstance(v, list) else v)


_OF_JSON: tuple[Damage, ...] = (_value, _delete, _deepen, _double)
_GONE = object()


def _changed_json(data: bytes, chance: random.Random, change: Callable[[Any], Any]) -> bytes:
    """JSON, or one of its lines, with one of its values changed."""
    lines = data.split(b"\n") if data.count(b"\n{") > 1 and data.startswith(b'{"') else [data]
    number = chance.randrange(len(lines))
    if not lines[number].strip():
        return data
    root = [json.loads(lines[number])]
    places: list[tuple[Any, Any]] = [(root, 0)]
    for holder, name in places:
        value = holder[name]
        if isinstance(value, dict):
            places += [(value, key) for key in value]
        elif isinstance(value, list):
            places += [(value, key) for key in range(len(value))]
    holder, name = chance.choice(places)
    new = change(holder[name])
    if new is not _GONE:
        holder[name] = new
    elif holder is not root:
        del holder[name]
    lines[number] = json.dumps(root[0]).encode()
    return b"\n".join(lines)


def _column(data: bytes, chance: random.Random) -> bytes:
    """A column less, of nulls, of another type or name, or another order."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    place = chance.randrange(table.num_columns)
    name, kind = table.schema.names[place], table.schema.types[place]
    match chance.randrange(6):
        case 0:
            table = table.drop_columns([name])
        case 1:
            table = table.set_column(place, name, pa.nulls(len(table), kind))
        case 2:
            table = table.set_column(place, name, pa.array([f"{i}" for i in range(len(table))]))
        case 3:
            table = table.set_column(place, name, pa.array(range(len(table)), pa.int64()))
        case 4:
            table = table.rename_columns([f"{n}x" if n == name else n for n in table.schema.names])
        case _:
            table = table.select(table.schema.names[::-1])
    return _parquet(table)


def _rows(data: bytes, chance: random.Random) -> bytes:
    """Rows less, twice, in another order, or none."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(io.BytesIO(data))
    match chance.randrange(4):
        case 0:
            table = table.slice(0, chance.randrange(len(table) + 1))
        case 1:
            table = pa.concat_tables([table, table])
        case 2:
            table = table.take(chance.sample(range(len(table)), len(table)))
        case _:
            table = table.slice(0, 0)
    return _parquet(table)


def _parquet(table: Any) -> bytes:
    import pyarrow.parquet as pq

    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


_OF_PARQUET: tuple[Damage, ...] = (_column, _rows)
