"""NumPy files of plain data are read as NumPy reads them; all others are refused, and never run."""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.dataset.romb.npy import read_npy, read_npz
from bridge.dataset.romb.pickled import NotData, plain_data

ONE_HOT = np.eye(3)[1]
VALUES: list[Any] = [
    np.arange(6.0).reshape(2, 3),
    np.asfortranarray(np.arange(6).reshape(2, 3)),
    np.array([["a/b.png", "0", "003"], ["c", "5", "034"]]),
    np.array([], np.float32),
    {"m": ["a/1_rendered.png", "ü-ß/2_rendered.png"], "leer": []},
    {"m": [("p", 0.5, 2, ONE_HOT), ("q", np.float64(0.25), np.int64(3), ONE_HOT)]},
    {0: [[0.5, 1.0], []], 1: (None, True, False, -7, 1 << 70, b"bytes")},
    {"nested": {"deep": [1, (2, [3])]}, "text": np.array(["x", "yz"]), "flag": np.bool_(True)},
    [["000", "001"], ["002"], []],
]


def saved(value: Any, **options: Any) -> bytes:
    buffer = io.BytesIO()
    array = value if isinstance(value, np.ndarray) else np.empty((), object)
    if array is not value:
        array[()] = value
    np.save(buffer, array, **options)
    return buffer.getvalue()


def npy_of(pickled: bytes) -> bytes:
    """An .npy file with a pickle of its own."""
    start = saved({})
    return start[: start.index(b"\n") + 1] + pickled


@pytest.mark.parametrize("value", VALUES, ids=str)
def test_what_numpy_saves_is_read(value: Any) -> None:
    same(read_npy(saved(value), "x.npy"), value)


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("value", VALUES, ids=str)
def test_pickles_of_every_age_are_read(value: Any, protocol: int) -> None:
    same(plain_data(pickle.dumps(value, protocol=protocol)), value)


def test_names_of_both_ages_of_numpy_are_known() -> None:
    data = pickle.dumps({"m": [("p", np.float64(0.5), ONE_HOT)]}, protocol=3)
    other = data.replace(b"numpy._core.multiarray", b"numpy.core.multiarray")
    assert other != data or b"numpy.core" in data
    same(plain_data(other), {"m": [("p", 0.5, ONE_HOT)]})


def test_an_array_of_lists_is_read() -> None:
    lists = np.empty(3, object)
    lists[:] = [[0.1, 0.2], [], [0.3]]
    assert read_npy(saved(lists), "x.npy").tolist() == lists.tolist()


def test_an_npz_is_read() -> None:
    buffer = io.BytesIO()
    np.savez(buffer, np.arange(3.0), np.zeros(0))
    found = read_npz(buffer.getvalue(), "x.npz")
    assert {name: array.tolist() for name, array in found.items()} == {
        "arr_0": [0.0, 1.0, 2.0],
        "arr_1": [],
    }


def same(found: Any, wanted: Any) -> None:
    if isinstance(wanted, np.ndarray):
        assert isinstance(found, np.ndarray)
        assert found.dtype == wanted.dtype
        np.testing.assert_array_equal(found, wanted)
    elif isinstance(wanted, dict):
        assert found.keys() == wanted.keys()
        for key, value in wanted.items():
            same(found[key], value)
    elif isinstance(wanted, list | tuple):
        assert type(found) is type(wanted)
        assert len(found) == len(wanted)
        for one, other in zip(found, wanted, strict=True):
            same(one, other)
    else:
        assert found == wanted


class Bomb:
    """Makes a file where it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize("wrap", [lambda bomb: bomb, lambda bomb: {"m": [bomb]}])
def test_a_bomb_does_not_go_off(wrap: Callable[[Any], Any], tmp_path: Path) -> None:
    marker = tmp_path / "marker"
    data = pickle.dumps(wrap(Bomb(marker)))
    pickle.loads(data)
    assert marker.exists()
    marker.unlink()
    with pytest.raises(InputError, match="x.npy is refused: it names .*, which is no data"):
        read_npy(npy_of(data), "x.npy")
    assert not marker.exists()


@pytest.mark.parametrize(
    "program",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x03cbuiltins\neval\nX\x04\x00\x00\x001+1\n\x85R.",
        b"\x80\x03cnumpy\nload\nX\x01\x00\x00\x00x\x85R.",
        b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x04true\x85R.",
        b"\x80\x03cnumpy\nndarray\n.",
        b"\x80\x03cnumpy\nndarray\nK\x03\x85R.",
        b"\x80\x03cnumpy\nndarray\n}b.",
        b"\x80\x03X\x01\x00\x00\x00x}b.",
        b"\x80\x03}K\x01b.",
        b"\x80\x02\x82\x01.",
        b"\x80\x02Px\n.",
        b"\x80\x03K\x01K\x02.",
        b"\x80\x03(.",
        b"\x80\x03K\x01",
        b"\x80\x03h\x07.",
        b"\x80\x03}))s.",
        b"\x80\x03]]e.",
        b"\x80\x03K\x01K\x02a.",
        b"\x80\x03r\xff\xff\xff\x7f.",
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\x00\x00.",
        b"",
        b"\x80\x03" + b"(" * 100_000 + b"t" * 99_999 + b".",
    ],
)
def test_programs_are_refused(program: bytes) -> None:
    with pytest.raises(NotData):
        plain_data(program)


def test_arrays_that_are_not_whole_are_refused() -> None:
    for change in (
        lambda data: data.replace(b"K\x03\x85", b"K\x04\x85"),
        lambda data: data.replace(b"f8", b"f4"),
        lambda data: data.replace(b"f8", b"O8"),
        lambda data: data.replace(b"f8", b"V8"),
    ):
        data = pickle.dumps(np.arange(3.0), protocol=3)
        assert change(data) != data
        with pytest.raises(NotData):
            plain_data(change(data))


def test_a_small_file_cannot_fill_the_memory() -> None:
    """Many arrays of one list, which is noted once."""
    array = pickle.dumps(np.array([None] * 1000), protocol=3)
    body = array[2:-1]
    again = body[: body.index(b"\x89]")] + b"\x89h\x0dtb"
    assert len(plain_data(b"\x80\x03](" + body + b"e.")) == 1
    with pytest.raises(NotData, match="too often"):
        plain_data(b"\x80\x03](" + body + 1000 * again + b"e.")


@pytest.mark.parametrize("cut", [0, 5, 20, 100])
def test_files_that_are_cut_are_damaged(cut: int) -> None:
    with pytest.raises(InputError, match="x.npy"):
        read_npy(saved(np.arange(9.0))[:cut], "x.npy")


def test_an_npz_that_would_fill_the_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bridge.dataset.romb.npy.MOST_BYTES", 1000)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("arr_0.npy", saved(np.zeros(1000)))
    with pytest.raises(InputError, match="would take more than 1,000 bytes"):
        read_npz(buffer.getvalue(), "x.npz")
