"""Python in a process of its own, to see what it imports."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]

_TELL = """
import atexit, json, os, sys
def tell():
    with open(os.environ["IMPORTED"], "w") as file:
        json.dump(sorted(sys.modules), file)
atexit.register(tell)
"""


@dataclass(frozen=True)
class Ended:
    """How a process ended, and which modules it had then."""

    code: int
    output: str
    errors: str
    modules: frozenset[str]

    def has(self, *packages: str) -> set[str]:
        """Those of some packages that it had imported."""
        return {name for name in packages if name in self.modules}


def python(source: str, folder: Path) -> Ended:
    """Run a program to its end; `folder` holds what it tells."""
    told = folder / "imported.json"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "IMPORTED": str(told)}
    done = subprocess.run(
        [sys.executable, "-c", _TELL + source],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
    )
    modules = frozenset(json.loads(told.read_text()))
    return Ended(done.returncode, done.stdout, done.stderr, modules)


def command(module: str, arguments: list[str], folder: Path) -> Ended:
    """Run a command in `folder`."""
    argv = [module, *arguments]
    source = f"sys.argv = {argv!r}\nfrom importlib import import_module\n"
    return python(f"{source}import_module({module!r}).main()", folder)
