from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bridge.common.errors import InputError
from bridge.dataset.manifest import Manifest, ShardResult
from bridge.dataset.shards import ShardRecord
from bridge.simulator import ObjectEntry
from bridge.simulator.config import Realism
from pipelines.stages.synthesis_inputs import (
    choose_objects,
    object_pool,
    require_training_objects,
    shortage,
)
from pipelines.stages.synthesis_options import (
    LATER_OPTIONS,
    SynthesizeConfig,
    check_options,
    from_identity,
    parse,
)


def scanned(folder: Path, **sizes: int) -> str:
    """A folder of files that look like meshes from outside."""
    for category, size in sizes.items():
        (folder / category).mkdir(parents=True)
        for number in range(size):
            (folder / category / f"{number:03d}.glb").touch()
    return str(folder)


def write_dataset(folder: Path, objects: tuple[str, ...]) -> str:
    record = ShardRecord("data/x.parquet", "train", 11, 1, "0")
    result = ShardResult(record, objects, 1, {"1": 11})
    Manifest("dataset", {}).with_shards([result]).finished().save(str(folder))
    return str(folder)


def candidates(config: SynthesizeConfig) -> list[ObjectEntry]:
    return choose_objects(config, object_pool(config))


def test_the_preset_and_the_kind_decide_the_defaults() -> None:
    dataset = parse(["--preset", "paper"], None)
    numbers = (dataset.categories, dataset.objects_per_category, dataset.trajectories)
    assert numbers == (39, 30, 120) and dataset.image_size == (240, 320)
    distractors = parse(["--kind", "distractors", "--preset=paper"], None)
    numbers = (distractors.categories, distractors.objects_per_category, distractors.trajectories)
    assert numbers == (39, 40, 70) and distractors.kind == "distractors"
    assert parse([], None) == SynthesizeConfig()
    assert parse(["--kind", "distractors"], None) == SynthesizeConfig(kind="distractors")
    assert parse(["--preset", "paper", "--trajectories", "3"], None).trajectories == 3


def test_options_of_groups_have_plain_names() -> None:
    assert parse(["--curved"], None).realism == Realism(curved=True)


@pytest.mark.parametrize("arguments", [["--kind", "x"], ["--renderer", "x"]])
def test_unknown_choices_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as exit_info:
        parse(arguments, None)
    assert exit_info.value.code == 2
    with pytest.raises(InputError, match="no preset 'x'"):
        parse(["--preset", "x"], None)


def test_identity_goes_through_a_manifest_and_back() -> None:
    config = replace(
        parse(["--preset", "paper", "--kind", "distractors"], None),
        meshes="/meshes",
        subframe_step=0.5,
        realism=Realism(curved=True),
    )
    recorded = json.loads(json.dumps(config.identity()))
    assert recorded == config.identity()
    assert recorded["realism"]["curved"] is True and recorded["subframe_step"] == 0.5
    again = from_identity(recorded | {"catalogue": "0"})
    assert again == replace(config, preset="demo")
    assert again.simulator == config.simulator
    assert from_identity({"made_for": "tests"}) is None


def test_the_papers_text_is_an_option() -> None:
    config = parse(["--erosion-pixels", "3", "--filter", "endpoint-iou"], None)
    for options in (config.identity(), vars(config.simulator)):
        assert (options["erosion_pixels"], options["filter"]) == (3, "endpoint-iou")
    assert from_identity(config.identity()) == config


def test_manifests_older_than_an_option_have_what_was_done_then() -> None:
    identity = SynthesizeConfig(seed=5).identity()
    older = {name: value for name, value in identity.items() if name not in LATER_OPTIONS}
    assert len(older) == len(identity) - 3
    assert from_identity(older) == SynthesizeConfig(seed=5)
    assert from_identity(older | {"erosion_pixels": 3}) == SynthesizeConfig(
        seed=5, erosion_pixels=3
    )


def test_the_rule_for_objects_is_recorded() -> None:
    config = parse(["--objects", "coloured"], None)
    assert config.identity()["objects"] == "coloured"
    assert from_identity(config.identity()) == config


@pytest.mark.parametrize(
    "damage",
    [
        {"image_size": [60]},
        {"image_size": [60.5, 80]},
        {"image_size": None},
        {"image_size": ["a", "b"]},
        {"realism": 5},
        {"realism": {"fog": True}},
        {"renderer": 3, "seed": "x"},
        {"meshes": 5},
        {"trajectories": None, "trajectories_per_shard": "1"},
    ],
)
def test_damaged_options_are_those_of_another_command(damage: dict) -> None:
    assert from_identity(SynthesizeConfig().identity() | damage) is None


@pytest.mark.parametrize("options", [[], ["meshes"], 5, None, "text"])
def test_options_that_are_no_table_are_those_of_another_command(options: Any) -> None:
    assert from_identity(options) is None


def test_what_does_not_change_the_rows_is_no_identity() -> None:
    config = SynthesizeConfig()
    same = replace(
        config, preset="paper", out="x", max_rejected=0.1, num_cpus=3, dry_run=True, preview=1
    )
    assert same.identity() == config.identity()
    assert replace(config, background_crop="cell").identity() != config.identity()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"subframe_step": 0.0}, "`subframe_step` must be at least 0.05, not 0"),
        ({"subframe_step": 0.04}, "`subframe_step`"),
        ({"subframe_step": 4.1}, "`subframe_step` must be at most 4, not 4.1"),
        ({"subframe_step": float("nan")}, "`subframe_step`"),
        ({"num_cpus": 0}, "`num_cpus` must be at least 1, not 0"),
        ({"max_rejected": -0.1}, "`max_rejected` must be at least 0, not -0.1"),
        ({"max_rejected": 1.5}, "`max_rejected`"),
        ({"max_rejected": float("nan")}, "`max_rejected`"),
        ({"image_size": (5000, 240)}, "`image_size` must be at most 4096, not 5000"),
        ({"image_size": (240, 5000)}, "`image_size`"),
        ({"preset": "paper"}, "--preset paper needs --meshes"),
        ({"categories": 0}, "`categories` must be at least 1"),
        ({"preview": 0}, "`preview` must be at least 1"),
        ({"trajectories_per_shard": 0}, "`trajectories_per_shard` must be at least 1"),
        ({"image_size": (240, 8)}, "`image_size` must be at least 16, not 8"),
    ],
)
def test_options_out_of_range(options: dict, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_options(replace(SynthesizeConfig(), **options))


def test_options_at_the_ends_of_their_ranges() -> None:
    for share in (0.0, 1.0):
        check_options(
            SynthesizeConfig(
                max_rejected=share, image_size=(16, 4096), subframe_step=0.05, num_cpus=1
            )
        )
    check_options(SynthesizeConfig(preset="paper", meshes="meshes"))
    check_options(SynthesizeConfig(preset="paper", verify="data"))


def test_distractors_have_the_categories_of_the_dataset_and_other_objects(tmp_path: Path) -> None:
    meshes = scanned(tmp_path / "meshes", a=9, b=8, c=2, d=7)
    dataset = SynthesizeConfig(meshes=meshes, categories=3, objects_per_category=4)
    used = candidates(dataset)
    assert {e.category for e in used} == {"a", "b", "d"} and len(used) == 12
    exclude = write_dataset(tmp_path / "data", tuple(e.object_id for e in used))
    distractors = replace(dataset, kind="distractors", exclude=exclude, objects_per_category=5)
    others = candidates(distractors)
    assert {e.category for e in others} == {"a", "b", "d"}
    # Category d has 3 of its 7 left, b has 4 of 8.
    assert len(others) == 5 + 4 + 3
    assert not {e.object_id for e in used} & {e.object_id for e in others}
    write_dataset(tmp_path / "all", tuple(e.object_id for e in (*used, *others)))
    with pytest.raises(InputError, match="uses every object"):
        candidates(replace(distractors, exclude=str(tmp_path / "all")))


def test_small_collections_are_told(tmp_path: Path) -> None:
    meshes = scanned(tmp_path / "meshes", a=80, b=60)
    dataset = replace(parse(["--preset", "paper"], None), meshes=meshes)
    with pytest.raises(InputError, match="2 categories"):
        candidates(dataset)
    distractors = replace(
        parse(["--preset", "paper", "--kind", "distractors"], None), meshes=meshes, categories=2
    )
    assert shortage(distractors, candidates(distractors)) == [
        "In 1 of 2 categories a dataset and these distractors need 70 objects and may share some: "
        "name the dataset with --exclude."
    ]
    every = SynthesizeConfig(meshes=meshes, kind="distractors")
    assert "every object" in shortage(every, candidates(every))[0]
    many = replace(dataset, categories=2, objects_per_category=70)
    assert shortage(many, candidates(many)) == [
        "1 of 2 categories have fewer than 70 objects left."
    ]
    assert shortage(SynthesizeConfig(), candidates(SynthesizeConfig())) == []


def test_splits_without_an_object_are_told(tmp_path: Path) -> None:
    few = SynthesizeConfig(meshes=scanned(tmp_path / "few", a=3, b=1))
    (note,) = shortage(few, candidates(few))
    assert note.startswith("No object falls into validation: the largest category has 3")
    enough = SynthesizeConfig(meshes=scanned(tmp_path / "enough", a=7, b=1))
    assert shortage(enough, candidates(enough)) == []
    distractors = replace(few, kind="distractors")
    assert not any("falls into" in note for note in shortage(distractors, candidates(distractors)))


def test_a_dataset_with_nothing_to_train_on_is_refused(tmp_path: Path) -> None:
    single = SynthesizeConfig(meshes=scanned(tmp_path / "single", a=1, b=1, c=1))
    with pytest.raises(InputError, match="the 3 categories of .*single has one object"):
        require_training_objects(single, candidates(single))
    for wanted in (
        replace(single, kind="distractors"),
        replace(single, objects_per_category=1),
        replace(single, meshes=scanned(tmp_path / "pair", a=1, b=2)),
        SynthesizeConfig(objects_per_category=1),
    ):
        require_training_objects(wanted, candidates(wanted))


def test_what_a_mesh_folder_holds_besides_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    meshes = scanned(tmp_path / "meshes", a=7)
    candidates(SynthesizeConfig(meshes=meshes))
    assert capsys.readouterr().out == ""
    (tmp_path / "meshes" / "loop").symlink_to(".")
    (tmp_path / "meshes" / "a" / "x.fbx").touch()
    candidates(SynthesizeConfig(meshes=meshes))
    assert capsys.readouterr().out == (
        f"note: {meshes}: passed over: 1 linked folders that are there already, "
        "1 of other types (.fbx).\n"
    )
