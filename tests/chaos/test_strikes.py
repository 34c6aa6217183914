"""A short part of `make chaos`: nodes that die under a command, and a disk that is full."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.course import on_a_small_disk, struck, undisturbed
from tests.chaos.grounds import Nodes
from tests.chaos.subjects import SUBJECTS
from tests.limits import can_mount

pytestmark = pytest.mark.timeout(1800)


@pytest.fixture(autouse=True)
def log(tmp_path: Path) -> Iterator[None]:
    """What the commands wrote, shown where a test fails."""
    yield
    for path in tmp_path.rglob("commands.log"):
        print(path.read_text()[-10_000:])


@pytest.mark.parametrize(
    ("name", "kinds"),
    [
        pytest.param("index", ["node", "everything"], marks=pytest.mark.long),
        pytest.param("synthesis", ["node short of memory"], marks=pytest.mark.soak),
        pytest.param("training", ["node"], marks=pytest.mark.soak),
    ],
)
def test_nodes_that_die_change_nothing(name: str, kinds: list[str], tmp_path: Path) -> None:
    subject = SUBJECTS[name]
    course = undisturbed(name, subject, subject.words(tmp_path / "inputs"), tmp_path / name)
    strikes = struck(course, Nodes(), kinds, "0")
    assert len(strikes) == len(kinds) and all(strike.equal for strike in strikes)


@pytest.mark.soak
def test_a_command_goes_on_where_a_full_disk_has_grown(tmp_path: Path) -> None:
    if not can_mount():
        pytest.skip("only root can make a small disk")
    subject = SUBJECTS["photos"]
    course = undisturbed("photos", subject, subject.words(tmp_path / "inputs"), tmp_path / "photos")
    strike = on_a_small_disk(course)
    assert strike.equal and 0 < strike.share < 1
