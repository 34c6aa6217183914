"""Small packages for a machine that reaches no registry: a folder of them that travels along.

    python benchmarks/gpu.py --prepare FOLDER --python-version 3.12

Torch, torchvision, timm, safetensors, numpy and Pillow are taken to be there; all else that
`benchmarks/gpu.py` imports is `CARRIED`. Nothing here needs more than Python.
"""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CARRIED = (
    "annotated-types",
    "docstring-parser",
    "glcontext",
    "moderngl",
    "pydantic",
    "pydantic-core",
    "simplejpeg",
    "typeguard",
    "typing-extensions",
    "typing-inspection",
    "tyro",
)
"""With what they need themselves, but for numpy."""

MOST_BYTES = 60 << 20
OPTION = "--packages"
BESIDE = Path(__file__).with_name("gpu-packages")
"""Where the folder is looked for if nothing is said."""
PINS = Path(__file__).parents[1] / "constraints.txt"


def provide(arguments: Sequence[str]) -> None:
    """Let Python find the folder that a command line names, or the one beside this file.

    It comes first: its packages fit each other, which an old one of the machine might not, and
    none of them is one that the machine is taken to have.
    """
    folder = _named(arguments) or (BESIDE if BESIDE.is_dir() else None)
    if folder is None:
        return
    if not folder.is_dir():
        sys.exit(f"error: There is no folder {folder} of packages: make it with --prepare.")
    sys.path.insert(0, str(folder.resolve()))


def _named(arguments: Sequence[str]) -> Path | None:
    for number, argument in enumerate(arguments):
        name, _, value = argument.partition("=")
        if name == OPTION:
            return Path(value or "".join(arguments[number + 1 : number + 2]))
    return None


def prepare(folder: Path, python_version: str) -> int:
    """Fill a folder with the packages, for Linux on this machine's processor; its bytes.

    Raises:
        CalledProcessError: the installer failed, and has said why.
        RuntimeError: the folder came out larger than `MOST_BYTES`.
    """
    command = [sys.executable, "-m", "uv", "pip", "install", "--quiet", "--no-deps"]
    command += ["--only-binary", ":all:", "--constraint", str(PINS), "--target", str(folder)]
    command += ["--python-version", python_version]
    command += ["--python-platform", f"{platform.machine()}-manylinux_2_28", *CARRIED]
    subprocess.run(command, check=True)
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    if size > MOST_BYTES:
        raise RuntimeError(f"{folder} has {size:,} bytes, more than {MOST_BYTES:,}.")
    return size
