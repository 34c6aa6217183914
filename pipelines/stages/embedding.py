"""Embedding the images of an INDEX: the actors that do its parts."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa

import bridge
from bridge.common import storage
from bridge.common.images import thumbnail
from bridge.dataset.labels import Labels
from bridge.index.folder import (
    PartRecord,
    descriptor_schema,
    write_part,
)
from bridge.model.config import Precision
from bridge.model.embedding import Embedded, embed_encoded
from pipelines.stages import cluster, engine
from pipelines.stages.embedding_plan import Part


@dataclass(frozen=True)
class EmbedOptions:
    """How the actors embed."""

    model: str
    precision: Precision
    batch_size: int | None
    num_workers: int | None
    use_gpu: bool
    thumbnails: bool = False


def embed_parts(parts: Sequence[Part], out: str, options: EmbedOptions) -> Iterator[PartRecord]:
    """Embed and write the parts on the whole cluster; their records as they are finished."""
    gpus, cpus = int(cluster.num_gpus()), max(1, int(cluster.num_cpus()))
    # On CPUs one actor per core scales better than the threads of one forward pass.
    actors = options.num_workers or (gpus if options.use_gpu else cpus) or 1
    actors = max(1, min(len(parts), actors if options.use_gpu else min(actors, cpus)))
    threads = min(8, max(1, cpus // actors))
    yield from engine.run(
        Embedder,
        parts,
        out,
        options,
        threads,
        cpus=0 if options.use_gpu else 1,
        gpus=1 if options.use_gpu else 0,
        # Two calls at a time: one reads the next part's images while the network has the other's.
        actors=engine.Actors(
            options.num_workers,
            calls=2,
            environment=None if options.use_gpu else cluster.TENSORS_ON_CPU,
        ),
    )


class Embedder:
    """Loads the model once, then turns parts into descriptor files."""

    def __init__(self, out: str, options: EmbedOptions, threads: int) -> None:
        import torch

        torch.set_num_threads(threads)
        self._model = bridge.load(options.model, "cuda" if options.use_gpu else "cpu")
        self._out, self._options, self._threads = out, options, threads
        self._network = threading.Lock()

    def __call__(self, part: Part) -> PartRecord:
        """Embed one part, write it, and return its record."""
        labels, images = part.read()
        with self._network:
            embedded = embed_encoded(
                self._model,
                images,
                batch_size=self._options.batch_size,
                threads=self._threads,
                precision=self._options.precision,
            )
        thumbnails = None
        if self._options.thumbnails:
            thumbnails = [thumbnail(images[row]) for row in embedded.rows]
        return _write(self._out, part, labels, embedded, thumbnails)


def _write(
    out: str, part: Part, labels: Labels, embedded: Embedded, thumbnails: list[bytes] | None
) -> PartRecord:
    kept = labels.take(embedded.rows)
    dimension = embedded.descriptors.shape[1]
    columns = {
        "image_id": kept.image_id,
        "object_id": kept.object_ids(),
        "blur_level": pa.array(kept.blur_level, pa.int8(), mask=kept.blur_level == 0),
        "role": [part.record.role] * len(kept),
        "split": [part.split] * len(kept),
        "descriptor": pa.FixedSizeListArray.from_arrays(
            pa.array(embedded.descriptors.reshape(-1)), dimension
        ),
        "blur_severity": _nullable(kept.blur_severity),
        "predicted_blur_severity": _nullable(embedded.blur_severity, len(kept)),
        "bbox": _nullable_boxes(kept.bbox),
        "predicted_bbox": _nullable_boxes(embedded.boxes, len(kept)),
        "shard": [storage.join(kept.dataset, kept.shards[i]) for i in kept.shard],
        "row": kept.row,
    }
    if thumbnails is not None:
        columns["thumbnail"] = [{"bytes": data, "path": None} for data in thumbnails]
    schema = descriptor_schema(dimension, thumbnails is not None)
    unreadable = {labels.image_id[row].as_py(): why for row, why in embedded.unreadable.items()}
    record = replace(part.record, unreadable=unreadable)
    return write_part(out, record, pa.table(columns, schema=schema))


def _nullable(values: np.ndarray | None, length: int = 0) -> pa.Array:
    """Floats with null for NaN; all null where there are none."""
    if values is None:
        return pa.nulls(length, pa.float32())
    return pa.array(values, pa.float32(), from_pandas=True)


def _nullable_boxes(boxes: np.ndarray | None, length: int = 0) -> pa.Array:
    kind = pa.list_(pa.float32(), 4)
    if boxes is None:
        return pa.nulls(length, kind)
    missing = pa.array(np.isnan(boxes).any(axis=1))
    return pa.FixedSizeListArray.from_arrays(
        pa.array(boxes.reshape(-1), pa.float32()), type=kind, mask=missing
    )
