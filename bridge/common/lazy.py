"""Public names of a package that are imported on first use, as their libraries take seconds."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from typing import Any


def names_in(package: str, files: Mapping[str, tuple[str, ...]]) -> Callable[[str], Any]:
    """A `__getattr__` for a package.

    Args:
        package: its `__name__`.
        files: the public names in each of its files, by the file's name within the package.
    """
    homes = {name: f"{package}.{file}" for file, names in files.items() for name in names}

    def resolve(name: str) -> Any:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(importlib.import_module(homes[name]), name)

    return resolve
