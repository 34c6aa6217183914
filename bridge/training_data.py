"""What a training step eats: decoded images of the plan's tuples with their labels."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from bridge.dataset.cache import ImageCache, open_cache
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest
from bridge.dataset.splits import training_rows
from bridge.errors import InputError
from bridge.images import decode_batch


@dataclass(frozen=True)
class Batch:
    """T tuples of S images each, flattened to B = T*S rows in tuple order.

    Attributes:
        images: uint8 [B, 3, H, W].
        objects: int64 [B], class indices of the training objects.
        levels: int64 [B], blur levels.
        blur_values: float32 [B], 1 - BS, NaN where unknown.
        boxes: float32 [B, 4], NaN where unknown.
        tuple_size: S.
    """

    images: torch.Tensor
    objects: torch.Tensor
    levels: torch.Tensor
    blur_values: torch.Tensor
    boxes: torch.Tensor
    tuple_size: int

    def to(self, device: torch.device) -> Batch:
        """The batch on another device."""
        tensors = {
            name: value.to(device, non_blocking=True)
            for name, value in vars(self).items()
            if isinstance(value, torch.Tensor)
        }
        return Batch(**tensors, tuple_size=self.tuple_size)


@dataclass(frozen=True)
class TrainingData:
    """The training selection: labels and, in the same order, encoded images."""

    labels: Labels
    images: ImageCache

    def batch(self, tuples: np.ndarray, image_size: tuple[int, int]) -> Batch:
        """Decode the tuples (int [T, S], rows of the selection)."""
        rows = tuples.reshape(-1)
        pixels = decode_batch([self.images[int(row)] for row in rows], image_size)
        return Batch(
            images=torch.from_numpy(pixels),
            objects=torch.from_numpy(self.labels.object[rows].astype(np.int64)),
            levels=torch.from_numpy(self.labels.blur_level[rows].astype(np.int64)),
            blur_values=torch.from_numpy(1.0 - self.labels.blur_severity[rows]),
            boxes=torch.from_numpy(self.labels.bbox[rows]),
            tuple_size=tuples.shape[1],
        )


def load_training_data(
    dataset: str, manifest: Manifest, seed: int, *, sharp_only: bool = False
) -> TrainingData:
    """The balanced training selection of a dataset (Sec. 5); InputError where there is none."""
    labels = read_labels(dataset, manifest, "train")
    rows = training_rows(labels, seed, sharp_only=sharp_only)
    if not len(rows):
        raise InputError(f"{dataset} has no training images of blur levels 1 to 6.")
    selected = labels.take(rows)
    return TrainingData(selected, open_cache(selected, manifest.content_hash))


def prefetch(
    data: TrainingData, slices: Iterator[np.ndarray], image_size: tuple[int, int], threads: int
) -> Iterator[Batch]:
    """Batches of the slices in order, decoded ahead by `threads` threads."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Batch]] = deque()
        try:
            for tuples in slices:
                waiting.append(pool.submit(data.batch, tuples, image_size))
                if len(waiting) > threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
