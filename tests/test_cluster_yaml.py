"""cluster.yaml against Ray's own schema and preparation code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

ROOT = Path(__file__).parents[1]


@pytest.fixture
def config() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "cluster.yaml").read_text())


def test_valid_for_ray(config: dict[str, Any]) -> None:
    prepared = prepare_config(copy.deepcopy(config))
    validate_config(prepared)
    assert set(prepared["available_node_types"]) == {"head", "cpu", "gpu"}


def test_validation_would_notice_a_mistake(config: dict[str, Any]) -> None:
    config["available_node_typos"] = config.pop("available_node_types")
    with pytest.raises(jsonschema.ValidationError):
        validate_config(config)


def test_every_node_authenticates(config: dict[str, Any]) -> None:
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        starts = [command for command in commands if "ray start" in command]
        assert starts and all("RAY_AUTH_MODE=token" in command for command in starts)
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]


def test_every_node_has_the_project_and_the_same_ray(config: dict[str, Any]) -> None:
    pins = (ROOT / "constraints.txt").read_text().splitlines()
    ray_pin = next(line for line in pins if line.startswith("ray=="))
    version = ray_pin.split("==")[1].split(" ")[0]
    assert config["docker"]["image"].startswith(f"rayproject/ray:{version}-py311")
    assert any("--constraint constraints.txt" in command for command in config["setup_commands"])
