from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from bridge.common.errors import InputError
from bridge.dataset.manifest import Rejection
from bridge.dataset.photo_table import read_photo_table
from tests.factories import write_photos

ROWS = """path,object_id,blur_level,split,cx,cy,w,h,note
a.jpg,mug/1,3,real,0.5,0.5,0.25,0.5,first
"b c.jpg",mug/1,,,,,,,
sub/d.jpg,,7,test,,,,,
gone.jpg,mug/2,1,,,,,,
"""


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    write_photos(folder, "a.jpg", "b c.jpg", "sub/d.jpg")
    return folder


def write(folder: Path, text: str, name: str = "table.csv") -> str:
    (folder / name).write_text(text)
    return str(folder / name)


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_a_table_says_what_photos_are(kind: str, photos: Path, tmp_path: Path) -> None:
    table = write(tmp_path, ROWS)
    if kind == "parquet":
        columns = pyarrow.csv.read_csv(table)
        table = str(tmp_path / "table.parquet")
        pq.write_table(columns, table)
    listing, unused = read_photo_table(table, str(photos))
    assert unused == ["note"] and listing.layout == "table"
    assert listing.rejections == (Rejection("missing", "gone.jpg"),)
    rows = {row["path"]: row for row in listing.table.to_pylist()}
    assert list(rows) == ["a.jpg", "b c.jpg", "sub/d.jpg"]
    assert rows["a.jpg"]["bbox"] == [0.5, 0.5, 0.25, 0.5] and rows["b c.jpg"]["bbox"] is None
    assert [row["blur_level"] for row in rows.values()] == [3, None, 7]
    assert [row["split"] for row in rows.values()] == ["real", "real", "test"]
    assert [row["object_id"] for row in rows.values()] == ["mug/1", "mug/1", None]
    assert [row["trajectory"] for row in rows.values()] == [0, 1, None]


def test_names_that_look_like_numbers_stay_names(photos: Path, tmp_path: Path) -> None:
    write_photos(photos, "001")
    table = write(tmp_path, "path,object_id,trajectory\na.jpg,007,fall\n001,007,fall\n")
    rows = read_photo_table(table, str(photos))[0].table.to_pylist()
    assert [row["object_id"] for row in rows] == ["007", "007"]
    assert [row["trajectory"] for row in rows] == [0, 0] and rows[0]["path"] == "001"


def test_absolute_paths_may_lead_into_the_folder(photos: Path, tmp_path: Path) -> None:
    listing, _ = read_photo_table(write(tmp_path, f"path\n{photos / 'a.jpg'}\n"), str(photos))
    assert listing.table["path"].to_pylist() == ["a.jpg"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,label\na.jpg,1\n", "has no column path, but file, label"),
        ("path\n", "names no photo"),
        ("", "is damaged"),
        ("path,blur_level\na.jpg,much\n", "is damaged.*much"),
        ("path,blur_level\na.jpg,11\n", "row 1: blur_level must be 1 to 10, not 11"),
        ("path,blur_level\na.jpg,0\n", "row 1: blur_level must be 1 to 10, not 0"),
        ("path,split\na.jpg,real\nsub/d.jpg,trian\n", "row 2: split must be one of train"),
        ("path,cx,cy,w\na.jpg,0.5,0.5,0.1\n", "has half a box: it lacks the column h"),
        ("path,cx,cy,w,h\na.jpg,0.5,0.5,0.1,\n", "row 1: there is half a box"),
        ("path,cx,cy,w,h\na.jpg,50,0.5,0.1,0.1\n", "row 1: cx must be in units of the image"),
        ("path,cx,cy,w,h\na.jpg,0.1,0.5,0.5,0.1\n", "row 1: the box leaves its image"),
        ("path,cx,cy,w,h\na.jpg,nan,0.5,0.5,0.1\n", "row 1: there is half a box"),
        ("path\n../a.jpg\n", "row 1: ../a.jpg is not in"),
        ("path\n/etc/passwd\n", "row 1: /etc/passwd is not in"),
        ("path\na.jpg\n./a.jpg\n", "row 2: ./a.jpg is there twice"),
        ("path,object_id\n,mug\n", "row 1: there is no path"),
        (
            "path,object_id,split\na.jpg,mug,train\nsub/d.jpg,mug,test\n",
            "mug is in the splits train and test",
        ),
    ],
)
def test_wrong_tables_are_refused_in_a_sentence(
    text: str, said: str, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=said) as error:
        read_photo_table(write(tmp_path, text), str(photos))
    assert "\n" not in str(error.value)


def test_tables_that_cannot_be_read_are_refused(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.csv does not exist"):
        read_photo_table(str(tmp_path / "gone.csv"), str(photos))
    with pytest.raises(InputError, match="t.parquet is damaged"):
        read_photo_table(write(tmp_path, "path", "t.parquet"), str(photos))
    pq.write_table(pa.table({"path": [["a.jpg"]]}), tmp_path / "nested.parquet")
    with pytest.raises(InputError, match="the column path cannot be used"):
        read_photo_table(str(tmp_path / "nested.parquet"), str(photos))
