"""A study from its grid to its report: what is finished is not done again."""

from __future__ import annotations

import json
import random
import re
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.common.errors import Failed, InputError
from pipelines import study
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.study_plan import RECORD_FILE
from pipelines.stages.study_scores import SCORES_FILE
from tests.factories import make_dataset
from tests.kills import start, strike
from tests.searchable import without_actors
from tests.waiting import wait_until

SMALL = {"backbone": "resnet18", "image_size": [24, 32]}
BRIDGE = {**SMALL, "cls_dim": 16, "aux_dim": 8, "aux_hidden": 8, "descriptor_dim": 16}
OURS = {**BRIDGE, "batch_size": 8, "num_negatives": 2}
GRID: dict[str, Any] = {
    "title": "A small study",
    "passes": 64,
    "seeds": [0, 1],
    "reference": "BRIDGE",
    "configurations": [
        {
            "name": "BRIDGE",
            "preset": "paper",
            "weights": "none",
            "options": OURS,
            "rows": {2: "BRIDGE", 5: "con + cls + be + loc", 6: "range 5"},
        },
        {
            "name": "DELG",
            "method": "delg",
            "weights": "none",
            "share": 0.5,
            "seeds": [0],
            "options": {**SMALL, "batch_size": 16},
        },
        {
            "name": "colours",
            "method": "histogram",
            "weights": "none",
            "options": {"image_size": [24, 32], "bins": 4},
        },
    ],
}
NAMES = ["bridge-0", "delg-0", "colours-0", "bridge-1"]


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> StudyConfig:
    folder = tmp_path_factory.mktemp("study")
    make_dataset(folder / "data", {"train": 4, "validation": 3, "test": 4})
    make_dataset(folder / "distractors", {"distractor": 3}, trajectories=6, first=100)
    (folder / "grid.yaml").write_text(yaml.safe_dump(GRID))
    return StudyConfig(
        grid=str(folder / "grid.yaml"),
        data=str(folder / "data"),
        distractors=str(folder / "distractors"),
        out=str(folder / "out"),
        num_workers=0,
        num_cpus=2,
    )


@pytest.fixture(autouse=True)
def here() -> Iterator[None]:
    with without_actors():
        yield


@pytest.fixture(scope="module")
def done(config: StudyConfig, ray_cluster: None) -> Path:
    with without_actors():
        study.run(config)
    return Path(config.out)


def finished(printed: str) -> list[str]:
    """The runs that were begun."""
    return re.findall(r"--- (\S+), \d+ more to begin", printed)


def document(out: Path) -> dict[str, Any]:
    return json.loads((out / "report" / "study.json").read_text())


def test_budgets_are_image_passes(done: Path) -> None:
    records = {n: json.loads((done / "runs" / n / RECORD_FILE).read_text()) for n in NAMES}
    # Steps of 8 tuples of 4 images, and of 16 images.
    assert [records[n]["passes"] for n in NAMES] == [64, 32, 0, 64]
    steps = {n: json.loads((done / "runs" / n / "run.json").read_text()) for n in NAMES[:2]}
    assert [steps[n]["result"]["steps"] for n in NAMES[:2]] == [2, 2]
    assert records["colours-0"]["parameters"] == 0 and records["colours-0"]["seconds"] == 0
    assert records["bridge-0"]["parameters"] == records["bridge-1"]["parameters"] > 11_000_000


def test_the_report_has_means_differences_and_costs(done: Path) -> None:
    found = document(done)
    assert found["missing"] == [] and list(found["configurations"]) == ["BRIDGE", "DELG", "colours"]
    ours = found["configurations"]["BRIDGE"]
    assert ours["seeds"] == [0, 1] and len(ours["costs"]) == 2
    for scores in ours["protocols"].values():
        assert scores["map"] == pytest.approx(sum(scores["map_by_seed"]) / 2)
        assert scores["confidence"][0] <= scores["map"] <= scores["confidence"][1]
    mixed = found["differences"]["mixed"]
    assert list(mixed) == ["DELG", "colours"]
    delg = found["configurations"]["DELG"]["protocols"]["mixed"]
    assert mixed["DELG"]["map"] == pytest.approx(delg["map"] - ours["protocols"]["mixed"]["map"])
    page = (done / "report" / "report.html").read_text()
    for title in ("Table 2", "Table 4", "Table 5", "Table 6", "Spread", "Differences", "Cost"):
        assert title in page
    tables = {path.name for path in (done / "report" / "figures").glob("*.csv")}
    assert tables >= {"table_2.csv", "table_5.csv", "table_6.csv", "costs.csv"}


def test_finished_runs_are_not_done_again(
    done: Path, config: StudyConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = document(done)
    study.run(config)
    printed = capsys.readouterr().out
    assert "4 of 4 runs are finished" in printed and finished(printed) == []
    assert document(done) == before


def test_what_is_missing_of_a_run_is_done(
    done: Path, config: StudyConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    before = document(done)
    # As after a kill between the index and the scores, and with a file that was damaged.
    (done / "runs" / "bridge-1" / RECORD_FILE).unlink()
    scores = done / "runs" / "delg-0" / SCORES_FILE
    scores.write_bytes(scores.read_bytes()[:-1])
    study.run(config)
    printed = capsys.readouterr().out
    assert "2 of 4 runs are finished" in printed and finished(printed) == ["delg-0", "bridge-1"]
    # Neither is trained or embedded again.
    assert printed.count("is complete") == 4
    assert document(done)["configurations"] == before["configurations"]


def test_another_study_in_the_folder_is_refused(done: Path, config: StudyConfig) -> None:
    for other in (replace(config, passes=640), replace(config, distractors=None)):
        with pytest.raises(InputError, match="a run of another study"):
            study.run(other)


def test_a_part_of_a_study_says_what_is_missing(
    done: Path, config: StudyConfig, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study.run(replace(config, out=str(tmp_path), only=("colours",)))
    assert finished(capsys.readouterr().out) == ["colours-0"]
    found = document(tmp_path)
    assert found["missing"] == ["bridge-0", "delg-0", "bridge-1"] and found["differences"] == {}
    assert "3 runs are not finished" in (tmp_path / "report" / "report.html").read_text()


def test_a_failed_run_leaves_the_report_of_the_others(
    config: StudyConfig, tmp_path: Path, ray_cluster: None
) -> None:
    first, _, floor = GRID["configurations"]
    exploding = {**first, "options": {**OURS, "learning_rate": 1e30}}
    grid = {**GRID, "passes": 640, "seeds": [0], "configurations": [exploding, floor]}
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(grid))
    part = replace(config, grid=str(tmp_path / "grid.yaml"), out=str(tmp_path / "out"))
    with pytest.raises(Failed, match="1 of 2 runs failed .bridge-0: NonFiniteLoss: "):
        study.run(part)
    found = document(tmp_path / "out")
    assert list(found["configurations"]) == ["colours"] and found["missing"] == ["bridge-0"]


def test_a_dry_run_tells_runs_and_cost_and_writes_nothing(
    config: StudyConfig, tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert study.run(replace(config, out=str(out), dry_run=True)) is None
    printed = capsys.readouterr().out
    assert all(name in printed for name in NAMES)
    assert "4 runs, 1 at a time with 2 cores each: about" in printed and "core-hours" in printed
    assert not out.exists()


@pytest.mark.parametrize(
    ("objects", "said"),
    [({"train": 4}, "has no test objects"), ({"test": 4}, "has no training images")],
)
def test_data_that_cannot_be_studied_is_refused(
    objects: dict[str, int], said: str, config: StudyConfig, tmp_path: Path
) -> None:
    make_dataset(tmp_path / "data", objects)
    with pytest.raises(InputError, match=said):
        study.run(replace(config, data=str(tmp_path / "data"), out=str(tmp_path / "out")))


def test_too_few_test_images_and_wrong_distractors_are_refused(
    config: StudyConfig, tmp_path: Path
) -> None:
    make_dataset(tmp_path / "data", {"train": 4, "test": 2}, trajectories=1)
    with pytest.raises(InputError, match="too few test objects"):
        study.run(replace(config, data=str(tmp_path / "data"), out=str(tmp_path / "out")))
    with pytest.raises(InputError, match="has no distractor images"):
        study.run(replace(config, distractors=config.data, out=str(tmp_path / "out")))


@pytest.mark.long
def test_a_killed_study_continues_with_two_runs_at_a_time(
    config: StudyConfig, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    options = ["--grid", str(config.grid), "--data", config.data, "--out", str(out)]
    options += ["--num-cpus", "2", "--concurrent-runs", "2"]

    def begin() -> subprocess.Popen[str]:
        return start("pipelines/study.py", options, stdout=subprocess.PIPE)

    def records() -> dict[str, bytes]:
        return {p.parent.name: p.read_bytes() for p in out.glob(f"runs/*/{RECORD_FILE}")}

    killed = begin()
    wait_until(records, killed)
    strike(killed, "everything", "", random.Random(0))
    killed.communicate()
    before = records()
    assert before and len(before) < len(NAMES), "the kill came too late"
    again = begin()
    printed, _ = again.communicate(timeout=600)
    assert again.returncode == 0, printed
    assert f"{len(before)} of 4 runs are finished" in printed
    assert sorted(finished(printed)) == sorted({*NAMES} - before.keys())
    assert {name: records()[name] for name in before} == before
    assert document(out)["missing"] == []
