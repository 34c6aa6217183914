from __future__ import annotations

import os
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.common.picture_options import PhotoLayout
from bridge.dataset.manifest import Rejection
from bridge.dataset.photo_listing import (
    LISTING,
    list_photos,
    roles_of,
    without_duplicates,
)
from tests.factories import write_photos


def labels(root: Path, layout: PhotoLayout) -> dict[str, tuple[str | None, str | None, int | None]]:
    rows = list_photos(str(root), layout).table.to_pylist()
    return {row["path"]: (row["object_id"], row["category"], row["trajectory"]) for row in rows}


def test_folders_say_what_photos_show(tmp_path: Path) -> None:
    write_photos(tmp_path, "mug/a.jpg", "mug/b.JPG", "mug/fall/1.png", "mug/fall/2.png", "c.jpg")
    assert labels(tmp_path, "flat") == dict.fromkeys(
        ("mug/a.jpg", "mug/b.JPG", "mug/fall/1.png", "mug/fall/2.png", "c.jpg"), (None, None, None)
    )
    assert labels(tmp_path, "objects") == {
        "c.jpg": (None, None, None),
        "mug/a.jpg": ("mug", None, 0),
        "mug/b.JPG": ("mug", None, 1),
        "mug/fall/1.png": ("mug", None, 2),
        "mug/fall/2.png": ("mug", None, 2),
    }
    found = labels(tmp_path, "categories")
    assert found["mug/fall/2.png"] == ("mug/fall", "mug", 1)
    assert found["mug/a.jpg"] == (None, None, None)


def test_two_categories_may_have_a_model_of_one_name(tmp_path: Path) -> None:
    write_photos(tmp_path, "mug/001/a.jpg", "shoe/001/a.jpg")
    assert {label[0] for label in labels(tmp_path, "categories").values()} == {
        "mug/001",
        "shoe/001",
    }


@pytest.mark.parametrize(
    ("names", "layout"),
    [
        (["a.jpg"], "flat"),
        (["x/a.jpg", "y/b.jpg"], "objects"),
        (["c/x/a.jpg", "c/y/b.jpg"], "categories"),
        (["x/a.jpg", "b.jpg"], "flat"),
        (["2023/05/01/a.jpg"], "flat"),
    ],
)
def test_the_layout_is_seen_where_all_photos_agree(
    names: list[str], layout: str, tmp_path: Path
) -> None:
    write_photos(tmp_path, *names)
    listing = list_photos(str(tmp_path), "auto")
    assert listing.layout == layout and listing.table.schema == LISTING
    assert listing.table["path"].to_pylist() == sorted(names)
    assert listing.table["size"].to_pylist() == [
        os.path.getsize(tmp_path / name) for name in sorted(names)
    ]


def test_names_of_all_kinds_are_listed_and_others_counted(tmp_path: Path) -> None:
    names = ["-dash.jpg", "a b.jpg", "été/日本.png", "x.heic", "y.AVIF"]
    write_photos(tmp_path, *names)
    write_photos(tmp_path, ".hidden.jpg", ".folder/a.jpg", "notes.txt", "new\nline.jpg")
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nothing")
    listing = list_photos(str(tmp_path), "flat")
    assert listing.table["path"].to_pylist() == sorted(names)
    assert listing.passed_over == {
        "hidden": 2,
        "of other types": 1,
        "unreadable or links to nothing": 1,
        "with a name that cannot be printed": 1,
    }


@pytest.mark.parametrize(
    ("names", "said"),
    [([], "holds no photo"), (["a.txt", ".b.jpg"], "passed over: 1 hidden, 1 of other types")],
)
def test_folders_without_photos_are_refused(names: list[str], said: str, tmp_path: Path) -> None:
    write_photos(tmp_path, *names)
    with pytest.raises(InputError, match=said):
        list_photos(str(tmp_path), "auto")
    with pytest.raises(InputError, match="gone does not exist"):
        list_photos(str(tmp_path / "gone"), "auto")


def test_photos_of_one_content_are_taken_once(tmp_path: Path) -> None:
    write_photos(tmp_path, "b.jpg", "c.jpg")
    same = (tmp_path / "b.jpg").read_bytes()
    (tmp_path / "a.jpg").write_bytes(same)
    # As long as the others, but another one.
    (tmp_path / "d.jpg").write_bytes(same[:-1] + b"x")
    listing = list_photos(str(tmp_path), "flat")
    once = without_duplicates(str(tmp_path), listing)
    assert once.table["path"].to_pylist() == ["a.jpg", "c.jpg", "d.jpg"]
    assert once.rejections == (Rejection("duplicate", "b.jpg", "the same as a.jpg"),)
    assert without_duplicates(str(tmp_path), once) == once
    # What is there already comes before all others, whatever its name.
    paths = listing.table["path"].to_pylist()
    earlier = listing.table.take([paths.index("b.jpg")])
    new = listing.table.take([paths.index(name) for name in ("a.jpg", "d.jpg")])
    later = without_duplicates(str(tmp_path), type(listing)(new, "flat"), earlier)
    assert later.table["path"].to_pylist() == ["d.jpg"]
    assert later.rejections == (Rejection("duplicate", "a.jpg", "the same as b.jpg"),)


def test_only_files_of_one_size_are_read_for_duplicates(tmp_path: Path) -> None:
    for size in range(10, 20):
        (tmp_path / f"{size}.jpg").write_bytes(b"x" * size)
    (tmp_path / "again.jpg").write_bytes(b"y" * 10)
    listing = list_photos(str(tmp_path), "flat")
    for path in tmp_path.iterdir():
        if path.name not in ("10.jpg", "again.jpg"):
            path.unlink()
    assert without_duplicates(str(tmp_path), listing) == listing
    # Nor are earlier ones compared with each other.
    with pytest.MonkeyPatch.context() as patched:
        patched.delattr("bridge.dataset.photo_listing._digest")
        new = listing.table.slice(3, 2)
        earlier = listing.table.take([0, len(listing) - 1])
        later = without_duplicates(str(tmp_path), type(listing)(new, "flat"), earlier)
        assert len(later) == 2


def test_a_share_of_each_objects_trajectories_are_queries(tmp_path: Path) -> None:
    names = [f"{thing}/{number}.jpg" for thing in ("cup", "mug") for number in range(10)]
    names += [f"box/{fall}/{number}.jpg" for fall in "ab" for number in range(3)]
    write_photos(tmp_path, *names, "one/a.jpg", "alone.jpg")
    table = list_photos(str(tmp_path), "objects").table
    roles = dict(zip(table["path"].to_pylist(), roles_of(table, 0.2, 0), strict=True))
    asked = [path for path, role in roles.items() if role == "query"]
    assert {role for role in roles.values()} == {"query", "database"}
    assert [sum(path.startswith(name) for path in asked) for name in ("cup", "mug")] == [2, 2]
    # One of two trajectories, with all of its photos.
    assert len({path.split("/")[1] for path in asked if path.startswith("box")}) == 1
    assert sum(path.startswith("box") for path in asked) == 3
    assert not any(path.startswith(("one", "alone")) for path in asked)
    assert set(roles_of(table, 0.0, 0)) == {"database"}
    most = dict(zip(table["path"].to_pylist(), roles_of(table, 1.0, 0), strict=True))
    assert sum(role == "database" for role in most.values()) == 1 + 1 + 3 + 1 + 1
    assert roles_of(table, 0.2, 0) != roles_of(table, 0.2, 1)
