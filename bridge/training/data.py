"""What a training step eats: decoded images of the plan's tuples with their labels."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Collection, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING

import numpy as np
import torch

from bridge.common.images import decode_batch
from bridge.training.errors import TooManyUnreadable

# Training runs on any labels and pictures, also where there is no Arrow to read a dataset with.
if TYPE_CHECKING:
    from bridge.dataset.cache import ImageCache
    from bridge.dataset.labels import Labels

PADDING = -1
"""A row of a plan that stands for no image."""

MAX_UNREADABLE = 0.01
"""Share of the selection's images that may be unreadable; a single one always may."""

AHEAD = 2
"""Batches that are decoded, or being decoded, while the consumer works on another one."""

PART = 16
"""Images that a thread decodes at a time, at most."""


@dataclass(frozen=True)
class Batch:
    """T tuples of S images each, flattened to B = T*S rows in tuple order.

    Attributes:
        images: uint8 [B, 3, H, W], channels last in memory; zeros where not valid.
        objects: int64 [B], class indices of the training objects.
        positions: float32 [B], places in the window of BLISS: blur levels, or 10*BS.
        levels: int64 [B], blur levels.
        visibility: float32 [B], what the blur head is to predict, NaN where unknown.
        boxes: float32 [B, 4], NaN where unknown.
        valid: bool [B], False for padding and unreadable images, which no loss may see.
        rows: int64 [B], rows of the selection, -1 for padding.
        tuple_size: S.
    """

    images: torch.Tensor
    objects: torch.Tensor
    positions: torch.Tensor
    levels: torch.Tensor
    visibility: torch.Tensor
    boxes: torch.Tensor
    valid: torch.Tensor
    rows: torch.Tensor
    tuple_size: int

    def to(self, device: torch.device) -> Batch:
        """The batch on another device; the copy is asynchronous where the memory is pinned."""
        tensors = {name: value.to(device, non_blocking=True) for name, value in self._tensors()}
        return Batch(**tensors, tuple_size=self.tuple_size)

    def pin_memory(self) -> Batch:
        """The batch in memory that a GPU copies from by itself."""
        tensors = {name: value.pin_memory() for name, value in self._tensors()}
        return Batch(**tensors, tuple_size=self.tuple_size)

    def _tensors(self) -> list[tuple[str, torch.Tensor]]:
        return [(name, v) for name, v in vars(self).items() if isinstance(v, torch.Tensor)]


class TrainingData:
    """The training selection of N images: labels and, in the same order, encoded images.

    Attributes:
        labels: of the selection.
        images: its encoded images.
        visibility: float32 [N], targets of the blur head, NaN where unknown.
        positions: float32 [N], places in the window of BLISS.
        unreadable: why, by row, for the images that could not be decoded so far.
    """

    def __init__(
        self, labels: Labels, images: ImageCache, visibility: np.ndarray, positions: np.ndarray
    ) -> None:
        self.labels = labels
        self.images = images
        self.visibility = visibility
        self.positions = positions
        self.unreadable: dict[int, str] = {}
        self._lock = Lock()

    def batch(self, tuples: np.ndarray, image_size: tuple[int, int]) -> Batch:
        """Decode the tuples (int [T, S], rows of the selection; -1 is padding).

        An image that cannot be decoded is black, not `valid`, and noted in `unreadable`.
        """
        pixels = _memory(tuples.size, image_size, pinned=False)
        decoded = self._decode(tuples.reshape(-1), pixels.numpy())
        return self._assemble(tuples, pixels, decoded)

    def _decode(self, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        """Decode rows into uint8 [B, H, W, 3]; returns bool [B], which of them hold an image."""
        encoded = [None if row == PADDING else self.images[row] for row in rows.tolist()]
        unreadable = decode_batch(encoded, out)
        valid = rows != PADDING
        if unreadable:
            valid[list(unreadable)] = False
            with self._lock:
                self.unreadable.update({int(rows[p]): why for p, why in unreadable.items()})
        return valid

    def check(self, unreadable: Collection[int]) -> None:
        """Whether training can bear that these rows are unreadable.

        Raises:
            TooManyUnreadable: they are more than `MAX_UNREADABLE` of the selection, and several.
        """
        if len(unreadable) <= max(1, MAX_UNREADABLE * len(self.labels)):
            return
        row = min(unreadable)
        why = f": {self.unreadable[row]}" if row in self.unreadable else ""
        raise TooManyUnreadable(
            f"{len(unreadable)} of {len(self.labels)} training images are unreadable, more than "
            f"the {MAX_UNREADABLE:.0%} that training bears; one of them is "
            f"{self.labels.image_id[row]}{why}."
        )

    def _assemble(self, tuples: np.ndarray, pixels: torch.Tensor, valid: np.ndarray) -> Batch:
        rows = tuples.reshape(-1).astype(np.int64)
        padding = rows == PADDING
        # Padding borrows the labels of row 0, so that every label is in range; nobody sees them.
        labelled = np.where(padding, 0, rows)
        labels = self.labels
        return Batch(
            images=pixels.permute(0, 3, 1, 2),
            objects=torch.from_numpy(labels.object[labelled].astype(np.int64)),
            positions=torch.from_numpy(self.positions[labelled]),
            levels=torch.from_numpy(labels.blur_level[labelled].astype(np.int64)),
            visibility=torch.from_numpy(self.visibility[labelled]),
            boxes=torch.from_numpy(labels.bbox[labelled]),
            valid=torch.from_numpy(valid),
            rows=torch.from_numpy(rows),
            tuple_size=tuples.shape[1],
        )


@dataclass(frozen=True)
class _Pending:
    """A batch whose parts are being decoded."""

    tuples: np.ndarray
    pixels: torch.Tensor
    parts: list[Future[np.ndarray]]


def prefetch(
    data: TrainingData,
    slices: Iterator[np.ndarray],
    image_size: tuple[int, int],
    threads: int,
    pin_memory: bool = False,
) -> Generator[Batch, None, None]:
    """Batches of the slices in order, decoded ahead by `threads` threads.

    A batch is decoded in parts by all threads together: the first one is there soonest, and
    memory holds `AHEAD` batches besides the consumer's however many threads there are.

    Args:
        data: the selection.
        slices: int [T, S] each, as in `TrainingData.batch`.
        image_size: (H, W).
        threads: that decode.
        pin_memory: for asynchronous copies to a GPU.

    Raises:
        InputError: as `TrainingData.batch`; whatever else a thread raises comes out here too.
    """
    waiting: deque[_Pending] = deque()
    pool = ThreadPoolExecutor(threads, "decode")

    def submit() -> None:
        tuples = next(slices, None)
        if tuples is not None:
            waiting.append(_submit(data, tuples, image_size, pool, threads, pin_memory))

    try:
        for _ in range(AHEAD):
            submit()
        while waiting:
            submit()
            pending = waiting.popleft()
            valid = np.concatenate([part.result() for part in pending.parts])
            batch = data._assemble(pending.tuples, pending.pixels, valid)
            yield batch.pin_memory() if pin_memory else batch
    finally:
        pool.shutdown(cancel_futures=True)


def _submit(
    data: TrainingData,
    tuples: np.ndarray,
    image_size: tuple[int, int],
    pool: ThreadPoolExecutor,
    threads: int,
    pin_memory: bool,
) -> _Pending:
    rows = tuples.reshape(-1)
    pixels = _memory(len(rows), image_size, pinned=pin_memory)
    size = min(PART, max(1, math.ceil(len(rows) / threads)))
    parts = [
        pool.submit(data._decode, rows[start : start + size], pixels[start : start + size].numpy())
        for start in range(0, len(rows), size)
    ]
    return _Pending(tuples, pixels, parts)


def _memory(count: int, image_size: tuple[int, int], *, pinned: bool) -> torch.Tensor:
    """Unwritten uint8 [count, H, W, 3]."""
    if pinned:
        # Torch keeps pinned memory and hands it out again.
        return torch.empty(count, *image_size, 3, dtype=torch.uint8, pin_memory=True)
    # NumPy asks for huge pages; the small ones that torch gets cost a third of the decoding.
    return torch.from_numpy(np.empty((count, *image_size, 3), dtype=np.uint8))
