from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from pipelines.stages.train_options import trainings
from pipelines.stages.train_overrides import option_value, trainings_of, with_options


def write(folder: Path, content: object) -> str:
    path = folder / "options.json"
    path.write_text(json.dumps(content))
    return str(path)


def test_a_file_gives_defaults_to_every_preset(tmp_path: Path) -> None:
    options = {"contrastive_range": 3, "margin": 1, "pairs": "tuple", "norm": "frozen"}
    path = write(tmp_path, {"preset": "strong", "config": options, "validation_map": 0.5})
    presets, named = trainings_of(None, path)
    assert named == "strong" and set(presets) == {"paper", "strong", "quick"}
    for name, config in presets.items():
        assert {option: option_value(config, option) for option in options} == options
        assert config.recipe.epochs == trainings("bridge")[name].recipe.epochs
    assert trainings_of(None, write(tmp_path, {}))[1] is None
    method = write(tmp_path, {"method": "delg", "config": {"learning_rate": 0.01}})
    assert trainings_of(None, method)[0]["quick"].method == "delg"
    assert trainings_of("bridge", method)[0]["quick"].recipe.learning_rate == 0.01


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"config": {"nosuch": 1}}, "bridge has no option 'nosuch'"),
        ({"config": {"out": "x"}}, "bridge has no option 'out'"),
        ({"config": {"contrastive_range": 10}}, "must be at most 9"),
        ({"method": "none"}, "options.json"),
        ([1], "options.json"),
    ],
)
def test_mistakes_in_a_file_are_named(tmp_path: Path, content: object, message: str) -> None:
    with pytest.raises(InputError, match=message):
        trainings_of(None, write(tmp_path, content))


def test_defaults_of_validation_are_not_part_of_what_a_run_is() -> None:
    base = trainings("bridge")["quick"]
    assert not {"validation_seed", "validation_objects", "config"} & base.identity().keys()
    assert with_options(base, {"blur": 2}, "here").identity()["recipe.loss.blur"] == 2
