"""All stages one after the other, below one folder: on a disk or on a store.

    python -m tests.s3.chain ROOT [STAGE...]

What is finished is kept, so that it goes on where it was when it is started again.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

from bridge.common import storage
from bridge.training.bliss import BlissConfig
from bridge.training.presets import PRESETS, Preset
from bridge.training.recipe import Recipe
from pipelines import (
    build_index,
    evaluate,
    export,
    import_photos,
    import_romb,
    search,
    study,
    synthesize,
    train,
)
from pipelines.build_index import BuildIndexConfig
from pipelines.evaluate import EvaluateConfig
from pipelines.export import ExportConfig
from pipelines.import_photos import ImportPhotosConfig
from pipelines.import_romb import ImportRombConfig
from pipelines.search import SearchConfig
from pipelines.stages import cluster
from pipelines.stages.datasets import read_dataset
from pipelines.stages.study_options import StudyConfig
from pipelines.stages.train_options import TrainConfig
from pipelines.synthesize import SynthesizeConfig
from tests.factories import SMALL_NETWORK
from tune import search as tune_search

NETWORK = replace(SMALL_NETWORK, backbone="test_resnet")
RECIPE = Recipe(epochs=4, batch_size=8, log_every=1, bliss=BlissConfig(num_negatives=2))
MESHES, PHOTOS = "meshes", "photos"
STAGES = ("synthesize", "train", "index", "evaluate", "search", "export", "photos")


class Chain:
    """The stages below a folder."""

    def __init__(self, root: str) -> None:
        self._root = root

    def at(self, name: str) -> str:
        """A place below the folder."""
        return storage.join(self._root, name)

    def synthesize(self) -> None:
        synthesize.run(
            SynthesizeConfig(
                out=self.at("data"),
                meshes=self.at(MESHES),
                backgrounds=self.at(PHOTOS),
                trajectories=3,
                image_size=(48, 64),
                trajectories_per_shard=4,
            )
        )

    def train(self) -> None:
        train.run(
            TrainConfig(
                preset="paper",
                data=self.at("data"),
                out=self.at("run"),
                num_workers=1,
                cpus_per_worker=1,
                weights="none",
                checkpoint_every=2,
                model=NETWORK,
                recipe=RECIPE,
            )
        )

    def index(self) -> None:
        build_index.run(
            BuildIndexConfig(
                model=self.at("run/model"),
                data=self.at("data"),
                out=self.at("index"),
                num_workers=1,
                batch_size=16,
            )
        )

    def evaluate(self) -> None:
        evaluate.run(EvaluateConfig(index=self.at("index"), out=self.at("report")))

    def search(self) -> None:
        queries = (Path(self.at(PHOTOS)),)
        page = self.at("found.html")
        found = search.run(SearchConfig(images=queries, index=self.at("index"), html=page))
        storage.write_json(self.at("found.json"), [one["results"] for one in found])

    def export(self) -> None:
        export.run(
            ExportConfig(
                model=self.at("run/model"), format="safetensors", out=self.at("model.safetensors")
            )
        )

    def photos(self) -> None:
        import_photos.run(ImportPhotosConfig(photos=self.at(PHOTOS), out=self.at("imported")))

    def rows(self) -> None:
        rows = read_dataset(self.at("data"), columns=["image_id"]).take_all()
        assert len({row["image_id"] for row in rows}) == len(rows) > 0

    def study(self) -> None:
        study.run(
            StudyConfig(
                grid=self.at("grid.yaml"), data=self.at("data"), out=self.at("study"), num_workers=1
            )
        )

    def tune(self) -> None:
        PRESETS["bridge"] = PRESETS["bridge"] | {"quick": Preset(NETWORK, RECIPE)}
        tune_search.run(
            tune_search.SearchConfig(
                preset="range",
                data=self.at("data"),
                out=self.at("tune"),
                weights="none",
                epochs=1,
                space=tune_search.Space(contrastive_range=(1, 5), seed=(0,)),
            )
        )

    def romb(self) -> None:
        import_romb.run(
            ImportRombConfig(
                synthetic=(self.at("romb/synthetic_data"),),
                distractors=(self.at("romb/distractors.zip"),),
                out=self.at("imported-romb"),
                trajectories_per_shard=5,
            )
        )


def main(root: str, *stages: str) -> None:
    """Do some stages, by default all of them."""
    cluster.connect(2)
    chain = Chain(root)
    for name in stages or STAGES:
        getattr(chain, name)()
        print(f"{name}: done", flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
