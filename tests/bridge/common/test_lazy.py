"""Tests of bridge/common/lazy.py, and of every name that a package of the library hands on."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import bridge

PACKAGES = [p.name for p in pkgutil.walk_packages(bridge.__path__, "bridge.") if p.ispkg]


@pytest.mark.parametrize("name", ["bridge", *PACKAGES])
def test_every_public_name_is_there(name: str) -> None:
    package = importlib.import_module(name)
    for public in getattr(package, "__all__", ()):
        assert getattr(package, public) is not None


def test_other_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = bridge.model.nonsense  # type: ignore[attr-defined]


def test_a_package_costs_nothing_before_it_is_used() -> None:
    code = "import bridge.training, bridge.index, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
