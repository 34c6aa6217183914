from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import recipes
from benchmarks.recipes import Config, variants
from bridge.common.errors import InputError
from bridge.common.storage import read_json
from tests.factories import make_dataset

FEW = ("strong", "paper")


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    folder = tmp_path_factory.mktemp("recipes")
    make_dataset(folder / "data", {"train": 6, "test": 3})
    return Config(
        data=str(folder / "data"), out=folder / "out", passes=448, seeds=(0,), only=FEW, threads=1
    )


@pytest.fixture(scope="module")
def done(config: Config) -> Path:
    recipes.main(config)
    return config.out


def test_trainings_see_the_image_passes_asked_for(done: Path) -> None:
    strong, paper = (read_json(str(done / f"{name}-0.json")) for name in FEW)
    assert strong["passes"] == 7 * 66 and paper["passes"] == 2 * 224
    assert 0 < strong["map"] <= 100 and strong["queries"] > 0
    table = (done / "recipes.md").read_text()
    assert f"{strong['map']:.2f}" in table and f"{paper['map']:.2f}" in table


def test_what_is_there_is_kept_and_another_study_refused(
    done: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    recipes.main(config)
    assert "seed 0" not in capsys.readouterr().out
    with pytest.raises(InputError, match="of another study"):
        recipes.main(replace(config, passes=672))
    with pytest.raises(InputError, match="no variant"):
        recipes.main(replace(config, only=("better",)))


def test_each_part_is_left_out_once() -> None:
    every = variants()
    strong = every["strong"]
    parts = [v for name, v in every.items() if name.startswith(("without", "with "))]
    assert len(parts) == 9 and all(v != strong and v.share == 1 for v in parts)
    assert len({repr(v) for v in every.values()}) == len(every)
