"""The dashboard asks for what there is: by name, and of a real Prometheus that scrapes Ray."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from pipelines.stages.running import GAUGES
from tests.kills import ROOT
from tests.serving import free_port
from tests.waiting import wait_until

DASHBOARD = json.loads((ROOT / "clusters" / "grafana.json").read_text())
EXPRESSIONS = [t["expr"] for panel in DASHBOARD["panels"] for t in panel["targets"]]
OURS = {f"ray_{name}" for name in GAUGES}
WITHOUT_GPUS = ("ray_node_gpus", "gpu_hours")
STAGE = """
import sys
import ray
ray.init(num_cpus=1, include_dashboard=False, _metrics_export_port=int(sys.argv[1]))
from bridge.common.progress import progress
from bridge.common.watch_options import LogOptions
from pipelines.stages.running import running
class Actor:
    def answer(self):
        return 1
actor = ray.remote(Actor).remote()
ray.get(actor.answer.remote())
with running("synthesize", sys.argv[2], LogOptions()):
    with progress("simulate", 10, "images", before=4) as counter:
        counter.advance(2)
        sys.stdin.read()
"""


def metrics(expression: str) -> set[str]:
    """The names that an expression asks for."""
    return set(re.findall(r"\bray_\w+", expression))


def test_every_panel_has_a_unit_and_the_chosen_source() -> None:
    names = [variable["name"] for variable in DASHBOARD["templating"]["list"]]
    assert names == ["datasource", "run"]
    numbers = [panel["id"] for panel in DASHBOARD["panels"]]
    assert len(set(numbers)) == len(numbers)
    for panel in DASHBOARD["panels"]:
        assert panel["title"] and panel["fieldConfig"]["defaults"]["unit"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
        for target in panel["targets"]:
            assert ('run=~"$run"' in target["expr"]) == bool(metrics(target["expr"]) & OURS)


def test_it_asks_for_what_we_or_ray_export() -> None:
    from ray.dashboard.modules.metrics.dashboards import default_dashboard_panels

    known = metrics(Path(default_dashboard_panels.__file__).read_text())
    asked = set().union(*map(metrics, EXPRESSIONS))
    assert asked - OURS <= known and asked - OURS
    assert asked >= OURS


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Prometheus that scrapes a Ray in which a stage works."""
    if (binary := shutil.which("prometheus")) is None:
        pytest.skip("needs prometheus (apt install prometheus)")
    folder = tmp_path_factory.mktemp("prometheus")
    exported, port = free_port(), free_port()
    scrape = {
        "job_name": "ray",
        # Nodes gather their metrics every ten seconds.
        "scrape_interval": "15s",
        "static_configs": [{"targets": [f"127.0.0.1:{exported}"]}],
    }
    (folder / "prometheus.yml").write_text(yaml.safe_dump({"scrape_configs": [scrape]}))
    stage = [sys.executable, "-c", STAGE, str(exported), str(folder / "synthetic")]
    server = [
        *(binary, f"--config.file={folder / 'prometheus.yml'}"),
        *(f"--storage.tsdb.path={folder / 'tsdb'}", f"--web.listen-address=127.0.0.1:{port}"),
    ]
    with running(stage, folder / "stage.log"), running(server, folder / "server.log"):
        yield f"http://127.0.0.1:{port}"


@contextmanager
def running(command: list[str], log: Path) -> Iterator[None]:
    """A process in the block; what it said is shown where the block fails."""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with open(log, "w") as file:
        process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=file,
            stderr=subprocess.STDOUT,
            cwd=ROOT,
            env=environment,
        )
    try:
        yield
    finally:
        # The stage ends with its input.
        process.communicate() if "-c" in command else process.terminate()
        process.wait()
        print(log.read_text())


def ask(address: str, expression: str) -> list[dict[str, Any]]:
    """What Prometheus answers; nothing while it does not."""
    query = urllib.parse.urlencode({"query": expression})
    try:
        with urllib.request.urlopen(f"{address}/api/v1/query?{query}", timeout=10) as answer:
            value = json.load(answer)
    except urllib.error.HTTPError as error:
        raise AssertionError(f"{expression}: {error.read().decode()}") from error
    except OSError:
        return []
    assert value["status"] == "success", value
    return list(value["data"]["result"])


@pytest.mark.long
def test_the_gauges_are_what_the_stage_says(prometheus: str) -> None:
    wait_until(lambda: ask(prometheus, "ray_bridge_units_done"), every=0.5)
    (done,) = ask(prometheus, "ray_bridge_units_done")
    assert done["metric"]["stage"] == "synthesize"
    assert re.fullmatch(r"synthetic-[0-9a-f]{6}", done["metric"]["run"])
    numbers = {name: ask(prometheus, name)[0]["value"][1] for name in OURS}
    assert float(numbers["ray_bridge_units_done"]) == 6
    assert float(numbers["ray_bridge_units_total"]) == 10
    assert float(numbers["ray_bridge_is_running"]) == 1
    assert float(numbers["ray_bridge_core_hours"]) > 0


@pytest.mark.long
@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_every_expression_of_the_dashboard_is_answered(prometheus: str, expression: str) -> None:
    asked = expression.replace("$run", ".*")
    if any(name in expression for name in WITHOUT_GPUS):
        ask(prometheus, asked)
    else:
        wait_until(lambda: ask(prometheus, asked), every=0.5)
