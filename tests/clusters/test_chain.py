"""The commands of clusters/chain.sh; test_hosts.py runs them."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from bridge.common import cli
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.stages.synthesis_options import check_options, parse
from pipelines.stages.train_options import trainings

CHAIN = Path(__file__).parents[2] / "clusters/chain.sh"
STAGES = ("synthesize", "synthesize", "train", "build_index", "evaluate")


def commands(
    folder: Path, size: str, **options: str
) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """What the script runs, in place of running it."""
    told, python = folder / "told", folder / "bin/python"
    python.parent.mkdir()
    python.write_text(f'#!/bin/sh\nprintf "%s\\t" "$@" >> {told}\necho >> {told}\n')
    python.chmod(0o755)
    path = f"{python.parent}:{os.environ['PATH']}"
    done = subprocess.run(
        [str(CHAIN), "s3://BUCKET", size],
        env={**os.environ, "PATH": path, **options},
        capture_output=True,
        text=True,
    )
    lines = told.read_text().splitlines() if told.exists() else []
    return done, [line.rstrip("\t").split("\t") for line in lines]


@pytest.mark.parametrize("size", ["paper", "small"])
def test_every_stage_takes_what_the_ones_before_it_made(size: str, tmp_path: Path) -> None:
    _, lines = commands(tmp_path, size)
    assert [script for script, *_ in lines] == [f"pipelines/{name}.py" for name in STAGES]
    simulated, distractors = (parse(line[1:], None) for line in lines[:2])
    training = cli.parse_with_preset(
        trainings("bridge"), "quick", description=None, argv=lines[2][1:]
    )
    indexing = cli.parsed(BuildIndexConfig, args=lines[3][1:])
    evaluation = cli.parsed(EvaluateConfig, args=lines[4][1:])
    for config in (simulated, distractors):
        check_options(config)
    assert distractors.kind == "distractors" and distractors.exclude == simulated.out
    assert training.data == indexing.data == simulated.out
    assert indexing.model == f"{training.out}/model"
    assert indexing.distractors == distractors.out
    assert evaluation.index == indexing.out
    assert evaluation.out == f"s3://BUCKET/{size}/report"


def test_the_papers_size(tmp_path: Path) -> None:
    _, lines = commands(tmp_path, "paper")
    assert all("--preset paper" in " ".join(lines[stage]) for stage in range(3))
    assert "s3://BUCKET/meshes" in lines[0] and "s3://BUCKET/photos" in lines[1]


def test_options_of_the_user_come_last(tmp_path: Path) -> None:
    _, lines = commands(tmp_path, "small", SIMULATE="--seed 7", TRAIN="--epochs 9 --seed 7")
    assert parse(lines[0][1:], None).seed == parse(lines[1][1:], None).seed == 7
    training = cli.parse_with_preset(
        trainings("bridge"), "quick", description=None, argv=lines[2][1:]
    )
    assert (training.recipe.epochs, training.recipe.seed) == (9, 7)


def test_another_size_is_refused(tmp_path: Path) -> None:
    done, lines = commands(tmp_path, "large")
    assert done.returncode == 2 and not lines
    assert done.stderr == "The size is paper or small, not large.\n"
