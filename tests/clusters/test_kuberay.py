"""clusters/kuberay.yaml against the schemas of KubeRay, as strictly as Kubernetes can check it."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from tests.clusters.pins import python_version, ray_version

ROOT = Path(__file__).parents[2]
SCHEMAS = {"RayJob": "rayjobs", "RayCluster": "rayclusters"}


@pytest.fixture
def manifests() -> dict[str, dict[str, Any]]:
    documents = yaml.safe_load_all((ROOT / "clusters/kuberay.yaml").read_text())
    return {document["kind"]: document for document in documents}


def strict(schema: Any) -> Any:
    """The same schema in the terms of JSON Schema; unknown fields are mistakes."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    checked = {name: strict(value) for name, value in schema.items()}
    if checked.pop("x-kubernetes-int-or-string", None):
        checked.pop("anyOf", None)
        checked["type"] = ["integer", "string"]
    if isinstance(checked.get("properties"), dict) and not checked.get(
        "x-kubernetes-preserve-unknown-fields"
    ):
        checked.setdefault("additionalProperties", False)
    return checked


def errors(manifest: dict[str, Any], schemas: Path) -> list[str]:
    file = schemas / f"{SCHEMAS[manifest['kind']]}.schema.json"
    schema = strict(json.loads(file.read_text())["schema"])
    # What every object of Kubernetes has, whose schema a resource only names.
    schema["properties"]["metadata"] = {"type": "object"}
    validator = jsonschema.Draft7Validator(schema)
    return [f"{e.json_path}: {e.message}" for e in validator.iter_errors(manifest)]


def cluster_of(manifest: dict[str, Any]) -> dict[str, Any]:
    return manifest["spec"].get("rayClusterSpec", manifest["spec"])


def pods(cluster: dict[str, Any]) -> list[dict[str, Any]]:
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    return [group["template"]["spec"] for group in groups]


@pytest.mark.parametrize("kind", SCHEMAS)
def test_valid_for_kuberay(
    kind: str, manifests: dict[str, dict[str, Any]], shared_kuberay: Path
) -> None:
    assert errors(manifests[kind], shared_kuberay) == []


@pytest.mark.parametrize("kind", SCHEMAS)
def test_validation_would_notice_a_mistake(
    kind: str, manifests: dict[str, dict[str, Any]], shared_kuberay: Path
) -> None:
    manifest = copy.deepcopy(manifests[kind])
    cluster = cluster_of(manifest)
    cluster["workerGroupSpecs"][0]["replica"] = 1
    pods(cluster)[0]["restartPolice"] = "Never"
    cluster["authOptions"]["mode"] = "tokens"
    assert len(errors(manifest, shared_kuberay)) == 3


def test_both_describe_one_cluster(manifests: dict[str, dict[str, Any]]) -> None:
    assert cluster_of(manifests["RayJob"]) == cluster_of(manifests["RayCluster"])


def test_the_job_ends_its_cluster_and_begins_again_where_it_failed(
    manifests: dict[str, dict[str, Any]],
) -> None:
    job = manifests["RayJob"]["spec"]
    assert job["shutdownAfterJobFinishes"] and job["backoffLimit"] == 3
    script = job["entrypoint"].split()[0].removeprefix("/home/ray/bridge-retrieval/")
    assert (ROOT / script).is_file()


def test_pods_ask_for_what_they_may_use(manifests: dict[str, dict[str, Any]]) -> None:
    cluster = cluster_of(manifests["RayJob"])
    asked = [pod["containers"][0]["resources"] for pod in pods(cluster)]
    for resources in [*asked, cluster["autoscalerOptions"]["resources"]]:
        assert resources["requests"] == resources["limits"]


def test_every_pod_has_this_ray_and_shows_the_token(manifests: dict[str, dict[str, Any]]) -> None:
    cluster = cluster_of(manifests["RayJob"])
    assert cluster["rayVersion"] == ray_version()
    assert cluster["authOptions"] == {"mode": "token"}
    image = f"FROM rayproject/ray:{ray_version()}-py{python_version().replace('.', '')}"
    assert image in (ROOT / "clusters/Dockerfile").read_text()
    assert len({pod["containers"][0]["image"] for pod in pods(cluster)}) == 1


def test_pools_start_empty(manifests: dict[str, dict[str, Any]]) -> None:
    cluster = cluster_of(manifests["RayJob"])
    assert cluster["enableInTreeAutoscaling"]
    assert all(group["minReplicas"] == 0 for group in cluster["workerGroupSpecs"])
    assert cluster["headGroupSpec"]["rayStartParams"] == {"num-cpus": "0"}


def test_cores_of_gpu_pods_are_kept_for_their_gpus(manifests: dict[str, dict[str, Any]]) -> None:
    groups = cluster_of(manifests["RayJob"])["workerGroupSpecs"]
    labels = {group["groupName"]: group.get("labels") for group in groups}
    assert labels == {"cpu": None, "gpu": {"reserved-for": "gpu"}}
