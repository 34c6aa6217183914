"""Typed records: ranges of options, and JSON files that are read into dataclasses.

Fields declare what they may hold in their type, with `annotated_types` or the names below:

    @dataclass(frozen=True)
    class Walk:
        steps: Count = 10
        pace: Positive = 1.0

        def __post_init__(self) -> None:
            check(self)

    Walk(steps=0)  # InputError: `steps` must be at least 1, not 0.
    from_json(Walk, {"steps": "ten"}, "w.json")  # w.json: steps: must be a valid integer, ...

Errors name a parameter in backquotes; the command line shows its option instead.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from types import UnionType
from typing import (
    TYPE_CHECKING,
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    get_args,
    get_origin,
    get_type_hints,
)

from annotated_types import Ge, Gt, Le, Lt, MinLen, Predicate

from bridge.common import storage
from bridge.common.errors import InputError

# Options that are right, as nearly all are, are read without pydantic: it would take as long to
# import as all else that reads them. It judges the doubtful ones, and files.
if TYPE_CHECKING:
    from pydantic import TypeAdapter, ValidationError

Record = TypeVar("Record")

_SHOULD = re.compile(r"^\w+ should")
"""As errors of pydantic begin."""

Count = Annotated[int, Ge(1)]
"""At least one."""
WholeNumber = Annotated[int, Ge(0)]
"""At least zero."""
_FINITE = Predicate(math.isfinite)
Positive = Annotated[float, _FINITE, Gt(0)]
NonNegative = Annotated[float, _FINITE, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]
"""In 0..1."""


def check(options: Any) -> None:
    """Check every field of a dataclass against its type; call it in `__post_init__`.

    Raises:
        InputError: names the first field that is out of its range, and the range.
    """
    for name, hint in _checked_fields(type(options)).items():  # type: ignore[arg-type]
        value = getattr(options, name)
        if not _is_plainly(hint, value):
            _judge(name, hint, value)


def _is_plainly(hint: Any, value: Any) -> bool:
    """Whether a value is of a type and in its range beyond doubt; False where that is not clear."""
    kind, parts = get_origin(hint), get_args(hint)
    if kind is Annotated:
        return _is_plainly(parts[0], value) and all(_meets(limit, value) for limit in parts[1:])
    if kind is Literal:
        return any(type(value) is type(part) and value == part for part in parts)
    if kind in (Union, UnionType):
        return any(_is_plainly(part, value) for part in parts)
    if kind is tuple:
        if not isinstance(value, tuple):
            return False
        parts = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(parts) == len(value) and all(map(_is_plainly, parts, value))
    # True is an int to Python, but no count of anything.
    return isinstance(hint, type) and isinstance(value, hint) and hint in (bool, type(value))


def _meets(limit: Any, value: Any) -> bool:
    match limit:
        case Ge(least):
            return bool(value >= least)
        case Gt(bound):
            return bool(value > bound)
        case Le(most):
            return bool(value <= most)
        case Lt(bound):
            return bool(value < bound)
        case MinLen(least):
            return len(value) >= least
        case Predicate(holds):
            return holds(value)
    return False


def _judge(name: str, hint: Any, value: Any) -> None:
    from pydantic import ValidationError

    try:
        _adapter(hint).validate_python(value, strict=True)
    except ValidationError as error:
        raise InputError(f"`{name}` {_complaint(error)}.") from error


def to_json(record: Any) -> Any:
    """A dataclass, with all that it holds, as JSON values.

    Numbers that JSON does not have stay what they are, for the writer to refuse.
    """
    from pydantic_core import to_jsonable_python

    return to_jsonable_python(record, inf_nan_mode="constants")


def from_json(kind: type[Record], value: Any, source: str) -> Record:
    """The record that `to_json` made, of a parsed JSON value; keys that it lacks are passed over.

    Raises:
        InputError: names `source`, the field, and what was expected of it.
    """
    return _parse(kind, json.dumps(value).encode(), source)


def read_record(kind: type[Record], path: str | Path) -> Record:
    """The record in a JSON file.

    Raises:
        InputError: it is missing or unreadable, or names the field and what was expected of it.
    """
    try:
        data = storage.read_bytes(path)
    except FileNotFoundError as error:
        raise InputError(f"{path} does not exist.") from error
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error}.") from error
    return _parse(kind, data, str(path))


@contextmanager
def uncollected() -> Iterator[None]:
    """A block that makes up to millions of objects, but no circle among them.

    Python's search for circles takes half the time of reading a large manifest.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def _parse(kind: type[Record], data: bytes, source: str) -> Record:
    from pydantic import ValidationError

    try:
        with uncollected():
            # Strict JSON lets lists be tuples, but no text be a number.
            return _adapter(kind).validate_json(data, strict=True)  # type: ignore[arg-type]
    except ValidationError as error:
        place = ".".join(str(part) for part in error.errors()[0]["loc"])
        raise InputError(
            f"{source}: {place + ': ' if place else ''}{_complaint(error)}."
        ) from error


def _complaint(error: ValidationError) -> str:
    """What is wrong with the first wrong value."""
    first = error.errors()[0]
    limits = first.get("ctx", {})
    match first["type"]:
        case "missing":
            return "is missing"
        case "greater_than_equal":
            expected = f"must be at least {limits['ge']:g}"
        case "greater_than":
            expected = f"must be more than {limits['gt']:g}"
        case "less_than_equal":
            expected = f"must be at most {limits['le']:g}"
        case "less_than":
            expected = f"must be less than {limits['lt']:g}"
        case "predicate_failed":
            expected = "must be a finite number"
        case "too_short":
            expected = f"must have at least {limits['min_length']} items"
        case "json_invalid":
            return "is not valid JSON"
        case "value_error":
            # A dataclass within has checked itself.
            return str(limits["error"]).removesuffix(".")
        case _:
            expected = _SHOULD.sub("must", first["msg"])
    shown = repr(first["input"])
    return f"{expected}, not {shown if len(shown) <= 100 else shown[:97] + '...'}"


@lru_cache(maxsize=256)
def _adapter(kind: Any) -> TypeAdapter[Any]:
    from pydantic import TypeAdapter

    return TypeAdapter(kind)


@lru_cache(maxsize=256)
def _checked_fields(kind: Any) -> dict[str, Any]:
    """Types of a dataclass's fields but for those that hold dataclasses, which check themselves."""
    hints = get_type_hints(kind, include_extras=True)
    return {
        field.name: hints[field.name]
        for field in dataclasses.fields(kind)
        if not dataclasses.is_dataclass(getattr(hints[field.name], "__origin__", hints[field.name]))
    }
