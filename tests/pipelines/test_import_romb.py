"""From the published archives to a report, and what an interruption or a mistake comes to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.selections import open_selections
from bridge.training.recipe import BlissConfig, Recipe
from pipelines import build_index, evaluate, import_romb, synthesize, train
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.import_romb import ImportRombConfig
from pipelines.stages.train_options import TrainConfig
from pipelines.stages.train_plan import plan_of
from tests.factories import SMALL_NETWORK
from tests.romb import (
    Drawn,
    draw,
    tiny_png,
    write_distractor_statistics,
    write_json,
    write_selection,
    write_split_info,
    write_statistics,
    write_tree,
    zipped,
)

OBJECTS, TRAJECTORIES = 7, 3
PHOTOS = [
    f"blur_level_{1 + image % 6}/{number:03d}_{trajectory:03d}_{image:03d}.png"
    for number in range(3)
    for trajectory in range(2)
    for image in range(2 + trajectory)
]
pytestmark = pytest.mark.usefixtures("ray_cluster")


@pytest.fixture(scope="module")
def pictures() -> dict[str, Drawn]:
    return draw(OBJECTS, TRAJECTORIES)


@pytest.fixture(scope="module")
def downloads(pictures: dict[str, Drawn], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The three archives."""
    folder = tmp_path_factory.mktemp("downloads")
    synthetic, others = folder / "synthetic_data", folder / "synthetic_data_distractors"
    write_tree(synthetic, pictures.values())
    write_statistics(synthetic, pictures.values())
    distractors = draw(1, 2, first=100)
    write_tree(others, distractors.values(), alpha=False)
    write_distractor_statistics(others, list(distractors.values()))
    real = folder / "real_data"
    write_json(real / "stats/all_images.json", [f"./real_data/{path}" for path in PHOTOS])
    for number, path in enumerate(PHOTOS):
        (real / path).parent.mkdir(exist_ok=True)
        (real / path).write_bytes(tiny_png(number))
    for root in (synthetic, others, real):
        zipped(root, folder / f"{root.name}.zip")
    return folder


def config_of(downloads: Path, out: Path, suffix: str = ".zip") -> ImportRombConfig:
    return ImportRombConfig(
        synthetic=(str(downloads / f"synthetic_data{suffix}"),),
        distractors=(str(downloads / f"synthetic_data_distractors{suffix}"),),
        real=(str(downloads / f"real_data{suffix}"),),
        out=str(out),
        trajectories_per_shard=5,
        num_cpus=2,
    )


@pytest.fixture(scope="module")
def imported(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> ImportRombConfig:
    config = config_of(downloads, tmp_path_factory.mktemp("imported") / "romb")
    import_romb.run(config)
    return config


def hashes(folder: Path) -> dict[str, str]:
    shards = open_manifest(str(folder)).shards
    return {path: result.record.sha256 for path, result in shards.items()}


def test_everything_is_imported(imported: ImportRombConfig, pictures: dict[str, Drawn]) -> None:
    manifest = open_manifest(imported.folder)
    counts = {split: found["rows"] for split, found in manifest.counts().items()}
    assert sum(counts[split] for split in ("train", "validation", "test")) == len(pictures)
    assert counts["distractor"] == len(draw(1, 2, first=100))
    assert counts["real"] == len(PHOTOS)
    assert manifest.counts()["real"]["trajectories"] == 6
    assert manifest.all_rejections == ()
    assert synthesize.verify(synthesize.SynthesizeConfig(), imported.folder)


def test_folders_give_the_same_bytes(
    imported: ImportRombConfig, downloads: Path, tmp_path: Path
) -> None:
    import_romb.run(config_of(downloads, tmp_path / "romb", suffix=""))
    assert hashes(tmp_path / "romb") == hashes(Path(imported.folder))


def test_the_same_command_finishes_what_is_missing(
    imported: ImportRombConfig,
    downloads: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    config = config_of(downloads, tmp_path / "romb")
    manifest = import_romb.run(config)
    capsys.readouterr()
    import_romb.run(config)
    assert "is complete" in capsys.readouterr().out
    gone = sorted(manifest.shards)[::3]
    for path in gone:
        (tmp_path / "romb" / path).unlink()
    kept = {p: r for p, r in manifest.shards.items() if p not in gone}
    replace(manifest, shards=kept, complete=False).save(config.folder)
    import_romb.run(config)
    assert hashes(tmp_path / "romb") == hashes(Path(imported.folder))


def test_what_has_changed_since_it_was_begun_is_refused(
    downloads: Path, tmp_path: Path, pictures: dict[str, Drawn]
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, list(pictures.values())[:44], alpha=False)
    config = ImportRombConfig(synthetic=(str(root),), out=str(tmp_path / "romb"), num_cpus=2)
    manifest = import_romb.run(config)
    replace(manifest, complete=False).save(config.folder)
    write_tree(root, list(pictures.values())[44:55], alpha=False)
    with pytest.raises(InputError, match="has changed since"):
        import_romb.run(config)
    with pytest.raises(InputError, match="made with another configuration"):
        import_romb.run(replace(config, seed=1))


def test_too_much_that_is_missing_is_refused(pictures: dict[str, Drawn], tmp_path: Path) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, list(pictures.values())[:44], alpha=False)
    for path in root.rglob("[0-4]_rendered.png"):
        path.unlink()
    config = ImportRombConfig(synthetic=(str(root),), out=str(tmp_path / "romb"), num_cpus=2)
    with pytest.raises(InputError, match="more than --max-rejected 0.1 allows.*is it all there"):
        import_romb.run(config)
    manifest = import_romb.run(replace(config, max_rejected=0.5))
    assert {r.reason for r in manifest.all_rejections} == {"missing_image"}


def test_a_dry_run_tells_and_writes_nothing(
    downloads: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import_romb.dry_run(config_of(downloads, tmp_path / "romb"))
    said = capsys.readouterr().out
    assert "synthetic: 14 objects, 42 trajectories" in said
    assert "distractor: " in said
    assert f"real: {len(PHOTOS)} photos" in said
    assert not (tmp_path / "romb").exists()


def training(data: str, out: Path) -> TrainConfig:
    return TrainConfig(
        preset="paper",
        data=data,
        out=str(out),
        num_workers=0,
        weights="none",
        model=SMALL_NETWORK,
        recipe=Recipe(steps=3, batch_size=8, log_every=1, bliss=BlissConfig(num_negatives=2)),
        num_cpus=2,
    )


def test_an_imported_dataset_trains_and_is_evaluated(
    imported: ImportRombConfig, tmp_path: Path
) -> None:
    result = train.run(training(imported.folder, tmp_path / "run"))
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {"loss/blur", "loss/localisation"} <= lines[-1].keys()
    index = str(tmp_path / "index")
    build_index.run(
        BuildIndexConfig(model=result.model, data=imported.folder, out=index, num_cpus=2)
    )
    report = tmp_path / "report"
    evaluate.run(EvaluateConfig(index=index, out=str(report)))
    protocols = json.loads((report / "metrics.json").read_text())["protocols"]
    assert protocols.keys() == {
        "mixed",
        "mixed_with_distractors",
        "per_level",
        "per_level_with_distractors",
        "real",
    }
    assert protocols["real"]["num_queries"] == 6


def test_without_boxes_and_severities_training_leaves_their_losses_out(
    pictures: dict[str, Drawn], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values(), alpha=False)
    write_statistics(root, pictures.values())
    (root / "stats/blur_stats/blur_values_by_blurlevel.npz").unlink()
    out = str(tmp_path / "romb")
    import_romb.run(ImportRombConfig(synthetic=(str(root),), out=out, num_cpus=2))
    config = training(out, tmp_path / "run")
    assert plan_of(config).losses_left_out == ("blur", "localisation")
    train.run(config)
    assert (
        "note: left out of the losses: blur and localisation, as the training images have no blur "
        "severities and no boxes."
    ) in capsys.readouterr().out
    lines = [json.loads(x) for x in (tmp_path / "run/metrics.jsonl").read_text().splitlines()]
    assert {name for name in lines[-1] if name.startswith("loss/")} == {
        "loss/total",
        "loss/contrastive",
        "loss/classification",
    }


def test_published_selections_are_recorded(pictures: dict[str, Drawn], tmp_path: Path) -> None:
    root = tmp_path / "synthetic_data"
    write_tree(root, pictures.values(), alpha=False)
    write_statistics(root, pictures.values())
    first, second, *others = sorted({drawn.object_id for drawn in pictures.values()})
    splits = {first: "test", second: "validation"} | dict.fromkeys(others, "train")
    write_split_info(root, splits, "")
    queries, database = {f"{first}/000/1", f"{first}/000/2"}, {f"{first}/001/4"}
    for file, names in (("q", queries), ("db", database)):
        path = root / f"stats/loader/test/instance_images_{file}_mixed.npy"
        write_selection(path, pictures, sorted(names), "/net/synthetic_data/", plain=False)
    out = str(tmp_path / "romb")
    manifest = import_romb.run(ImportRombConfig(synthetic=(str(root),), out=out, num_cpus=2))
    selections = open_selections(out, manifest, 0)
    assert selections.used["source"] == "recorded"
    labels = read_labels(out, manifest, "test")
    sides = selections.queries_and_database(labels, "test")
    assert set(labels.image_id.take(sides.queries).to_pylist()) == queries
    assert set(labels.image_id.take(sides.database).to_pylist()) == database
    trained = read_labels(out, manifest, "train")
    assert len(selections.training_rows(trained)) == len(others) * TRAJECTORIES


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "Name one at least of --synthetic, --distractors and --real"),
        ({"real": ("nowhere",)}, "nowhere does not exist"),
        (
            {"real": ("x",), "trajectories_per_shard": 0},
            "`trajectories_per_shard` must be at least",
        ),
    ],
)
def test_mistakes_are_told(options: dict, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        import_romb.run(ImportRombConfig(out=str(tmp_path / "romb"), **options))
    assert not (tmp_path / "romb").exists()
