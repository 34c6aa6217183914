"""Tests of bridge/common/record.py."""

from __future__ import annotations

import gc
import math
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from annotated_types import MinLen

from bridge.common.errors import InputError
from bridge.common.record import (
    Count,
    NonNegative,
    Positive,
    Share,
    WholeNumber,
    check,
    from_json,
    read_record,
    to_json,
    uncollected,
)


@dataclass(frozen=True)
class Options:
    steps: Count = 10
    spare: WholeNumber = 0
    pace: Positive = 1.0
    weight: NonNegative = 0.5
    share: Share = 0.5
    kind: Literal["walk", "run"] = "walk"
    size: tuple[Count, Count] = (2, 3)
    limit: Positive | None = None
    stops: Annotated[tuple[str, ...], MinLen(1)] = ("home",)
    pauses: tuple[Count, ...] | None = None

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Part:
    name: str
    rows: WholeNumber


@dataclass(frozen=True)
class Whole:
    parts: tuple[Part, ...]
    notes: dict[str, str] = field(default_factory=dict)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "`steps` must be at least 1, not 0."),
        ({"steps": 1.5}, "`steps` must be a valid integer, not 1.5."),
        ({"spare": -1}, "`spare` must be at least 0, not -1."),
        ({"pace": 0.0}, "`pace` must be more than 0, not 0.0."),
        ({"pace": math.inf}, "`pace` must be a finite number, not inf."),
        ({"weight": math.nan}, "`weight` must be a finite number, not nan."),
        ({"share": 1.01}, "`share` must be at most 1, not 1.01."),
        ({"kind": "fly"}, "`kind` must be 'walk' or 'run', not 'fly'."),
        ({"size": (0, 3)}, "`size` must be at least 1, not 0."),
        ({"share": math.nan}, "`share` must be at most 1, not nan."),
        ({"stops": ()}, "`stops` must have at least 1 items, not ()."),
        ({"limit": -2.0}, "`limit` must be more than 0, not -2.0."),
        ({"pauses": (1, 0)}, "`pauses` must be at least 1, not 0."),
    ],
)
def test_options_out_of_range_are_named(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError) as error:
        Options(**options)
    assert str(error.value) == message


def test_whole_numbers_are_numbers() -> None:
    assert Options(pace=2, limit=3).limit == 3


WHOLE = Whole((Part("a", 1), Part("b", 0)), {"x": "y"})


def test_records_come_back(tmp_path: Path) -> None:
    value = to_json(WHOLE)
    assert value == {
        "parts": [{"name": "a", "rows": 1}, {"name": "b", "rows": 0}],
        "notes": {"x": "y"},
    }
    assert from_json(Whole, value, "here") == WHOLE
    assert from_json(Options, to_json(Options()), "here") == Options()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "is not valid JSON"),
        ("[]", "must be"),
        ('{"notes": {}}', "parts: is missing"),
        (
            '{"parts": [{"name": "a", "rows": "1"}]}',
            "parts.0.rows: must be a valid integer, not '1'",
        ),
        ('{"parts": [{"name": "a", "rows": -1}]}', "parts.0.rows: must be at least 0, not -1"),
        ('{"parts": [{"name": 3, "rows": 1}]}', "parts.0.name: must be a valid string, not 3"),
    ],
)
def test_files_that_are_wrong_are_named_with_their_field(
    text: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "whole.json"
    path.write_text(text)
    with pytest.raises(InputError) as error:
        read_record(Whole, path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        read_record(Whole, tmp_path / "none.json")


def test_later_keys_are_passed_over() -> None:
    assert from_json(Part, {"name": "a", "rows": 1, "later": 2}, "here") == Part("a", 1)


@dataclass(frozen=True)
class Trip:
    there: Options
    back: Options


def test_what_checks_itself_is_named_with_its_place() -> None:
    @dataclass(frozen=True)
    class Even:
        number: int

        def __post_init__(self) -> None:
            if self.number % 2:
                raise InputError(f"`number` must be even, not {self.number}.")

    value = {"there": to_json(Options()), "back": to_json(Options()) | {"pace": -1}}
    with pytest.raises(InputError, match=r"^here: back\.pace: must be more than 0, not -1\.$"):
        from_json(Trip, value, "here")
    with pytest.raises(InputError, match=r"^here: 1: `number` must be even, not 3\.$"):
        from_json(tuple[Even, ...], [{"number": 2}, {"number": 3}], "here")


def test_numbers_that_json_does_not_have_are_left_to_the_writer() -> None:
    assert math.isnan(to_json(Whole((), {"x": math.nan}))["notes"]["x"])  # type: ignore[dict-item]


@pytest.mark.parametrize("enabled", [True, False])
def test_the_garbage_collector_is_left_as_it_was(enabled: bool) -> None:
    try:
        if not enabled:
            gc.disable()
        with pytest.raises(ZeroDivisionError), uncollected():
            assert not gc.isenabled()
            raise ZeroDivisionError
        assert gc.isenabled() is enabled
    finally:
        gc.enable()
