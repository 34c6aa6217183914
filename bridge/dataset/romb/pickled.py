"""Plain data out of pickles, without running anything that a pickle names.

The published statistics are NumPy files that hold pickles, and a pickle is a program: whoever runs
it runs whatever it says. Here the standard library only takes a pickle apart into its instructions,
and a machine that knows the few that make data carries them out. Of the names in a pickle, those of
NumPy's arrays and numbers are recognised and answered here; nothing is imported or called by name.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_ARRAY = "numpy.ndarray"
_DTYPE = "numpy.dtype"
_NEW_ARRAY = ("numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct")
_NUMBER = ("numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar")
_BYTES, _NO_BYTES = "_codecs.encode", "__builtin__.bytes"
_NAMES = (_ARRAY, _DTYPE, *_NEW_ARRAY, *_NUMBER, _BYTES, _NO_BYTES)
"""All that a pickle may name: what NumPy 1 and 2 write arrays and numbers with."""

_CODE = re.compile(r"b1|[iu][1248]|f[248]|O8?|[US]\d{1,4}")
_KEYS = (str, bytes, int, float)
"""What dictionaries may be keyed by; tuples within tuples could be too deep to be hashed."""


class NotData(ValueError):
    """A pickle holds something other than plain data; the message says what."""


@dataclass(frozen=True)
class _Name:
    """Something that a pickle names."""

    name: str


@dataclass
class _Unfinished:
    """An array or a dtype that was begun and whose state is still to come.

    Attributes:
        code: of a dtype; None for an array.
        places: where the pickle has noted it.
    """

    code: str | None
    places: list[int] = field(default_factory=list)


def plain_data(data: bytes) -> Any:
    """What a pickle holds: None, numbers, texts, bytes, tuples, lists, dictionaries and arrays.

    Raises:
        NotData: it names anything else, or is damaged.
    """
    machine = _Machine(len(data))
    try:
        for instruction, argument, _ in pickletools.genops(io.BytesIO(data)):
            machine.do(instruction.name, argument)
        return machine.result()
    except NotData:
        raise
    # A hostile program fails in as many ways as there are bytes.
    except Exception as error:
        raise NotData(f"it is no sound pickle: {type(error).__name__}: {error}") from error


class _Machine:
    """Carries out the instructions of a pickle that make data.

    `room` is how many items may be copied out of what the pickle has noted, so that a small file
    cannot fill the memory: a sound one has a byte at least for each.
    """

    def __init__(self, room: int) -> None:
        self._stack: list[Any] = []
        # Where the items of lists, tuples and dictionaries begin.
        self._marks: list[int] = []
        self._notes: dict[int, Any] = {}
        self._room = room
        self._instructions: dict[str, Callable[[Any], None]] = {
            "PROTO": lambda _: None,
            "FRAME": lambda _: None,
            "STOP": lambda _: None,
            "MARK": lambda _: self._marks.append(len(self._stack)),
            "NONE": lambda _: self._stack.append(None),
            "NEWTRUE": lambda _: self._stack.append(True),
            "NEWFALSE": lambda _: self._stack.append(False),
            "EMPTY_LIST": lambda _: self._stack.append([]),
            "EMPTY_DICT": lambda _: self._stack.append({}),
            "EMPTY_TUPLE": lambda _: self._stack.append(()),
            "TUPLE": lambda _: self._stack.append(tuple(self._items())),
            "TUPLE1": lambda _: self._tuple(1),
            "TUPLE2": lambda _: self._tuple(2),
            "TUPLE3": lambda _: self._tuple(3),
            "APPEND": lambda _: self._append([self._stack.pop()]),
            "APPENDS": lambda _: self._append(self._items()),
            "SETITEM": lambda _: self._set([self._stack.pop(-2), self._stack.pop()]),
            "SETITEMS": lambda _: self._set(self._items()),
            "MEMOIZE": lambda _: self._note(len(self._notes)),
            "GLOBAL": lambda name: self._name(*name.split(" ", 1)),
            "STACK_GLOBAL": lambda _: self._name(self._stack.pop(-2), self._stack.pop()),
            "REDUCE": lambda _: self._answer(),
            "BUILD": lambda _: self._finish(),
        }
        for name in ("BINPUT", "LONG_BINPUT"):
            self._instructions[name] = self._note
        for name in ("BINGET", "LONG_BINGET"):
            self._instructions[name] = lambda place: self._stack.append(self._notes[place])
        for name in (
            *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT"),
            *("BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
            *("BINBYTES", "SHORT_BINBYTES", "BINBYTES8"),
        ):
            self._instructions[name] = self._stack.append

    def do(self, name: str, argument: Any) -> None:
        """Carry out one instruction."""
        if name not in self._instructions:
            raise NotData(f"it has the instruction {name}")
        self._instructions[name](argument)

    def result(self) -> Any:
        """What is left at the end."""
        (value,) = self._stack
        if self._marks or isinstance(value, _Name | _Unfinished):
            raise NotData("it ends in the middle of something")
        return value

    def _items(self) -> list[Any]:
        """All that came after the last mark."""
        start = self._marks.pop()
        items = self._stack[start:]
        del self._stack[start:]
        return items

    def _tuple(self, length: int) -> None:
        self._stack[-length:] = [tuple(self._stack[-length:])]

    def _append(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, list):
            raise NotData("it appends to what is no list")
        target += items

    def _set(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if not isinstance(target, dict) or not all(isinstance(k, _KEYS) for k in items[::2]):
            raise NotData("it has a dictionary with keys that are neither texts nor numbers")
        target.update(zip(items[::2], items[1::2], strict=True))

    def _note(self, place: int) -> None:
        value = self._stack[-1]
        self._notes[place] = value
        if isinstance(value, _Unfinished):
            value.places.append(place)

    def _name(self, module: str, name: str) -> None:
        full = f"{module}.{name}"
        if full not in _NAMES:
            raise NotData(f"it names {full[:100]}, which is no data")
        self._stack.append(_Name(full))

    def _answer(self) -> None:
        """What NumPy's own functions would give for their arguments."""
        function, arguments = self._stack.pop(-2), self._stack.pop()
        name = function.name if isinstance(function, _Name) else ""
        match arguments:
            case (_Name(name=kind), (0,), bytes()) if name in _NEW_ARRAY and kind == _ARRAY:
                value: Any = _Unfinished(None)
            case (str(code), *_) if name == _DTYPE and _CODE.fullmatch(code):
                value = _Unfinished(code)
            case (np.dtype() as dtype, bytes(content)) if name in _NUMBER and not dtype.hasobject:
                value = self._array((), dtype, False, content).item()
            case (str(text), "latin1") if name == _BYTES:
                self._spend(len(text))
                value = text.encode("latin1")
            case () if name == _NO_BYTES:
                value = b""
            case _:
                raise NotData(f"it calls {name or 'what cannot be called'} as NumPy does not")
        self._stack.append(value)

    def _finish(self) -> None:
        """Give what was begun its state, wherever the pickle has noted it."""
        state, begun = self._stack.pop(), self._stack.pop()
        match state:
            case (_, str(order), None, None, None, *_) if (
                isinstance(begun, _Unfinished) and begun.code and order in tuple("<>=|")
            ):
                value: Any = np.dtype(order.replace("|", "") + begun.code)
            case (_, tuple(shape), np.dtype() as dtype, bool(fortran), content) if (
                isinstance(begun, _Unfinished) and begun.code is None
            ):
                value = self._array(shape, dtype, fortran, content)
            case _:
                raise NotData("it builds something other than an array")
        self._stack.append(value)
        for place in begun.places:
            self._notes[place] = value

    def _array(
        self, shape: tuple[Any, ...], dtype: np.dtype[Any], fortran: bool, content: Any
    ) -> np.ndarray:
        if not all(type(length) is int and length >= 0 for length in shape):
            raise NotData("it has an array of an impossible shape")
        count = math.prod(shape)
        if dtype.hasobject:
            if not isinstance(content, list) or len(content) != count:
                raise NotData("it has an array that is not whole")
            self._spend(count)
            flat = np.fromiter(content, object, count)
        else:
            if not isinstance(content, bytes) or len(content) != count * dtype.itemsize:
                raise NotData("it has an array that is not whole")
            self._spend(dtype.itemsize if dtype.kind in "US" else 0)
            flat = np.frombuffer(content, dtype, count)
        return flat.reshape(shape, order="F" if fortran else "C")

    def _spend(self, items: int) -> None:
        self._room -= items
        if self._room < 0:
            raise NotData("it says the same thing too often")
