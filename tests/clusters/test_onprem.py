"""clusters/onprem.yaml against Ray's own schema and preparation code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

FILE = Path(__file__).parents[2] / "clusters/onprem.yaml"


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load(FILE.read_text())


def test_valid_for_ray(config: dict[str, Any]) -> None:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    hosts = prepared["available_node_types"]["local.cluster.node"]
    assert hosts["min_workers"] == hosts["max_workers"] == len(config["provider"]["worker_ips"])


def test_every_host_authenticates(config: dict[str, Any]) -> None:
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert all("RAY_AUTH_MODE=token" in command for command in commands)
    assert "~/.ray/auth_token" in config["file_mounts"]
    assert any("RAY_AUTH_MODE=token" in command for command in config["setup_commands"])


def test_environments_and_outputs_stay_where_they_are(config: dict[str, Any]) -> None:
    assert config["rsync_filter"] == [".gitignore"]
    assert {".git", ".venv"} <= set(config["rsync_exclude"])
