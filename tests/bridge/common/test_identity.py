"""Tests of bridge/common/identity.py."""

from __future__ import annotations

import pytest

from bridge.common.errors import InputError
from bridge.common.identity import config_difference, refuse_difference


def test_config_difference_names_the_options() -> None:
    assert config_difference({"a": 1, "b": 2}, {"b": 2, "a": 1}) == ""
    assert config_difference({"a": 1}, {"a": 2}) == "a 1 instead of 2"
    assert "c (absent) instead of 5" in config_difference({}, {"c": 5})


def test_folders_of_other_options_are_refused() -> None:
    refuse_difference("runs/a", "a run", {"seed": 1}, {"seed": 1})
    with pytest.raises(InputError, match=r"runs/a holds a run \(seed 1 instead of 2\)"):
        refuse_difference("runs/a", "a run", {"seed": 1}, {"seed": 2})
    with pytest.raises(InputError, match="choose another `out` or remove it"):
        refuse_difference("runs/a", "a run", {"seed": 1}, {})
