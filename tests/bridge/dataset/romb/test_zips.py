"""Archives are listed and unpacked as the standard library does it; hostile ones are refused."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bridge.common.errors import InputError
from bridge.dataset.romb import zips
from bridge.dataset.romb.archives import read_archives, read_photo_archives
from bridge.dataset.romb.zips import MEMBER, DamagedMember, entries, read_member
from tests.romb import tiny_png

PICTURE = "synthetic_data/02691156/abc/000/0_rendered.png"


def archive(path: Path, members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as file:
        for name, data in members.items():
            file.writestr(name, data)
    return path


def unpacked(path: Path) -> dict[str, bytes]:
    return {
        entry.name: read_member(str(path), np.array((0, *entry[1:]), MEMBER))
        for entry in entries(str(path))
    }


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_members_are_unpacked(method: int, tmp_path: Path) -> None:
    members = {"a/": b"", "a/b.png": bytes(range(256)) * 300, "ü ß/-c": b"x", "empty": b""}
    assert unpacked(archive(tmp_path / "a.zip", members, method)) == members


def test_long_lists_are_read_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(zips, "_BLOCK", 1000)
    members = {f"folder/{'x' * (i % 90)}/{i}": str(i).encode() for i in range(5000)}
    assert unpacked(archive(tmp_path / "a.zip", members)) == members


def test_long_names_and_notes_are_stepped_over(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        info = zipfile.ZipInfo("n" * 400)
        info.comment = b"c" * 70
        info.extra = struct.pack("<HH", 0x7777, 40) + b"e" * 40
        file.writestr(info, b"first")
        file.writestr("second", b"2")
        file.comment = b"PK and so on"
    assert unpacked(tmp_path / "a.zip") == {"n" * 400: b"first", "second": b"2"}


def test_archives_with_something_before_them(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {"a": b"1", "b": b"22"})
    path.write_bytes(b"#!/bin/sh\n" * 50 + path.read_bytes())
    assert unpacked(path) == {"a": b"1", "b": b"22"}


def test_archives_of_more_than_four_gigabytes(tmp_path: Path) -> None:
    """The second member lies behind 5 GB of nothing, in a sparse file."""
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", allowZip64=True) as file:
        file.writestr("first", b"1")
        file.fp.seek(5 << 30)  # type: ignore[union-attr]
        file.start_dir = 5 << 30
        file.writestr("second", b"22" * 50)
    assert unpacked(path) == {"first": b"1", "second": b"22" * 50}


def test_archives_of_more_members_than_two_bytes_count(tmp_path: Path) -> None:
    members = {str(i): b"" for i in range(70_000)}
    found = entries(str(archive(tmp_path / "a.zip", members, zipfile.ZIP_STORED)))
    assert [entry.name for entry in found] == list(members)


def with_link(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        info = zipfile.ZipInfo(PICTURE)
        info.create_system = 3
        info.external_attr = (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")


def named(name: str) -> Callable[[Path], None]:
    return lambda path: archive(path, {name: tiny_png(0)}) and None


def changed(change: Callable[[bytearray], None]) -> Callable[[Path], None]:
    def make(path: Path) -> None:
        data = bytearray(archive(path, {PICTURE: bytes(2000)}).read_bytes())
        change(data)
        path.write_bytes(data)

    return make


def field(offset: int, value: bytes) -> Callable[[bytearray], None]:
    """Changes a field of the list's first entry."""

    def change(data: bytearray) -> None:
        start = data.index(b"PK\1\2") + offset
        data[start : start + len(value)] = value

    return change


def end_field(offset: int, value: bytes) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        start = data.index(b"PK\5\6") + offset
        data[start : start + len(value)] = value

    return change


def cut(length: int) -> Callable[[bytearray], None]:
    def change(data: bytearray) -> None:
        del data[-length:]

    return change


def overlapping(path: Path) -> None:
    """Two names for the bytes of one member."""
    other = PICTURE.replace("0_", "1_")
    data = bytearray(archive(path, {PICTURE: bytes(2000), other: bytes(2000)}).read_bytes())
    first = data.index(b"PK\1\2")
    second = data.index(b"PK\1\2", first + 1)
    data[second + 42 : second + 46] = data[first + 42 : first + 46]
    path.write_bytes(data)


HOSTILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "outside": (named(f"../../{PICTURE}"), "points outside"),
    "inside and outside": (named("a/../../b/000/0_rendered.png"), "points outside"),
    "root": (named(f"/{PICTURE}"), "points outside"),
    "drive": (named(f"C:/{PICTURE}"), "points outside"),
    "backslash": (named(PICTURE.replace("/", "\\")), "points outside"),
    "link": (with_link, "is a link or a device"),
    "encrypted": (changed(field(8, b"\1\0")), "is encrypted"),
    "method": (changed(field(10, b"\x0c\0")), "packed by method 12"),
    "bomb": (changed(field(24, b"\xff\xff\xff\x7f")), "claims to have 2,147,483,647 bytes"),
    "beyond the end": (changed(field(42, b"\xff\xff\xff\x7f")), "over the end"),
    "overlap": (overlapping, "lie over each other"),
    "volumes": (changed(end_field(4, b"\2\0\2\0")), "one of several volumes"),
    "count": (changed(end_field(8, b"\7\0\7\0")), "1 of 7 members"),
    "list": (changed(field(0, b"XX")), "damaged"),
    "list start": (changed(end_field(16, b"\xff\xff\xff\x7f")), "not whole"),
    "cut": (changed(cut(30)), "no zip archive, or not whole"),
    "text": (lambda path: path.write_text("no archive"), "no zip archive"),
    "empty": (lambda path: path.write_bytes(b""), "no zip archive"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_and_damaged_archives_are_refused(name: str, tmp_path: Path) -> None:
    make, message = HOSTILE[name]
    make(tmp_path / "a.zip")
    with pytest.raises(InputError, match=message) as error:
        read_archives([str(tmp_path / "a.zip")])
    assert str(error.value).startswith(f"The archive {tmp_path / 'a.zip'} is ")


def test_a_folder_of_macos_beside_the_set_is_ignored(tmp_path: Path) -> None:
    members = {PICTURE: tiny_png(0), f"__MACOSX/{PICTURE.replace('0_', '._0_')}": b"x"}
    members[f"__MACOSX/{PICTURE}"] = b"x"
    catalogue = read_archives([str(archive(tmp_path / "a.zip", members))])[1]
    assert catalogue.objects == ("02691156/abc",)


def test_pictures_that_are_there_twice_are_refused(tmp_path: Path) -> None:
    paths = [str(archive(tmp_path / f"{i}.zip", {PICTURE: tiny_png(i)})) for i in range(2)]
    with pytest.raises(InputError, match="hold 02691156/abc/000/0_rendered.png twice"):
        read_archives(paths)


def test_sets_in_one_archive_are_refused(tmp_path: Path) -> None:
    members = {PICTURE: tiny_png(0), PICTURE.replace("_data", "_data_distractors"): tiny_png(1)}
    with pytest.raises(InputError, match="holds several sets"):
        read_archives([str(archive(tmp_path / "a.zip", members))])


def test_members_that_are_not_what_the_list_says_are_damaged(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {PICTURE: bytes(range(200)) * 20})
    source, catalogue = read_archives([str(path)])
    assert catalogue.members is not None
    member = catalogue.members[0, 0]
    assert source.picture(PICTURE, member) == bytes(range(200)) * 20
    data = bytearray(path.read_bytes())
    data[90] ^= 255
    other = tmp_path / "b.zip"
    other.write_bytes(data)
    with pytest.raises(DamagedMember):
        read_member(str(other), member)
    with pytest.raises(DamagedMember, match="not where the list"):
        moved = member.copy()
        moved["offset"] += 1
        read_member(str(path), moved)


def test_a_bomb_that_lies_about_its_size_is_not_unpacked_further(tmp_path: Path) -> None:
    path = archive(tmp_path / "a.zip", {PICTURE: bytes(50_000_000)})
    data = bytearray(path.read_bytes())
    field(24, struct.pack("<L", 1000))(data)
    path.write_bytes(data)
    source, catalogue = read_archives([str(path)])
    assert catalogue.members is not None
    with pytest.raises(DamagedMember):
        source.picture(PICTURE, catalogue.members[0, 0])


def test_huge_pictures_and_statistics_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bridge.dataset.romb.sources.MOST_IMAGE_BYTES", 10)
    monkeypatch.setattr("bridge.dataset.romb.sources.MOST_FILE_BYTES", 10)
    members = {PICTURE: tiny_png(0), "synthetic_data/stats/img_paths.json": b"[" + b" " * 90}
    source, catalogue = read_archives([str(archive(tmp_path / "a.zip", members))])
    assert catalogue.members is not None
    with pytest.raises(DamagedMember, match="too large"):
        source.picture(PICTURE, catalogue.members[0, 0])
    with pytest.raises(InputError, match="is refused: it has 91 bytes"):
        source.file("stats/img_paths.json")


def test_photos_of_archives(tmp_path: Path) -> None:
    names = ["blur_level_1/000_000_000.png", "blur_level_6/034_003_156.png"]
    members = {f"real_data/{name}": tiny_png(i) for i, name in enumerate(names)}
    members["real_data/stats/all_images.json"] = b"[]"
    source, photos = read_photo_archives([str(archive(tmp_path / "a.zip", members))])
    assert list(photos) == names
    assert source.picture(names[1], photos[names[1]]) == tiny_png(1)
    assert source.file("stats/all_images.json") == b"[]"
    with pytest.raises(InputError, match="a second time"):
        read_photo_archives([str(tmp_path / "a.zip")] * 2)


def test_what_zipfile_reads_is_what_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    members = {f"{i}/x": rng.integers(0, 9, 5000).astype(np.uint8).tobytes() for i in range(20)}
    path = archive(tmp_path / "a.zip", members)
    with zipfile.ZipFile(io.BytesIO(path.read_bytes())) as file:
        assert unpacked(path) == {name: file.read(name) for name in file.namelist()}
