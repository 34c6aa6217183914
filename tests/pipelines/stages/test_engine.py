from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from bridge.common.errors import InputError
from pipelines.stages import engine
from pipelines.stages.engine import MOST_ATTEMPTS, Actors, run, tables


def add(unit: int, other: int) -> tuple[int, np.ndarray]:
    """A tuple and an array, of which Ray Data would make columns."""
    return unit, np.full(2, unit + other)


class Adder:
    """Says how many units it was given before."""

    def __init__(self, other: int) -> None:
        self._other, self._before = other, 0

    def __call__(self, unit: int) -> tuple[int, int, int]:
        self._before += 1
        return unit + self._other, os.getpid(), self._before - 1


@pytest.mark.parametrize("actors", [None, Actors()])
@pytest.mark.parametrize("units", [list(range(5)), range(5)])
def test_every_unit_has_its_result(
    ray_cluster: None, units: list[int] | range, actors: Actors | None
) -> None:
    results = dict(run(add, units, 10, actors=actors))
    assert sorted(results) == list(units)
    assert all(value.tolist() == [unit + 10] * 2 for unit, value in results.items())


def test_there_is_nothing_to_do(ray_cluster: None) -> None:
    assert list(run(add, [], 1)) == []


def test_actors_live_from_unit_to_unit(ray_cluster: None) -> None:
    results = list(run(Adder, list(range(8)), 100, actors=Actors(most=1)))
    assert sorted(value for value, _, _ in results) == list(range(100, 108))
    assert len({process for _, process, _ in results}) == 1
    assert sorted(before for _, _, before in results) == list(range(8))


def test_blocks_have_several_units_where_there_are_very_many(
    ray_cluster: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine, "MOST_BLOCKS", 2)
    assert sorted(unit for unit, _ in run(add, range(7), 0)) == list(range(7))


def test_a_single_unit_needs_no_other_process(ray_cluster: None) -> None:
    assert list(run(process_of, [1])) == [os.getpid()]
    assert list(run(process_of, [1], actors=Actors())) != [os.getpid()]


def process_of(unit: int) -> int:
    return os.getpid()


def refuse(unit: int) -> None:
    raise InputError(f"{unit} is not to be done.")


@pytest.mark.parametrize("actors", [None, Actors()])
def test_an_error_keeps_its_type(ray_cluster: None, actors: Actors | None) -> None:
    with pytest.raises(InputError) as caught:
        list(run(refuse, [3, 3], actors=actors))
    assert str(caught.value) == "3 is not to be done."


def die(unit: int, folder: Path, times: int) -> int:
    """End the process at unit 1, so many times."""
    if unit == 1:
        deaths = len(list(folder.iterdir()))
        if deaths < times:
            (folder / str(deaths)).touch()
            os.kill(os.getpid(), signal.SIGKILL)
    return unit


@pytest.mark.parametrize("actors", [None, Actors()])
def test_units_of_dead_processes_are_done_again(
    ray_cluster: None, tmp_path: Path, actors: Actors | None
) -> None:
    assert sorted(run(die, list(range(4)), tmp_path, 2, actors=actors)) == list(range(4))
    assert len(list(tmp_path.iterdir())) == 2


def test_a_unit_that_ends_every_process_is_named(ray_cluster: None, tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match=f"died {MOST_ATTEMPTS} times at 1"):
        list(run(die, list(range(3)), tmp_path, 100))


class Counted:
    """A table of as many rows as the unit says."""

    def __init__(self, first: int) -> None:
        self._first = first

    def __call__(self, unit: int) -> pa.Table:
        return pa.table({"value": range(self._first, self._first + unit)})


def test_tables_are_the_rows_of_a_dataset(ray_cluster: None) -> None:
    rows = tables(Counted, [2, 0, 3], 7).take_all()
    assert sorted(row["value"] for row in rows) == [7, 7, 8, 8, 9]
