"""cluster.yaml against Ray's own schema and preparation code."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from tests.clusters.pins import python_version, ray_version

ROOT = Path(__file__).parents[2]


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
    assert "--env RAY_AUTH_MODE=token" in config["docker"]["run_options"]
    assert "/home/ray/.ray/auth_token" in config["file_mounts"]


def test_every_node_has_the_project_and_the_same_ray(config: dict[str, Any]) -> None:
    image = f"rayproject/ray:{ray_version()}-py{python_version().replace('.', '')}"
    assert config["docker"]["image"].startswith(image)
    assert f"FROM {image}" in (ROOT / "clusters/Dockerfile").read_text()
    assert any("--constraint constraints.txt" in command for command in config["setup_commands"])


def test_pools_start_empty_and_only_their_work_can_be_lost(config: dict[str, Any]) -> None:
    nodes = config["available_node_types"]
    assert nodes["head"]["resources"] == {"CPU": 0}
    assert [nodes[pool]["min_workers"] for pool in ("cpu", "gpu")] == [0, 0]
    spot = [name for name, node in nodes.items() if "InstanceMarketOptions" in node["node_config"]]
    assert spot == ["cpu"]
    assert sum(nodes[pool]["max_workers"] for pool in ("cpu", "gpu")) <= config["max_workers"]


def test_cores_of_gpu_nodes_are_kept_for_their_gpus(config: dict[str, Any]) -> None:
    nodes = config["available_node_types"]
    labels = {name: node.get("labels") for name, node in nodes.items()}
    assert labels == {"head": None, "cpu": None, "gpu": {"reserved-for": "gpu"}}


def test_profiles_in_place_of_keys(config: dict[str, Any]) -> None:
    made = (ROOT / "clusters/aws_account.yaml").read_text()
    for node in config["available_node_types"].values():
        assert f"InstanceProfileName: {node['node_config']['IamInstanceProfile']['Name']}" in made
