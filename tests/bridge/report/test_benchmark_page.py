"""The numbers to reach, on the page about the published data, are those of the paper."""

from __future__ import annotations

from pathlib import Path

from bridge.report.paper import BLUR_LEVELS, OURS, paper_grids, paper_scores
from bridge.report.scores import Scores

PAGE = Path(__file__).parents[3] / "docs" / "benchmark.md"


def test_the_numbers_to_reach_are_the_papers() -> None:
    found = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in PAGE.read_text().splitlines()
        if line.startswith(("| 2, ", "| 3 ", "| 4, ", "| supplement 1, "))
    ]
    wanted = [
        paper_scores("2", "mixed")[OURS],
        paper_scores("2", "mixed_with_distractors")[OURS],
        paper_scores("3", "real")[OURS],
        *paper_grids("4")[OURS].rows.values(),
        *paper_grids("S1")[OURS].rows.values(),
    ]
    assert [row[2:] for row in found] == [_printed(scores) for scores in wanted]


def _printed(scores: Scores) -> list[str]:
    numbers = (scores.overall, *(scores.by_query_level[level] for level in BLUR_LEVELS))
    return [f"{number:.2f}" for number in numbers]
