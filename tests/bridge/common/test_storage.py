from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common import storage
from bridge.common.errors import InputError


def test_round_trip_and_no_temporary_files(tmp_path: Path) -> None:
    target = storage.join(tmp_path, "a", "b.bin")
    storage.write_bytes(target, b"old")
    storage.write_bytes(target, b"new")
    assert storage.read_bytes(target) == b"new"
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.bin"]


def test_failed_write_keeps_the_old_file(tmp_path: Path) -> None:
    target = tmp_path / "value.json"
    storage.write_json(target, {"x": 1})
    with pytest.raises(ValueError):
        storage.write_json(target, {"x": float("nan")})
    assert storage.read_json(target) == {"x": 1}
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.parametrize("content", [None, b"{ torn"])
def test_missing_or_torn_json_is_an_input_error(tmp_path: Path, content: bytes | None) -> None:
    target = tmp_path / "value.json"
    if content is not None:
        target.write_bytes(content)
    with pytest.raises(InputError, match="value.json"):
        storage.read_json(target)


def test_unwritable_output_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        storage.prepare_output(tmp_path / "file" / "out")


def test_uris_stay_as_they_are_and_unknown_ones_are_refused() -> None:
    assert storage.absolute("s3://bucket/x") == "s3://bucket/x"
    assert storage.join("s3://bucket/x/", "y") == "s3://bucket/x/y"
    with pytest.raises(InputError, match="nowhere"):
        storage.filesystem("nowhere://bucket")


def test_object_store_paths_work_like_local_ones(tmp_path: Path) -> None:
    # file:// takes the branch of the object stores: one stream, no rename.
    target = f"file://{tmp_path}/a.json"
    storage.write_json(target, {"x": 1})
    assert storage.exists(target)
    assert storage.read_json(target) == {"x": 1}


def test_json_hash_ignores_the_order_of_keys() -> None:
    assert storage.sha256_json({"a": 1, "b": 2}) == storage.sha256_json({"b": 2, "a": 1})
    assert storage.sha256_json({"a": 1}) != storage.sha256_json({"a": 2})


def test_a_file_that_can_be_written_stays_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("old")
    assert storage.prepare_file(file) == str(file)
    assert storage.prepare_file(tmp_path / "a" / "b.html") == str(tmp_path / "a" / "b.html")
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]
    assert file.read_text() == "old"


@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("", "is a folder, not a file"),
        ("file/page.html", "no folder to write in"),
        ("file/below/page.html", "no folder to write in"),
        ("\x1b[31m.html", r"\\x1b\[31m.html has letters that cannot be printed"),
    ],
)
def test_a_file_that_cannot_be_written_is_an_input_error(
    tmp_path: Path, name: str, why: str
) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=why):
        storage.prepare_file(tmp_path / name)


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "\udcff"])
def test_outputs_of_names_that_terminals_obey_are_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="cannot be printed"):
        storage.prepare_output(tmp_path / name)
    assert list(tmp_path.iterdir()) == []
    assert storage.prepare_output(tmp_path / "größe\u202f日本") == str(tmp_path / "größe\u202f日本")


def test_what_is_not_there_is_removed_already(tmp_path: Path) -> None:
    storage.write_bytes(tmp_path / "a" / "b", b"1")
    for _ in range(2):
        storage.delete(tmp_path / "a" / "b")
        storage.delete_folder(tmp_path / "a")
    assert list(tmp_path.iterdir()) == []
