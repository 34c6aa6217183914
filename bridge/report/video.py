"""One self-contained page about a search within a video: a timeline and a gallery."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bridge.blur import NUM_LEVELS
from bridge.report.gallery import Gallery, Tile, gallery_html
from bridge.report.plots import COLOURS, TEXT, Plot, new_figure
from bridge.report.tables import rows_csv
from bridge.report.templates import render

BY_SIMILARITY, BY_TIME = "Most similar first", "The same in the order of time"


@dataclass(frozen=True)
class Timeline:
    """The best candidate of each frame that has one.

    Attributes:
        frames: numbers, ascending.
        similarities: cosines with the object, -1..1.
        levels: predicted blur levels 1..10; None where the network does not tell.
        rate: frames per second; None where nothing tells.
        query: the frame that the object was marked in.
    """

    frames: Sequence[int]
    similarities: Sequence[float]
    levels: Sequence[int | None]
    rate: float | None
    query: int


def video_page(
    name: str,
    query: Tile,
    results: Sequence[tuple[int, Tile]],
    timeline: Timeline,
    provenance: Mapping[str, Any],
) -> str:
    """The page; it loads nothing from anywhere.

    Args:
        name: of the video.
        query: the object as it was marked.
        results: crops most like it, best first, with their frames.
        timeline: of the whole video.
        provenance: what it was made from, as JSON.
    """
    in_time = sorted(results, key=lambda result: result[0])
    galleries = [
        Gallery(query, tuple(tile for _, tile in tiles), group)
        for group, tiles in ((BY_SIMILARITY, results), (BY_TIME, in_time))
    ]
    return render(
        "video.html",
        title=f"One object over {name}",
        summary=f"{len(timeline.frames):,} frames have candidates; of {len(results):,} moments "
        "the one most like the object is shown.",
        plot=timeline_plot(timeline),
        galleries=gallery_html(galleries),
        provenance=json.dumps(dict(provenance), indent=2, ensure_ascii=False),
    )


def timeline_plot(timeline: Timeline) -> Plot:
    """Likeness and, where it is known, blur level over time."""
    known = [level is not None for level in timeline.levels]
    rate = timeline.rate or 1.0
    times = [frame / rate for frame in timeline.frames]
    figure, panels = new_figure(11, 4.6 if any(known) else 2.8, 1 + any(known))
    panels[0].plot(times, timeline.similarities, "o", markersize=3, color=COLOURS[0])
    panels[0].set(ylabel="Similarity")
    if any(known):
        panels[1].plot(times, timeline.levels, "s", markersize=3, color=COLOURS[1])
        panels[1].set(ylabel="Blur level", ylim=(0.5, NUM_LEVELS + 0.5))
    for axes in panels:
        axes.axvline(timeline.query / rate, color=TEXT, linestyle="--", linewidth=1)
    panels[-1].set(xlabel="Seconds" if timeline.rate else "Frame")
    rows = [
        (frame, f"{similarity:.4f}", "" if level is None else level)
        for frame, similarity, level in zip(
            timeline.frames, timeline.similarities, timeline.levels, strict=True
        )
    ]
    table = rows_csv(["frame", "similarity", "blur_level"], rows)
    return Plot("timeline", "Similarity and blur level over time", figure, table, wide=True)
