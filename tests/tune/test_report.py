from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.tune.trials import measured
from tune.options import SearchConfig, Space
from tune.report import SearchData, write_report
from tune.space import dimensions

USED = {"contrastive_range": 5, "seed": 0}


def trials(config: SearchConfig, number: int) -> list[Any]:
    """Some of each outcome that leaves a score."""
    found = []
    for n in range(number):
        sampled = {"contrastive_range": n % 4, "blur": 0.1 * (n + 1)}
        outcome = "stopped" if n == 1 else "finished"
        found.append(measured(n, 0.5 + 0.02 * (n % 4), sampled, outcome, speed=10 - n))
    return found


@pytest.mark.parametrize("number", [0, 1, 12])
@pytest.mark.parametrize("second", [None, "images_per_second"])
def test_the_page_shows_what_there_is(tmp_path: Path, number: int, second: Any) -> None:
    config = SearchConfig(
        space=Space(classification=(0.1,), localisation=(10.0,)), second_objective=second
    )
    write_report(
        str(tmp_path), SearchData(config, dimensions(config), trials(config, number), USED)
    )
    page = (tmp_path / "report.html").read_text()
    assert ("Two objectives" in page) == bool(second and number)
    assert ("What makes the difference" in page) == (number == 12)
    assert ("range 5 (L)" in page) == (number > 0)
    assert "http" not in page.replace("http://www.w3.org", "")
