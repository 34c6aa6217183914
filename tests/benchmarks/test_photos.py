from __future__ import annotations

from pathlib import Path

from benchmarks import photos
from tests.factories import write_photos


def test_an_import_is_measured_and_reported(tmp_path: Path) -> None:
    write_photos(tmp_path / "photos", "a.jpg", "b.png")
    found = photos.run(photos.Config(photos=tmp_path / "photos", out=tmp_path / "out.md"))
    assert found.photos == 2 and found.kb > 0 and found.rate > 0
    assert "photos/s" in (tmp_path / "out.md").read_text()
