"""The runs of a study, worked out without torch: mistakes are told before it is imported."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.identity import refuse_difference
from bridge.common.record import NonNegative, WholeNumber, read_record, to_json
from bridge.dataset.labels import read_labels
from bridge.dataset.manifest import open_manifest
from bridge.dataset.schema import DISTRACTOR_SPLIT, TEST_SPLIT
from bridge.dataset.selections import open_selections, selections_of
from bridge.model.config import ModelConfig
from pipelines.stages import train_plan
from pipelines.stages.study_grid import Configuration, Grid, read_grid, run_name
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.study_presets import grid_of
from pipelines.stages.train_options import TrainConfig
from pipelines.stages.train_result import finished_run

RUNS, INDEX = "runs", "index"
RECORD_FILE = "measured.json"
SELECTION_SEED = 0
"""All runs have the same queries and database, whatever their seed."""


@dataclass(frozen=True)
class Measured:
    """`measured.json` of a finished run: what it is of, what it cost, and the hash of its scores.

    `seconds` are of training, on so many cores and GPUs; `parameters` are without the classifier;
    `best` is the validation mAP@500 by which the model was chosen, None where none was.
    """

    config: dict[str, Any]
    passes: WholeNumber
    parameters: WholeNumber
    seconds: NonNegative
    cores: NonNegative
    gpus: NonNegative
    best: float | None
    scores_sha256: str

    def save(self, out: str) -> None:
        """Write it into the run's folder: from then on the run is finished."""
        storage.write_json(storage.join(out, RECORD_FILE), asdict(self))


@dataclass(frozen=True)
class Run:
    """A configuration with a seed, in a folder of its own.

    `network` has no classes yet; `training` is None where there is nothing to train.
    """

    configuration: Configuration
    seed: int
    out: str
    network: ModelConfig
    training: TrainConfig | None
    images_per_step: WholeNumber
    identity: dict[str, Any]

    @property
    def name(self) -> str:
        """Of its folder."""
        return run_name(self.configuration, self.seed)

    @property
    def steps(self) -> int:
        """Of its training."""
        return self.training.recipe.steps if self.training else 0

    @property
    def passes(self) -> int:
        """Images that its training sees, with repetition."""
        return self.steps * self.images_per_step

    def measured(self) -> Measured | None:
        """What is recorded of it once it is finished.

        Raises:
            InputError: its folder is of another study.
        """
        path = storage.join(self.out, RECORD_FILE)
        if storage.exists(path):
            found = read_record(Measured, path)
            content = "a run of another study"
            refuse_difference(self.out, content, found.config, self.identity)
            return found
        if self.training is not None:
            finished_run(self.out, _training_identity(self.training))
        return None


def chosen_grid(config: StudyConfig) -> Grid:
    """The study that is asked for; InputError for a wrong file or a configuration not in it."""
    grid = read_grid(config.grid) if config.grid is not None else grid_of(config.preset)
    for name in config.only:
        grid.find(name)
    configurations = tuple(
        replace(c, weights=config.weights)
        if config.weights is not None and c.method != "histogram"
        else c
        for c in grid.configurations
    )
    return replace(
        grid,
        passes=config.passes or grid.passes,
        seeds=config.seeds or grid.seeds,
        configurations=configurations,
    )


def check_inputs(config: StudyConfig) -> None:
    """InputError where a dataset is missing, or has nothing to train on, to ask or to find."""
    train_plan.check_data(config.data)
    folder = storage.absolute(config.data)
    manifest = open_manifest(folder)
    if not manifest.counts().get(TEST_SPLIT, {}).get("rows"):
        raise InputError(f"{folder} has no test objects to compare methods on.")
    labels = read_labels(folder, manifest, TEST_SPLIT)
    selections = open_selections(folder, manifest, SELECTION_SEED)
    sides = selections.queries_and_database(labels, TEST_SPLIT)
    if not len(sides.queries) or not len(sides.database):
        raise InputError(
            f"{folder} has too few test objects or trajectories for queries and a database."
        )
    if config.distractors is None:
        return
    distractors = storage.absolute(config.distractors)
    if not open_manifest(distractors).counts().get(DISTRACTOR_SPLIT, {}).get("rows"):
        raise InputError(f"{distractors} has no distractor images: it is not for --distractors.")


def runs_of(config: StudyConfig, grid: Grid) -> list[Run]:
    """All runs of a study, in the order in which they are made.

    Raises:
        InputError: one of them cannot be trained.
    """
    images = {c.name: _images_per_step(config, c) for c in grid.configurations if c.is_trained}
    return [_run(config, grid, c, seed, images.get(c.name, 0)) for c, seed in grid.runs()]


def asked_for(config: StudyConfig, runs: Sequence[Run]) -> list[Run]:
    """Those runs that `--only` names, or all."""
    return [run for run in runs if not config.only or run.configuration.name in config.only]


def _images_per_step(config: StudyConfig, configuration: Configuration) -> int:
    """Small data has fewer tuples than a step asks for."""
    training = _on_data(config, configuration.training())
    plan = train_plan.plan_of(training)
    return plan.images_per_step


def _on_data(config: StudyConfig, training: TrainConfig) -> TrainConfig:
    several = config.num_workers > 1 and not training.model.batch_statistics
    return replace(
        training,
        data=storage.absolute(config.data),
        num_workers=config.num_workers if several else min(config.num_workers, 1),
        num_cpus=config.num_cpus,
        trust_data=config.trust_data,
    )


def _run(
    config: StudyConfig, grid: Grid, configuration: Configuration, seed: int, images_per_step: int
) -> Run:
    out = storage.join(storage.absolute(config.out), RUNS, run_name(configuration, seed))
    if not configuration.is_trained:
        network = configuration.untrained()
        identity = {
            "method": configuration.method,
            "weights": configuration.weights,
            **to_json(network),
            "data_hash": open_manifest(storage.absolute(config.data)).content_hash,
        }
        return Run(configuration, seed, out, network, None, 0, identity | _database(config))
    training = _on_data(config, configuration.training())
    steps = max(1, round(grid.passes * configuration.share / images_per_step))
    recipe = replace(training.recipe, seed=seed, steps=steps)
    training = replace(training, out=out, recipe=recipe)
    identity = _training_identity(training) | _database(config)
    network = replace(training.model, num_classes=0)
    return Run(configuration, seed, out, network, training, images_per_step, identity)


def _training_identity(training: TrainConfig) -> dict[str, Any]:
    return training.identity() | train_plan.data_identity(training)


def _database(config: StudyConfig) -> dict[str, Any]:
    """What a run is evaluated on, besides the dataset that it is trained on."""
    hashes: dict[str, Any] = {"distractors": None}
    if config.distractors is not None:
        hashes["distractors"] = open_manifest(storage.absolute(config.distractors)).content_hash
    return hashes | {"queries": selections_of(storage.absolute(config.data), SELECTION_SEED)}
