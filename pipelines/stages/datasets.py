"""Images with their labels as Ray Datasets: of a DATASET, or simulated where they are used."""

from __future__ import annotations

from collections.abc import Sequence

import pyarrow as pa
import ray.data
from ray.data import Dataset

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.images import ImageFormat
from bridge.dataset.labels import paths_of_split
from bridge.dataset.manifest import open_manifest
from bridge.dataset.schema import SHARD_SCHEMA
from bridge.simulator import Backgrounds, SimulatorConfig
from bridge.synthesis.plan import ShardPlan, ShardTask
from bridge.synthesis.shard import simulate_shard
from pipelines.stages import cluster, engine
from pipelines.stages.synthesis import check_objects, plan_of
from pipelines.stages.synthesis_inputs import choose_objects, object_pool, open_backgrounds
from pipelines.stages.synthesis_options import SynthesizeConfig, check_options


def read_dataset(
    folder: str, *, columns: Sequence[str] | None = None, splits: Sequence[str] | None = None
) -> Dataset:
    """The rows of a DATASET, those of the shards that its manifest names.

    Args:
        folder: local or a URI.
        columns: of `SHARD_SCHEMA`; None: all. Without `image`, a file is a few kilobytes to read.
        splits: None: all.

    Raises:
        InputError: there is no finished DATASET, or none of that column or split.
    """
    root = storage.absolute(folder)
    manifest = open_manifest(root)
    there = list(dict.fromkeys(shard.record.split for shard in manifest.shards.values()))
    _refuse_unknown("columns", columns, SHARD_SCHEMA.names)
    _refuse_unknown("splits", splits, there)
    paths = [path for split in splits or there for path in paths_of_split(manifest, split)]
    filesystem, inner = storage.filesystem(root)
    return ray.data.read_parquet(
        [storage.join(inner, path) for path in paths],
        columns=list(columns) if columns is not None else None,
        filesystem=filesystem,
    )


def rows(config: SynthesizeConfig, *, splits: Sequence[str] | None = None) -> Dataset:
    """The rows of the DATASET that `synthesize.py` makes of a configuration, without writing it.

    They are simulated where and when they are used, again in every epoch, in no order. Meshes are
    opened first to see which can be used; trajectories that come to nothing are left out.

    Args:
        config: `out` has no meaning.
        splits: None: all.

    Raises:
        InputError: what it names is missing or cannot be used, or there is no such split.
    """
    check_options(config)
    pool, backgrounds = object_pool(config), open_backgrounds(config)
    cluster.connect(config.num_cpus)
    rejections, _ = check_objects(config, pool)
    entries = choose_objects(config, pool, {rejection.item for rejection in rejections})
    plan = plan_of(config, entries)
    _refuse_unknown("splits", splits, [split.split for split in plan.splits])
    chosen = ShardPlan(tuple(s for s in plan.splits if splits is None or s.split in splits))
    return engine.tables(
        _simulated,
        chosen.missing(()),
        config.simulator,
        config.image_format,
        backgrounds,
        gpus=cluster.gpu_share(config.renderer),
    )


def _simulated(
    task: ShardTask, simulator: SimulatorConfig, image_format: ImageFormat, backgrounds: Backgrounds
) -> pa.Table:
    return simulate_shard(task, simulator, image_format, backgrounds)[0]


def _refuse_unknown(parameter: str, asked: Sequence[str] | None, known: Sequence[str]) -> None:
    unknown = [name for name in asked or () if name not in known]
    if unknown:
        raise InputError(f"`{parameter}`: there is no {unknown[0]!r}, only {', '.join(known)}.")
