from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.videos.layout import Clip, find_fmo, find_folders, with_notes
from bridge.dataset.videos.notes import Note


def touch(root: Path, *names: str) -> str:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return str(root)


def of(clips: tuple[Clip, ...]) -> list[tuple[str, str, str | None, int]]:
    return [(clip.name, clip.object_id, clip.category, clip.trajectory) for clip in clips]


def test_folders_are_objects_and_videos_trajectories_in_natural_order(tmp_path: Path) -> None:
    root = touch(
        tmp_path,
        "cup/10.mp4",
        "cup/2.AVI",
        "toys/red car/-1.mov",
        "tools/red car/ü.mkv",
        "alone.webm",
        "notes.txt",
        ".hidden.mp4",
        "empty/readme.md",
    )
    found = find_folders(root)
    assert of(found.clips) == [
        ("alone.webm", "alone", None, 0),
        ("cup/2.AVI", "cup", None, 0),
        ("cup/10.mp4", "cup", None, 1),
        ("tools/red car/ü.mkv", "tools/red car", "tools", 0),
        ("toys/red car/-1.mov", "toys/red car", "toys", 0),
    ]
    assert found.passed_over == "1 hidden, 2 of other types (.md, .txt)"
    assert all(clip.size == 1 and clip.plate is None for clip in found.clips)


def test_clean_plates_are_of_a_video_or_of_its_folder(tmp_path: Path) -> None:
    root = touch(
        tmp_path, "cup/1.mp4", "cup/2.mp4", "cup/background.png", "cup/2.background.jpg", "a/1.mp4"
    )
    plates = {clip.name: clip.plate for clip in find_folders(root).clips}
    assert plates == {
        "a/1.mp4": None,
        "cup/1.mp4": f"{root}/cup/background.png",
        "cup/2.mp4": f"{root}/cup/2.background.jpg",
    }


@pytest.mark.parametrize("names", [(), ("a.jpg", "b/c.txt")])
def test_a_folder_without_videos_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no videos"):
        find_folders(touch(tmp_path, *names))


def test_every_blurred_frame_of_a_benchmark_sequence_is_a_trajectory(tmp_path: Path) -> None:
    touch(tmp_path, *(f"imgs_gt/v_ball/{n:08d}.png" for n in range(1, 20)))
    touch(tmp_path, *(f"imgs_gt/w-12/{n:08d}.png" for n in range(24)), "imgs_gt/w-12/gt.txt")
    touch(tmp_path, "imgs_gt/x/00000000.png", "imgs/v_ball/00000000.png")
    found = find_fmo(str(tmp_path))
    assert [(clip.name, clip.start, clip.stop) for clip in found.clips] == [
        ("v_ball/0", 0, 8),
        ("v_ball/1", 8, 16),
        ("w-12/0", 0, 12),
        ("w-12/1", 12, 24),
    ]
    assert found.clips[1].object_id == "v_ball" and found.clips[1].trajectory == 1
    assert found.passed_over == "sequences too short for a blurred frame: 1"


def test_another_folder_is_no_benchmark(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="imgs_gt/<sequence>/00000000.png"):
        find_fmo(touch(tmp_path, "a/1.mp4"))


def test_notes_go_to_their_videos(tmp_path: Path) -> None:
    clips = find_folders(touch(tmp_path, "a/1.mp4", "a/2.mp4")).clips
    noted = with_notes(clips, {"a/2.mp4": Note(level=3)}, "notes.csv")
    assert [clip.note.level for clip in noted] == [None, 3]
    with pytest.raises(InputError, match=r"notes.csv: there is no video a/3.mp4"):
        with_notes(clips, {"a/3.mp4": Note()}, "notes.csv")
