from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from bridge.common.errors import InputError
from bridge.model.baselines.config import HistogramConfig, PretrainedConfig
from bridge.model.config import QUICK
from bridge.report.paper import paper_scores
from bridge.training.presets import PRESETS
from pipelines.stages.study_grid import Configuration, Grid, read_grid, run_name
from pipelines.stages.study_presets import grid_of

SMALL: dict[str, Any] = {
    "title": "small",
    "passes": 100,
    "seeds": [0, 1],
    "reference": "BRIDGE",
    "configurations": [
        {
            "name": "BRIDGE",
            "options": {"norm": "none", "learning_rate": 0.01, "pairs": "tuple", "flip": 0},
            "rows": {2: "BRIDGE", 5: "con"},
        },
        {"name": "A rival, larger", "method": "delg", "options": {"image_size": [24, 32]}},
        {"name": "colours", "method": "histogram", "weights": "none", "options": {"bins": 4}},
    ],
}


def written(folder: Path, value: Any) -> str:
    path = folder / "grid.yaml"
    path.write_text(value if isinstance(value, str) else yaml.safe_dump(value))
    return str(path)


def changed(**fields: Any) -> dict[str, Any]:
    return SMALL | fields


def with_configuration(**fields: Any) -> dict[str, Any]:
    first, *others = SMALL["configurations"]
    return changed(configurations=[first | fields, *others])


def test_a_file_declares_methods_with_their_options(tmp_path: Path) -> None:
    grid = read_grid(written(tmp_path, SMALL))
    ours, rival, colours = grid.configurations
    training, quick = ours.training(), PRESETS["bridge"]["quick"]
    assert training.model.norm == "none" and training.model.backbone == QUICK.backbone
    assert training.recipe.learning_rate == 0.01 and training.recipe.augment.flip == 0
    assert training.recipe.loss.pairs == "tuple"
    assert training.recipe.batch_size == quick.recipe.batch_size
    assert ours.tables == {"2": "BRIDGE", "5": "con"}
    assert rival.training().model.image_size == (24, 32)
    assert rival.tables == {"2": "A rival, larger"}
    assert colours.untrained() == HistogramConfig(image_size=QUICK.image_size, bins=4)


def test_every_first_seed_comes_before_the_second_and_floors_have_one(tmp_path: Path) -> None:
    grid = read_grid(written(tmp_path, SMALL))
    names = [run_name(configuration, seed) for configuration, seed in grid.runs()]
    assert names == ["bridge-0", "a-rival-larger-0", "colours-0", "bridge-1", "a-rival-larger-1"]
    own = read_grid(written(tmp_path, with_configuration(seeds=[7])))
    assert [run_name(*pair) for pair in own.runs()][0] == "bridge-7"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("a: [", "is not valid YAML"),
        ("- 1", "must be a mapping with the fields title"),
        ("1999-01-01", "must be a mapping"),
        (changed(budget=3), "there is no field 'budget'"),
        (with_configuration(mode="quick"), "configurations.0: there is no field 'mode'"),
        ({"title": "t"}, "passes: is missing"),
        (changed(title={1: {2, 3}}), ""),
        (changed(passes=0), "passes: must be at least 1, not 0"),
        (changed(passes="many"), "passes: must be a valid integer, not 'many'"),
        (changed(seeds=[]), "seeds: must have at least 1 items"),
        (changed(configurations=[]), "configurations: must have at least 1 items"),
        (changed(configurations=["BRIDGE"]), "configurations.0: must be a mapping"),
        (changed(reference="none"), "There is no configuration 'none', only BRIDGE, A rival"),
        (with_configuration(name="colours"), "Two configurations are called 'colours'"),
        (with_configuration(name="*"), "`name` must have a letter or a digit"),
        (with_configuration(method="gem"), "`method` must be one of bridge, delg"),
        (with_configuration(preset="best"), "preset: must be 'paper', 'strong' or 'quick'"),
        (with_configuration(share=0), "share: must be more than 0, not 0"),
        (with_configuration(rows={3: "x"}), "rows.3"),
        (with_configuration(options={"nrom": "none"}), "bridge has no option 'nrom'"),
        (with_configuration(options={"tokens": 2}), "bridge has no option 'tokens'"),
        (with_configuration(options={"steps": 2}), "steps is set by the study"),
        (with_configuration(options={"out": "x"}), "has no option 'out'"),
        (with_configuration(options={"norm": "nothing"}), "BRIDGE: norm: must be 'none'"),
        (with_configuration(options={"flip": 2}), "BRIDGE: augment.flip: must be at most 1"),
    ],
)
def test_what_is_wrong_is_told_in_a_sentence(value: Any, said: str, tmp_path: Path) -> None:
    with pytest.raises(InputError) as error:
        read_grid(written(tmp_path, value))
    assert said in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone.yaml does not exist"):
        read_grid(str(tmp_path / "gone.yaml"))


@pytest.mark.parametrize("preset", ["quick", "paper"])
def test_the_comparison_holds_what_the_papers_tables_hold(preset: Any) -> None:
    grid = grid_of(preset)
    by_table = {
        table: {c.tables[table] for c in grid.configurations if table in c.tables}
        for table in ("2", "5", "6")
    }
    assert by_table["2"] >= {"BRIDGE", "BRIDGE, folded norms", "DELG", "DOLG", "Token"}
    assert by_table["2"] >= {"Ours-sharp", "frozen features", "colour histogram"}
    assert by_table["5"] == set(paper_scores("5", "mixed"))
    assert by_table["6"] == set(paper_scores("6", "mixed_with_distractors"))
    assert grid.find("Ours-sharp").training().recipe.sharp_only
    assert grid.find("only con + be").training().recipe.loss.classification == 0
    assert grid.find("range 1").training().recipe.bliss.contrastive_range == 1
    assert grid.find("mean opacity").training().recipe.blur_target == "opacity"


def test_the_paper_s_own_recipe_is_the_preset_paper() -> None:
    ours, paper = grid_of("quick").find("BRIDGE").training(), PRESETS["bridge"]["paper"]
    changes = {"epochs": paper.recipe.epochs}
    assert {**vars(ours.recipe), **changes} == vars(paper.recipe)
    assert grid_of("paper").find("BRIDGE").training().recipe == paper.recipe
    assert isinstance(grid_of("paper").find("frozen features").untrained(), PretrainedConfig)
    assert grid_of("paper").find("frozen features").untrained().image_size == (240, 320)


def test_each_part_of_the_recipe_is_left_out_once() -> None:
    grid = grid_of("recipes")
    strong = grid.find("strong").training()
    parts = [c for c in grid.configurations if c.name.startswith(("without", "with "))]
    trainings = [repr((c.training(), c.share)) for c in grid.configurations]
    assert len(parts) == 9 and all(c.training() != strong and c.share == 1 for c in parts)
    assert len(set(trainings)) == len(grid.configurations)


def test_names_that_come_to_one_folder_are_refused() -> None:
    pair = (Configuration("a b"), Configuration("A-b"))
    with pytest.raises(InputError, match="Two configurations"):
        Grid("t", 1, (0,), "a b", pair)
