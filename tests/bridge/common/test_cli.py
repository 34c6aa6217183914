from __future__ import annotations

from dataclasses import dataclass, field

import pytest

from bridge.common import cli
from bridge.common.errors import InputError


@dataclass(frozen=True)
class Inner:
    epochs: int = 30


@dataclass(frozen=True)
class Options:
    preset: str = "paper"
    size: tuple[int, int] = (240, 320)
    inner: Inner = field(default_factory=Inner)


PRESETS = {"paper": Options(), "quick": Options("quick", (60, 80), Inner(20))}


def parse(*argv: str, fallback: str = "paper") -> Options:
    return cli.parse_with_preset(PRESETS, lambda: fallback, description=None, argv=argv)


def test_preset_decides_defaults_and_options_override_it() -> None:
    assert parse("--preset", "quick") == PRESETS["quick"]
    assert parse("--preset=quick", "--epochs", "3") == Options("quick", (60, 80), Inner(3))
    assert parse("--size", "10", "20").size == (10, 20)


def test_fallback_is_asked_only_without_a_preset() -> None:
    assert parse(fallback="quick") == PRESETS["quick"]

    def fail() -> str:
        raise AssertionError

    cli.parse_with_preset(PRESETS, fail, description=None, argv=["--preset", "paper"])


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
        (KeyboardInterrupt(), 130, "continues"),
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


def test_success_is_zero_and_other_errors_keep_their_traceback() -> None:
    with pytest.raises(SystemExit) as exit_info:
        cli.guarded(lambda: None)
    assert exit_info.value.code == 0
    with pytest.raises(ZeroDivisionError):
        cli.guarded(lambda: 1 // 0)
