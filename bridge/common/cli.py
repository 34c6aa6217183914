"""From a frozen dataclass to a command: arguments, presets, exit codes.

Exit codes of every command: 0 done, 1 failed, 2 bad arguments or input (one sentence, no
traceback), 130 interrupted.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TypeVar

import tyro

from bridge.common.errors import InputError

Config = TypeVar("Config")

_PARAMETER = re.compile(r"`([a-z]\w*)`")


def main(
    run: Callable[[Config], Any], config_type: type[Config], *, description: str | None
) -> NoReturn:
    """Parse the command line into `config_type` and run it."""
    guarded(lambda: run(tyro.cli(config_type, description=description)))


def guarded(command: Callable[[], Any]) -> NoReturn:
    """Run a command to its exit code."""
    try:
        command()
    except InputError as error:
        # Ray hands on an error of a task as an instance of its type with a long message.
        print(f"error: {as_options(str(getattr(error, 'cause', error)))}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print("interrupted: the same command continues from here.", file=sys.stderr)
        sys.exit(130)
    sys.exit(0)


def as_options(message: str) -> str:
    """An error of the library, which names parameters in backquotes, with their options instead.

    as_options("`batch_size` must be at least 1.") == "--batch-size must be at least 1."
    """
    return _PARAMETER.sub(lambda found: "--" + found[1].replace("_", "-"), message)


def given_option(name: str, argv: Sequence[str]) -> str | None:
    """The value of `--name VALUE` or `--name=VALUE` in an argument list, if it is there.

    Needed before parsing proper, because a preset decides the defaults of all other options.
    """
    for position, argument in enumerate(_dashed(argv)):
        if argument == name and position + 1 < len(argv):
            return argv[position + 1]
        if argument.startswith(f"{name}="):
            return argument.split("=", 1)[1]
    return None


def _dashed(argv: Sequence[str]) -> list[str]:
    """Options as they are documented; tyro takes `--num_cpus` for `--num-cpus` too."""
    return [
        argument.replace("_", "-", argument.split("=")[0].count("_"))
        if argument.startswith("--")
        else argument
        for argument in argv
    ]


def parse_with_preset(
    presets: Mapping[str, Config],
    fallback: Callable[[], str],
    *,
    description: str | None,
    argv: Sequence[str] | None = None,
) -> Config:
    """Parse a command line whose defaults come from `--preset`.

    `fallback` names the preset where the command line names none; it is only asked then.
    """
    argv = sys.argv[1:] if argv is None else argv
    name = given_option("--preset", argv) or fallback()
    default = presets.get(name)
    if default is None:
        raise InputError(f"There is no preset {name!r}: choose one of {', '.join(presets)}.")
    return tyro.cli(
        type(default),
        default=default,
        args=list(argv),
        description=description,
        # Options of nested groups keep their plain names: --epochs, not --recipe.epochs.
        config=(tyro.conf.OmitArgPrefixes,),
    )
