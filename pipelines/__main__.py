"""Image retrieval robust to object motion blur: every command, in the order of the data.

    bridge-retrieval COMMAND [OPTIONS]   as `python pipelines/COMMAND.py`, from any folder
    bridge-retrieval COMMAND --help      what it does, and its options
    bridge-retrieval --version

Completion of commands and options: docs/commands.md.
"""

from __future__ import annotations

import ast
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

from bridge.common import cli
from bridge.common.errors import InputError

NAME = "bridge-retrieval"

GROUPS = {
    "the whole chain, small": ("demo",),
    "meshes and photos -> DATASET": ("synthesize", "import-photos"),
    "what the paper published -> DATASET": ("import-romb",),
    "videos -> DATASET": ("import-videos",),
    "DATASET -> MODEL": ("train", "tune"),
    "MODEL -> files for other programs": ("export",),
    "MODEL -> INDEX": ("build-index",),
    "INDEX -> REPORT": ("evaluate", "picture"),
    "DATASET -> MODELS, INDEXES and one REPORT": ("study",),
    "INDEX -> ranked images": ("search", "serve"),
    "a video and a MODEL -> where an object is": ("search-video",),
    "how far any of them is": ("status",),
}
"""Where the map shows a command; one that is not here is shown at its end."""

COMPLETION = ("--tyro-print-completion", "--tyro-write-completion")


def commands() -> dict[str, str]:
    """The modules of all commands by what is typed: the files beside this one, and the tuner."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    found = {file.stem.replace("_", "-"): f"pipelines.{file.stem}" for file in files}
    return found | {"tune": "tune.search"}


def command_map() -> str:
    """What `--help` prints: a line for each command, read from its file without importing it."""
    left = commands()
    lines = [(__doc__ or "").rstrip()]
    for heading, names in {**GROUPS, "more": tuple(left)}.items():
        there = [name for name in names if name in left]
        lines += [f"\n{heading}"] if there else []
        lines += [f"  {name:<13} {summary(left.pop(name))}" for name in there]
    return "\n".join(lines)


def summary(module: str) -> str:
    """The first sentence of a module's docstring."""
    file = Path(__file__).parents[1].joinpath(*module.split(".")).with_suffix(".py")
    text = ast.get_docstring(ast.parse(file.read_text("utf-8"))) or ""
    return text.partition("\n")[0].removesuffix(".")


def options_class(module: str) -> Any:
    """The dataclass of a command's options, which its module has under a name in ...Config."""
    contents = vars(importlib.import_module(module))
    (found,) = (value for name, value in contents.items() if name.endswith("Config"))
    return found


def print_completion(argv: Sequence[str]) -> None:
    """Print, or write to a file, what completes all commands with their options in a shell."""
    import tyro

    tyro.extras.subcommand_cli_from_dict(
        {name: options_class(module) for name, module in commands().items()},
        prog=NAME,
        args=argv,
    )


def run(argv: Sequence[str]) -> None:
    """Do what a command line asks for.

    Raises:
        InputError: there is no such command.
    """
    name = argv[0] if argv else "--help"
    if name in ("-h", "--help"):
        print(command_map())
    elif name == "--version":
        import bridge

        print(f"{NAME} {bridge.__version__}")
    elif name.replace("_", "-") in COMPLETION:
        print_completion(argv)
    elif (module := commands().get(name.replace("_", "-"))) is not None:
        sys.argv = [f"{NAME} {name}", *argv[1:]]
        importlib.import_module(module).main()
    else:
        raise InputError(_unknown(name))


def _unknown(name: str) -> str:
    from difflib import get_close_matches

    near = get_close_matches(name, commands(), n=1, cutoff=0)
    return f"There is no command {name!r}: did you mean {near[0]}? All of them: {NAME} --help."


def main() -> NoReturn:
    """The console script."""
    cli.guarded(lambda: run(sys.argv[1:]))


if __name__ == "__main__":
    main()
