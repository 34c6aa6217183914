"""A small synthetic dataset and a short training, made once for all tests that look at them."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipelines import synthesize, train
from pipelines.stages.train_options import TrainConfig
from pipelines.synthesize import SynthesizeConfig
from tests.factories import make_meshes


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
def trained(training: TrainConfig, ray_cluster: None) -> Path:
    """The folder of that training, undisturbed."""
    train.run(training)
    return Path(training.out)
