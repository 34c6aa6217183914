"""Making a DATASET of photos: they are listed, their shards laid over Ray, their roles recorded."""

from __future__ import annotations

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.dataset.manifest import Manifest, ShardResult
from bridge.dataset.photo_listing import Listing, roles_of
from bridge.dataset.photos import UNREADABLE, PhotoShard, cut_shards, make_photo_shard
from bridge.dataset.roles import QUERY, TRAIN, VALIDATION
from bridge.dataset.schema import REAL_SPLIT, TEST_SPLIT, TRAIN_SPLIT, VALIDATION_SPLIT
from bridge.dataset.selections import SELECTIONS, SELECTIONS_SCHEMA
from pipelines.stages import cluster, engine
from pipelines.stages.dataset_request import CATALOGUE, PASSED_OVER
from pipelines.stages.photo_inputs import LISTING_FILE
from pipelines.stages.photo_options import ImportPhotosConfig
from pipelines.stages.running import running
from pipelines.stages.shards import Losses, Shards, finish, make_missing


def make_dataset(
    config: ImportPhotosConfig,
    found: Manifest | None,
    listing: Listing,
    catalogue: str,
    *,
    may_be_empty: bool = False,
) -> Manifest:
    """Make the dataset, or what is missing of it.

    Args:
        config: the options, checked.
        found: what an earlier run left.
        listing: the photos.
        catalogue: hash of the listing.
        may_be_empty: whether photos none of which can be read make a dataset.

    Raises:
        InputError: too many of them cannot be read.
    """
    root, folder = storage.absolute(config.photos), config.folder
    with running("import-photos", folder, config.watch):
        cluster.connect(config.num_cpus)
        manifest = found
        if manifest is None:
            known = {CATALOGUE: catalogue, PASSED_OVER: dict(listing.passed_over)}
            manifest = Manifest("photos", config.identity() | known, {}, listing.rejections)
            # The listing comes first: what has a manifest has a listing.
            _write(folder, LISTING_FILE, listing.table)
            manifest.save(folder)
        plan = cut_shards(listing.table)
        missing = plan.missing(manifest.shards)
        shards = Shards(
            missing,
            len(plan),
            plan.photos,
            missing.photos,
            Losses(plan.photos, config.max_rejected, "photos", (UNREADABLE,)),
        )
        shared = (root, folder, config.max_side)
        if config.model is None:
            manifest = make_missing("import", folder, manifest, shards, make_photo_shard, *shared)
        else:
            gpus = min(1, int(cluster.num_gpus()))
            actors = engine.Actors(environment=None if gpus else cluster.TENSORS_ON_CPU)
            work = (_Estimating, storage.absolute(config.model), "cuda" if gpus else "cpu")
            manifest = make_missing(
                "import", folder, manifest, shards, *work, *shared, gpus=gpus, actors=actors
            )
        rows = sum(result.record.rows for result in manifest.shards.values())
        if not rows and not may_be_empty:
            raise InputError(f"Not one photo of {config.photos} can be read.")
        _record_roles(config, listing.table, manifest)
        return finish(folder, manifest)


class _Estimating:
    """Makes shards with a model at hand, which says how blurred their photos are."""

    def __init__(
        self, model: str, device: str, root: str, dataset: str, max_side: int | None
    ) -> None:
        import torch

        import bridge

        torch.set_num_threads(1)
        self._model = bridge.load(model, device)
        self._shared = root, dataset, max_side

    def __call__(self, shard: PhotoShard) -> ShardResult:
        return make_photo_shard(shard, *self._shared, estimate=self._estimate)

    def _estimate(self, images: Sequence[bytes]) -> list[int | None]:
        from bridge.blur import blur_level
        from bridge.model.embedding import embed_encoded

        embedded = embed_encoded(self._model, images, threads=1)
        levels: list[int | None] = [None] * len(images)
        if embedded.blur_severity is None:
            raise InputError("The model of --model has no head that estimates blur.")
        for row, severity in zip(embedded.rows.tolist(), embedded.blur_severity, strict=True):
            levels[row] = blur_level(float(severity))
        return levels


def _record_roles(config: ImportPhotosConfig, table: pa.Table, manifest: Manifest) -> None:
    """Write which photos train, ask and are searched; without objects that needs no telling."""
    lost = {r.item for r in manifest.all_rejections if r.reason == UNREADABLE}
    table = table.filter(
        pa.array([path not in lost for path in table["path"].to_pylist()], pa.bool_())
    )
    if table["object_id"].null_count == len(table):
        return
    splits = table["split"].to_pylist()
    searched = pa.array([split in (REAL_SPLIT, TEST_SPLIT) for split in splits], pa.bool_())
    asked = table.filter(searched)
    drawn = roles_of(asked, config.queries, config.seed)
    roles = list(zip(asked["path"].to_pylist(), drawn, strict=True))
    learnt = {TRAIN_SPLIT: TRAIN, VALIDATION_SPLIT: VALIDATION}
    labels = zip(table["path"].to_pylist(), splits, table["object_id"].to_pylist(), strict=True)
    roles += [(path, learnt[s]) for path, s, name in labels if s in learnt and name is not None]
    columns = [pa.array([part[i] for part in roles], pa.string()) for i in range(2)]
    _write(config.folder, SELECTIONS, pa.table(columns, schema=SELECTIONS_SCHEMA))
    if config.queries and not any(role == QUERY for _, role in roles):
        print("note: no object has two photos or trajectories: there are no queries.")


def _write(folder: str, name: str, table: pa.Table) -> None:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    storage.write_bytes(storage.join(folder, name), sink.getbuffer())
