"""What every node of a cluster has to have: the versions that this repository pins."""

from __future__ import annotations

import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]


def ray_version() -> str:
    """Of constraints.txt, such as 2.60.0."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pin = next(line for line in lines if line.startswith("ray=="))
    return pin.removeprefix("ray==").split(" ")[0]


def python_version() -> str:
    """The oldest that the project runs on, such as 3.11."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return project["requires-python"].removeprefix(">=")
