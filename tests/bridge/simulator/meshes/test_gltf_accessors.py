from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes.gltf_accessors import MAX_UNSTORED, is_stored, read_accessor
from bridge.simulator.meshes.gltf_file import GltfFile
from bridge.simulator.meshes.surface import MeshError
from tests.bridge.simulator.meshes.gltf_files import Gltf

ROWS = [[0, 1, 2], [3, 4, 5]]


def read(folder: Path, gltf: Gltf, number: int, *kinds: str, shares: bool = False) -> np.ndarray:
    return read_accessor(GltfFile(gltf.save(folder)), number, kinds or ["VEC3"], shares=shares)


@pytest.mark.parametrize("kind", ["i1", "u1", "i2", "u2", "u4", "f4"])
def test_numbers_of_every_type_are_read_as_they_are(tmp_path: Path, kind: str) -> None:
    gltf = Gltf()
    gltf.accessor([[9, 9, 9]], "u1")
    values = read(tmp_path, gltf, gltf.accessor(ROWS, kind))
    assert values.tolist() == ROWS
    assert values.dtype == np.dtype(kind)


@pytest.mark.parametrize(
    ("kind", "stored", "meant"),
    [
        ("u1", [0, 128, 255], [0, 128 / 255, 1]),
        ("u2", [0, 1, 65535], [0, 1 / 65535, 1]),
        ("i1", [-128, -127, 127], [-1, -1, 1]),
        ("i2", [-32768, 0, 32767], [-1, 0, 1]),
    ],
)
def test_shares_of_a_range(tmp_path: Path, kind: str, stored: list, meant: list) -> None:
    gltf = Gltf()
    told = gltf.accessor([stored], kind, normalized=True)
    untold = gltf.accessor([stored], kind)
    assert read(tmp_path, gltf, told)[0] == pytest.approx(meant)
    assert read(tmp_path, gltf, untold)[0].tolist() == stored
    assert read(tmp_path, gltf, untold, shares=True)[0] == pytest.approx(meant)


def test_rows_may_be_interleaved(tmp_path: Path) -> None:
    gltf = Gltf()
    table = np.arange(15, dtype="<f4").reshape(3, 5)
    view = gltf.view(table.tobytes(), byteStride=20)
    place = {"bufferView": view, "componentType": 5126, "count": 3}
    first = gltf.add("accessors", place | {"type": "VEC3"})
    second = gltf.add("accessors", place | {"type": "VEC2", "byteOffset": 12})
    assert read(tmp_path, gltf, first).tolist() == table[:, :3].tolist()
    assert read(tmp_path, gltf, second, "VEC2").tolist() == table[:, 3:].tolist()


def sparse(gltf: Gltf, rows: list, values: list, kind: str = "u1") -> dict:
    places = gltf.view(np.array(rows, kind).tobytes())
    code = {"u1": 5121, "f4": 5126}[kind]
    return {
        "count": len(rows),
        "indices": {"bufferView": places, "componentType": code},
        "values": {"bufferView": gltf.view(np.array(values, "<f4").tobytes())},
    }


def test_rows_may_be_replaced_over_others_and_over_nothing(tmp_path: Path) -> None:
    gltf = Gltf()
    over = gltf.accessor(ROWS, sparse=sparse(gltf, [1], [[7, 8, 9]]))
    alone = gltf.accessor(ROWS, sparse=sparse(gltf, [0], [[7, 8, 9]]))
    nothing = gltf.accessor(ROWS)
    for number in (alone, nothing):
        del gltf.header["accessors"][number]["bufferView"]
    assert read(tmp_path, gltf, over).tolist() == [ROWS[0], [7, 8, 9]]
    assert read(tmp_path, gltf, alone).tolist() == [[7, 8, 9], [0, 0, 0]]
    assert read(tmp_path, gltf, nothing).tolist() == [[0, 0, 0]] * 2
    file = GltfFile(gltf.save(tmp_path))
    assert [is_stored(file, number) for number in (over, alone, nothing)] == [True, True, False]


def test_what_is_read_twice_is_not_changed(tmp_path: Path) -> None:
    gltf = Gltf()
    number = gltf.accessor(ROWS)
    file = GltfFile(gltf.save(tmp_path))
    read_accessor(file, number, ["VEC3"])[:] = 7
    assert read_accessor(file, number, ["VEC3"]).tolist() == ROWS


@pytest.mark.parametrize(
    "change",
    [
        {"count": 3},
        {"count": -1},
        {"count": 10**12},
        {"byteOffset": 4},
        {"byteOffset": -4},
        {"componentType": 5124},
        {"type": "VEC4"},
        {"type": "MAT2"},
        {"bufferView": 7},
    ],
)
def test_damage_is_refused(tmp_path: Path, change: dict) -> None:
    gltf = Gltf()
    with pytest.raises(MeshError, match="^unreadable"):
        read(tmp_path, gltf, gltf.accessor(ROWS, **change))


def test_strides_and_replacements_stay_within_bounds(tmp_path: Path) -> None:
    gltf = Gltf()
    close = gltf.accessor(ROWS)
    gltf.header["bufferViews"][-1]["byteStride"] = 4
    beyond = gltf.accessor(ROWS, sparse=sparse(gltf, [2], [[7, 8, 9]]))
    broken = gltf.accessor(ROWS, sparse=sparse(gltf, [0], [[7, 8, 9]], "f4"))
    long = gltf.accessor(ROWS, count=MAX_UNSTORED + 1)
    del gltf.header["accessors"][long]["bufferView"]
    for number in (close, beyond, broken, long):
        with pytest.raises(MeshError, match="^unreadable"):
            read(tmp_path, gltf, number)
