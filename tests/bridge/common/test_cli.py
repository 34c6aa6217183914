from __future__ import annotations

import errno
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any

import pytest
import tyro

from bridge.common import cli
from bridge.common.errors import Failed, InputError
from bridge.common.record import Count, check


@dataclass(frozen=True)
class Inner:
    epochs: int = 30


@dataclass(frozen=True)
class Options:
    preset: str = "paper"
    size: tuple[int, int] = (240, 320)
    inner: tyro.conf.OmitArgPrefixes[Inner] = field(default_factory=Inner)


PRESETS = {"paper": Options(), "quick": Options("quick", (60, 80), Inner(20))}


def parse(*argv: str, usual: str = "paper") -> Options:
    return cli.parse_with_preset(PRESETS, usual, description=None, argv=argv)


def test_preset_decides_defaults_and_options_override_it() -> None:
    assert parse("--preset", "quick") == PRESETS["quick"]
    assert parse("--preset=quick", "--epochs", "3") == Options("quick", (60, 80), Inner(3))
    assert parse("--size", "10", "20").size == (10, 20)


def test_what_costs_more_is_asked_only_without_a_preset_and_with_right_options() -> None:
    assert parse(usual="quick") == PRESETS["quick"]

    def fail(config: Options) -> str:
        raise AssertionError

    choice: dict[str, Any] = {"choose": fail, "description": None}
    cli.parse_with_preset(PRESETS, "quick", argv=["--preset", "paper"], **choice)
    with pytest.raises(SystemExit):
        cli.parse_with_preset(PRESETS, "quick", argv=["--epochs", "many"], **choice)
    with pytest.raises(SystemExit):
        cli.parse_with_preset(PRESETS, "quick", argv=["--help"], **choice)


def test_what_is_chosen_decides_the_defaults_of_options_that_are_not_given() -> None:
    asked: list[Options] = []

    def choose(config: Options) -> str:
        asked.append(config)
        return "quick"

    given = ["--epochs", "3"]
    chosen = cli.parse_with_preset(PRESETS, "paper", choose=choose, description=None, argv=given)
    assert chosen == parse("--preset", "quick", *given)
    assert asked == [parse("--preset", "paper", *given)]


def test_options_are_found_in_either_spelling() -> None:
    assert cli.given_option("--num-cpus", ["--num_cpus", "a_b"]) == "a_b"
    assert cli.given_option("--num-cpus", ["--num_cpus=a_b"]) == "a_b"
    assert cli.given_option("--num-cpus", ["--out", "x"]) is None


def test_unknown_preset_names_the_known_ones() -> None:
    with pytest.raises(InputError, match="paper, quick"):
        parse("--preset", "huge")


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (InputError("The folder x is empty."), 2, "error: The folder x is empty.\n"),
        (InputError("`batch_size` must be at least 1."), 2, "error: --batch-size must be at least"),
        (Failed("The disk x came off."), 1, "error: The disk x came off.\n"),
        (OSError(errno.ENOSPC, "", "a/b"), 1, "error: a/b: there is no room left. What was"),
        (OSError(errno.EROFS, "", "a/b"), 1, "error: a/b: it can only be read. What was"),
        (InputError("No \x1b[31m here."), 2, "error: No \\x1b[31m here.\n"),
    ],
)
def test_exit_codes(
    error: BaseException, code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    def command() -> None:
        raise error

    with pytest.raises(SystemExit) as exit_info:
        cli.guarded(command)
    assert exit_info.value.code == code
    assert text in capsys.readouterr().err


def test_an_interrupted_command_says_how_to_go_on_and_does_what_is_done_at_exit() -> None:
    source = """
import atexit
from bridge.common import cli
def command():
    raise KeyboardInterrupt
atexit.register(print, "at exit", flush=True)
cli.guarded(command)
"""
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (130, "at exit\n")
    assert done.stderr == "interrupted: the same command continues from here.\n"


def test_success_is_zero_and_other_errors_keep_their_traceback() -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.guarded(lambda: None)
    assert exit_info.value.code == 0
    with pytest.raises(ZeroDivisionError):
        cli.guarded(lambda: 1 // 0)


@dataclass(frozen=True)
class Other:
    epochs: int = 1


@dataclass(frozen=True)
class Derived(Other):
    size: int = 2


@dataclass(frozen=True)
class WithTop:
    preset: str = "a"
    epochs: int = 2
    inner: tyro.conf.OmitArgPrefixes[Inner] = field(default_factory=Inner)


@dataclass(frozen=True)
class TwoGroups:
    preset: str = "a"
    inner: tyro.conf.OmitArgPrefixes[Inner] = field(default_factory=Inner)
    other: tyro.conf.OmitArgPrefixes[Other] = field(default_factory=Other)


@dataclass(frozen=True)
class OfDerivedGroup:
    preset: str = "a"
    size: int = 1
    other: tyro.conf.OmitArgPrefixes[Other] = field(default_factory=Derived)


@dataclass(frozen=True)
class Prefixed:
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class PrefixedBesideTop:
    epochs: int = 2
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Deep:
    inner: Inner = field(default_factory=Inner)


@dataclass(frozen=True)
class Marked:
    epochs: int = 2
    deep: tyro.conf.OmitArgPrefixes[Deep] = field(default_factory=Deep)


@pytest.mark.parametrize(
    ("default", "message"),
    [
        (WithTop(), "--epochs would be both epochs and inner.epochs"),
        (TwoGroups(), "--epochs would be both inner.epochs and other.epochs"),
        (OfDerivedGroup(), "--size would be both size and other.size"),
    ],
)
def test_options_of_one_name_fail_at_the_start(default: object, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        cli.parse_with_preset({"a": default}, "a", description=None, argv=[])


def test_commands_with_options_of_one_name_fail_at_the_start() -> None:
    with pytest.raises(TypeError, match="--epochs would be both epochs and deep.inner.epochs"):
        cli.main(lambda config: None, Marked, description=None)


def test_options_are_what_the_parser_takes() -> None:
    @dataclass(frozen=True)
    class Many:
        num_cpus: int = 0
        inner: Inner = field(default_factory=Inner)
        deep: tyro.conf.OmitArgPrefixes[Deep] = field(default_factory=Deep)

    options = cli.options_of(Many)
    assert options == {
        "--num-cpus": "num_cpus",
        "--inner.epochs": "inner.epochs",
        "--epochs": "deep.inner.epochs",
    }
    given = [text for number, name in enumerate(options) for text in (name, str(number))]
    assert tyro.cli(Many, args=given) == Many(0, Inner(1), Deep(Inner(2)))


@pytest.mark.parametrize(
    ("kind", "named"),
    [
        (Prefixed, "--inner.epochs"),
        (PrefixedBesideTop, "--epochs"),
        (Options, "--epochs"),
        (Other, "--epochs"),
    ],
)
def test_a_command_names_its_own_options(
    kind: type, named: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["command"])

    def run(config: object) -> None:
        raise InputError("`epochs` and `rows` must agree.")

    with pytest.raises(SystemExit):
        cli.main(run, kind, description=None)
    assert capsys.readouterr().err == f"error: {named} and `rows` must agree.\n"


@dataclass(frozen=True)
class Checked:
    batch_size: Count = 1

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Grouped:
    num_cpus: Count = 1
    limits: Checked = field(default_factory=Checked)

    def __post_init__(self) -> None:
        check(self)


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--num-cpus", "0"], "error: --num-cpus must be at least 1, not 0.\n"),
        (["--limits.batch-size", "0"], "error: --limits.batch-size must be at least 1, not 0.\n"),
    ],
)
def test_what_a_dataclass_refuses_is_told_in_a_sentence(
    argv: list[str],
    told: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("sys.argv", ["command", *argv])
    with pytest.raises(SystemExit) as exit_info:
        cli.main(lambda config: None, Grouped, description=None)
    assert exit_info.value.code == 2
    assert capsys.readouterr().err == told


def test_what_the_parser_refuses_is_still_told(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["command", "--num-cpus", "many"])
    with pytest.raises(SystemExit) as exit_info:
        cli.main(lambda config: None, Grouped, description=None)
    assert exit_info.value.code == 2
    assert "--num-cpus" in capsys.readouterr().err
