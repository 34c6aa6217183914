"""The on-premise cluster for real: hosts made on this machine, `ray up`, the chain, and the end."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.common.storage import sha256
from tests.clusters.hosts import CHECKOUT, ROOT, Host, Network, network, what_is_missing
from tests.clusters.on_head import ANSWER
from tests.waiting import wait_until

SETTINGS = {"RAY_AUTH_MODE": "token", "RAY_UP_enable_autoscaler_v2": "0"}
SMALL = {
    "SIMULATE": "--objects-per-category 7 --trajectories 2 --trajectories-per-shard 14 "
    "--image-size 60 80",
    "TRAIN": "--epochs 1",
}
"""Options of clusters/chain.sh: the smallest chain that has a dozen shards."""


@pytest.fixture
def hosts() -> Any:
    if missing := what_is_missing():
        pytest.skip(missing)
    with network(3) as made:
        yield made


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_the_chain_goes_on_when_a_host_is_lost_and_nothing_is_left_of_it(hosts: Network) -> None:
    config, rough, calm = described(hosts), hosts.store / "rough", hosts.store / "calm"
    ended(hosts, "ray", "get-auth-token", "--generate")
    ended(hosts, "ray", "up", "--yes", "--no-config-cache", str(config))
    assert asked(hosts, config, "nodes 3") == 3

    chain = on_head(hosts, config, f"{assigned()} clusters/chain.sh {rough} small")
    victim = hosts.hosts[-1]
    wait_until(lambda: shards(rough) >= 3 and victim.running("ray::MapWorker"), chain)
    hosts.lose(victim)
    assert not complete(rough), "all was done before the host was lost"
    hosts.start(victim)
    alone = undisturbed(hosts, calm)
    hosts.said(chain)
    hosts.said(alone)

    work = asked(hosts, config, "work")
    for worker in ("MapWorker", "RayTrainWorker"):
        assert len(work[worker]) >= 2, work
    assert made(rough) == made(calm)

    # A host that has been started again is taken in again.
    assert asked(hosts, config, "nodes 3") == 3
    ended(hosts, "clusters/onprem_down.sh", str(config))
    assert {host.name: ray_on(host) for host in hosts.hosts} == {h.name: [] for h in hosts.hosts}


def described(hosts: Network) -> Path:
    """clusters/onprem.yaml with the addresses, the user, the key, and a core for each host."""
    config = yaml.safe_load((ROOT / "clusters/onprem.yaml").read_text())
    head, *workers = (host.address for host in hosts.hosts)
    config["provider"] |= {"head_ip": head, "worker_ips": workers}
    config["auth"] = {"ssh_user": "root", "ssh_private_key": str(hosts.key)}
    for commands in ("head_start_ray_commands", "worker_start_ray_commands"):
        config[commands] = [
            c.replace("ray start", "ray start --num-cpus=1") for c in config[commands]
        ]
    file = hosts.folder / "onprem.yaml"
    file.write_text(yaml.safe_dump(config))
    return file


def ended(hosts: Network, *command: str) -> str:
    """What a command has printed; it must have ended well."""
    return hosts.said(hosts.manage(command, SETTINGS))


def on_head(hosts: Network, config: Path, command: str) -> subprocess.Popen[str]:
    """Start a command on the head, as a user does."""
    return hosts.manage(["ray", "exec", str(config), f"cd ~/{CHECKOUT} && {command}"], SETTINGS)


def asked(hosts: Network, config: Path, question: str) -> Any:
    """What `on_head.py` answers there."""
    output = hosts.said(on_head(hosts, config, f"python -m tests.clusters.on_head {question}"))
    return json.loads(output.split(ANSWER)[1].splitlines()[0])


def assigned() -> str:
    return " ".join(f"{name}='{value}'" for name, value in SMALL.items())


def undisturbed(hosts: Network, store: Path) -> subprocess.Popen[str]:
    """Start the same chain on this machine alone."""
    here = {**SMALL, "RAY_ADDRESS": "local", "BRIDGE_CACHE": str(hosts.store / "cache")}
    return hosts.manage(["clusters/chain.sh", str(store), "small"], here)


def shards(store: Path) -> int:
    """Shards of the dataset that are there."""
    return len(list((store / "small/data/data").glob("*.parquet")))


def complete(store: Path) -> bool:
    """Whether the dataset is finished."""
    manifest = store / "small/data/manifest.json"
    return manifest.exists() and json.loads(manifest.read_text())["complete"]


def made(store: Path) -> dict[str, Any]:
    """All that a chain leaves which does not tell where or when it was made."""
    folder = store / "small"
    patterns = (
        "*data/data/*.parquet",
        "distractors/data/*.parquet",
        "run/model/*",
        "index/*.faiss",
    )
    files = {file for pattern in patterns for file in folder.glob(pattern)}
    content = {str(f.relative_to(folder)): sha256(f.read_bytes()) for f in sorted(files)}
    report = json.loads((folder / "report/metrics.json").read_text())
    return {**content, "report": report["protocols"]}


def ray_on(host: Host) -> list[str]:
    """Ray's processes there."""
    return [p.name() for word in ("raylet", "gcs_server", "ray::") for p in host.running(word)]
