from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from bridge.common.images import encode
from bridge.report.gallery import Tile
from bridge.report.video import Timeline, timeline_plot, video_page

TIMELINE = Timeline((3, 4, 9), (0.5, 0.25, 1.0), (1, 2, 6), 30.0, 9)


def tile(title: str, similarity: float | None = None) -> Tile:
    picture = encode(np.full((8, 8, 3), 90, np.uint8))
    return Tile(picture, None, title, similarity=similarity, predicted_blur_severity=0.31)


def test_the_page_has_everything_in_it() -> None:
    results = [(9, tile("frame 9", 1.0)), (3, tile("frame 3", 0.5))]
    page = video_page("a <b>.mp4", tile("frame 9"), results, TIMELINE, {"video": "a <b>.mp4"})
    assert "a &lt;b&gt;.mp4" in page and "<b>.mp4" not in page
    assert "<svg" in page and page.count("data:image/") == 6
    assert not re.search(r"""(src|href)=["'](?!data:|#)""", page)
    assert re.search(r"predicted\sBL\s4,\s0.31", page)
    assert re.search("Most similar first.*The same in the order of time", page, re.DOTALL)
    assert re.findall('class="name">frame ([39])<', page) == ["9", "9", "3", "9", "3", "9"]


@pytest.mark.parametrize(("levels", "panels"), [((1, 2, 6), 2), ((None, None, None), 1)])
def test_the_timeline_shows_levels_where_they_are_known(
    levels: tuple[int | None, ...], panels: int
) -> None:
    plot = timeline_plot(Timeline(TIMELINE.frames, TIMELINE.similarities, levels, 30.0, 9))
    assert len(plot.figure.axes) == panels
    assert plot.figure.axes[-1].get_xlabel() == "Seconds"
    rows = list(csv.DictReader(io.StringIO(plot.csv)))
    assert [row["frame"] for row in rows] == ["3", "4", "9"]
    assert rows[0]["blur_level"] == ("1" if panels == 2 else "")


def test_without_a_rate_the_timeline_counts_frames() -> None:
    plot = timeline_plot(Timeline((0, 1), (0.1, 0.2), (1, 1), None, 0))
    axes = plot.figure.axes[0]
    assert axes.lines[0].get_xdata().tolist() == [0, 1]
    assert plot.figure.axes[-1].get_xlabel() == "Frame"
