"""Fixtures shared by the whole suite."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pipelines.stages.train_options import TrainConfig

# Ray prints to the driver and authenticates local clusters by default; neither helps a test.
os.environ.setdefault("RAY_AUTH_MODE", "disabled")
os.environ.setdefault("RAY_DEDUP_LOGS", "0")
# Not a cluster that runs here already, whose CPUs others may have.
os.environ.setdefault("RAY_ADDRESS", "local")
# Small arrays gain nothing from threads, which take the cores from the processes beside them.
os.environ.setdefault("OMP_NUM_THREADS", "1")

SHARED = Path(__file__).resolve().parents[2] / "shared"


def pytest_itemcollected(item: pytest.Item) -> None:
    """Whatever uses the cluster runs in one process of pytest-xdist, which alone starts it.

    Not when all are collected: that is when pytest-xdist looks at the marks.
    """
    if "ray_cluster" in getattr(item, "fixturenames", ()):
        item.add_marker(pytest.mark.xdist_group("cluster"))


def _shared(part: str) -> Path:
    folder = SHARED / part
    if not folder.is_dir():
        pytest.skip(f"needs the folder shared/{part} beside the checkout")
    return folder


@pytest.fixture(scope="session")
def shared_assets() -> Path:
    """Real meshes and photos; tests that use them skip where the folder is absent."""
    return _shared("assets")


@pytest.fixture(scope="session")
def shared_cases() -> Path:
    """Meshes that many readers get wrong; tests that use them skip where the folder is absent."""
    return _shared("cases") / "meshes"


@pytest.fixture(scope="session")
def shared_reference() -> Path:
    """Golden vectors of the published model; tests that use them skip where absent."""
    return _shared("reference")


@pytest.fixture(scope="session")
def shared_kuberay() -> Path:
    """Schemas of KubeRay's resources; tests that use them skip where absent."""
    return _shared("kuberay")


@pytest.fixture(scope="session")
def shared_photos() -> Path:
    """Photos that many readers get wrong; tests that use them skip where the folder is absent."""
    return _shared("cases") / "photos"


@pytest.fixture(scope="session")
def ray_cluster() -> Iterator[None]:
    """One local Ray cluster for all tests of the drivers."""
    import ray

    from pipelines.stages import cluster

    cluster.connect(num_cpus=2, dashboard=True)
    yield
    ray.shutdown()


@pytest.fixture(scope="session")
def training(tmp_path_factory: pytest.TempPathFactory) -> TrainConfig:
    """36 steps of a small network, 9 in each epoch."""
    from bridge.training.bliss import BlissConfig
    from bridge.training.recipe import Recipe
    from pipelines.stages.train_options import TrainConfig
    from tests.factories import SMALL_NETWORK, make_dataset

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
        model=SMALL_NETWORK,
        recipe=Recipe(epochs=4, batch_size=8, log_every=1, bliss=BlissConfig(num_negatives=2)),
        num_cpus=2,
    )


@pytest.fixture(scope="session")
def searchable(tmp_path_factory: pytest.TempPathFactory, ray_cluster: None) -> Path:
    """The folder of `make_index`, made once for all tests that search."""
    from tests.searchable import make_index

    folder = tmp_path_factory.mktemp("searchable")
    make_index(folder)
    return folder


@pytest.fixture(autouse=True)
def same_chance() -> None:
    """Weights and pictures that a test draws are the same whatever ran before it."""
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(scope="session", autouse=True)
def node_cache(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Training caches of the suite go where its other files go; Ray's workers inherit this."""
    os.environ["BRIDGE_CACHE"] = str(tmp_path_factory.mktemp("cache"))
