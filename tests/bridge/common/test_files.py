from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.common.files import BROKEN, HIDDEN, LINKED_TWICE, UNPRINTABLE, Folders, natural, shown


def touch(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def found(folders: Folders) -> list[str]:
    return [os.path.relpath(path, folders.root) for path in folders.files()]


def test_files_come_by_name_at_any_depth_and_the_rest_is_counted(tmp_path: Path) -> None:
    touch(tmp_path, "b/x.JPG", "a.jpg", "b/a/y.jpg", "c.txt", "b/README", "b/d.TXT")
    touch(tmp_path, "._a.jpg", "__MACOSX/a.jpg", ".git/a.jpg", "@eaDir/a.jpg", "two\nlines.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere.jpg")
    folders = Folders(tmp_path, (".jpg",))
    assert found(folders) == ["a.jpg", "b/x.JPG", "b/a/y.jpg"]
    assert folders.passed_over == {HIDDEN: 4, UNPRINTABLE: 1, BROKEN: 1}
    assert folders.other_types == {".txt": 2, "": 1}
    assert folders.summary().endswith("3 of other types (.txt, no suffix)")
    assert "4 hidden" in folders.summary() and "types" not in folders.summary((".zip",))


def test_names_that_are_not_utf_8_are_passed_over(tmp_path: Path) -> None:
    name = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    with open(name, "wb"):
        pass
    os.mkdir(os.fsencode(tmp_path) + b"/\xb9")
    touch(tmp_path, "café.jpg")
    folders = Folders(tmp_path, (".jpg",))
    assert found(folders) == ["café.jpg"]
    assert folders.passed_over == {UNPRINTABLE: 2}
    assert shown(os.fsdecode(name)).endswith("/caf\\xe9.jpg")
    assert shown("a\x1b[31m\n") == "a\\x1b[31m\\n"


def test_linked_folders_are_listed_once(tmp_path: Path) -> None:
    root = tmp_path / "root"
    touch(tmp_path, "outside/o.jpg")
    touch(root, "a/one.jpg", "b/two.jpg")
    for link, target in {
        "loop": ".",
        "up": "..",
        "a/up": "..",
        "aa": "b",
        "far": "../outside",
        "b/far": "../../outside",
    }.items():
        (root / link).symlink_to(target)
    folders = Folders(root, (".jpg",))
    assert found(folders) == ["a/one.jpg", "b/two.jpg", "far/o.jpg"]
    assert folders.passed_over == {LINKED_TWICE: 5}
    assert not Folders(root, (".png",)).summary((".jpeg",))


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_that_cannot_be_read_are_counted(tmp_path: Path) -> None:
    touch(tmp_path, "shut/a.jpg", "b.jpg")
    (tmp_path / "shut").chmod(0)
    folders = Folders(tmp_path, (".jpg",))
    assert found(folders) == ["b.jpg"]
    assert folders.passed_over == {BROKEN: 1}
    (tmp_path / "shut").chmod(0o700)


def test_names_are_sorted_as_people_sort_them() -> None:
    assert sorted(["a10", "A2", "a1/b", "7", "b"], key=natural) == ["7", "a1/b", "A2", "a10", "b"]


def test_a_screenshot_of_macos_counts(tmp_path: Path) -> None:
    """Its name has a narrow space that does not break, which Python does not call printable."""
    name = "Screenshot 2026-11-28 at 1.02.03\u202fPM.png"
    (tmp_path / name).touch()
    (tmp_path / "a\u202eb.png").touch()
    folders = Folders(tmp_path, (".png",))
    assert [Path(path).name for path in folders.files()] == [name]
    assert folders.passed_over == {UNPRINTABLE: 1}
    assert shown(name) == name and "\\u202e" in shown("a\u202eb.png")
