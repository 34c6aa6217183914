"""A small synthetic dataset and a short training, made once for all tests that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from bridge.model.config import BridgeConfig
from bridge.training.bliss import BlissConfig
from bridge.training.recipe import Recipe
from pipelines import synthesize, train
from pipelines.stages.train_options import TrainConfig
from pipelines.synthesize import SynthesizeConfig
from tests.factories import make_dataset, make_meshes


@pytest.fixture(scope="session")
def meshes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("meshes")
    make_meshes(folder, {"box": 8, "brick": 7})
    return folder


@pytest.fixture(scope="session")
def config(meshes: Path, tmp_path_factory: pytest.TempPathFactory) -> SynthesizeConfig:
    return SynthesizeConfig(
        out=str(tmp_path_factory.mktemp("synthetic") / "data"),
        meshes=str(meshes),
        trajectories=3,
        image_size=(48, 64),
        trajectories_per_shard=4,
        num_cpus=2,
    )


@pytest.fixture(scope="session")
def dataset(config: SynthesizeConfig, ray_cluster: None) -> Path:
    synthesize.run(config)
    return Path(config.folder)


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """36 steps of a small network, 9 in each epoch."""
    folder = tmp_path_factory.mktemp("train")
    make_dataset(folder / "data", {"train": 6, "validation": 3})
    return TrainConfig(
        preset="paper",
        data=str(folder / "data"),
        out=str(folder / "run"),
        num_workers=1,
        cpus_per_worker=1,
        weights="none",
        checkpoint_every=4,
        model=BridgeConfig(
            backbone="resnet18",
            image_size=(24, 32),
            cls_dim=16,
            aux_dim=8,
            aux_hidden=8,
            descriptor_dim=16,
        ),
        recipe=Recipe(epochs=4, batch_size=8, log_every=1, bliss=BlissConfig(num_negatives=2)),
        num_cpus=2,
    )


@pytest.fixture(scope="session")
def trained(training: TrainConfig, ray_cluster: None) -> Path:
    """The folder of that training, undisturbed."""
    train.run(training)
    return Path(training.out)
