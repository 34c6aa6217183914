from __future__ import annotations

from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.videos.notes import Note, read_notes


def written(folder: Path, text: str) -> str:
    path = folder / "notes.csv"
    path.write_text(text, encoding="utf-8-sig")
    return str(path)


def test_rows_are_of_a_video_or_of_an_image(tmp_path: Path) -> None:
    notes = read_notes(
        written(
            tmp_path,
            "video,frames,blur_level,centre\n"
            '"a, b/ü.mp4",,2,\n"a, b/ü.mp4",41,5,\nc.mp4,,,12\n"a, b/ü.mp4",1,1,7\n',
        )
    )
    assert notes == {
        "a, b/ü.mp4": Note(centre=7, level=2, levels=((41, 5), (1, 1))),
        "c.mp4": Note(centre=12),
    }
    found = notes["a, b/ü.mp4"]
    assert [found.level_of(frames) for frames in (1, 21, 41)] == [1, 2, 5]
    assert notes["c.mp4"].level_of(1) is None


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must have the column video and some of frames, blur_level, centre, not: none"),
        ("video\na.mp4\n", "not: video"),
        ("path,blur_level\na.mp4,1\n", "not: path, blur_level"),
        ("video,blur_level,blur_level\na,1,2\n", "not: video, blur_level, blur_level"),
        ("video,blur_level\na.mp4\n", "line 2: there are not as many values"),
        ("video,blur_level\na.mp4,1,2\n", "line 2: there are not as many values"),
        ("video,blur_level\na.mp4,11\n", "line 2: blur_level must be a whole number from 1 to 10"),
        ("video,blur_level\na.mp4,x\n", "from 1 to 10, not 'x'"),
        ("video,frames\na.mp4,0\n", "frames must be a whole number of 1 or more"),
        ("video,centre\na.mp4,-1\n", "centre must be a whole number of 0 or more"),
        ('video,centre\n"a.mp4,1\n', "line"),
    ],
)
def test_mistakes_are_told_with_their_line(text: str, complaint: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=complaint):
        read_notes(written(tmp_path, text))


def test_what_is_no_csv_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_notes(str(tmp_path / "gone.csv"))
    (tmp_path / "a.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="no CSV file in UTF-8"):
        read_notes(str(tmp_path / "a.csv"))
