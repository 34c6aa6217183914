"""Images to descriptors, in batches, decoding ahead of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from bridge.common.images import Encoded, decode_batch
from bridge.model.config import Precision
from bridge.model.method import Description, RetrievalModel

MAX_BATCH = 64
"""Images per forward pass where nothing else is said."""

MAX_PIXELS_ON_CPU = 16 * 240 * 320
"""Of a forward pass on a CPU where nothing else is said. More are no faster, and there may be an
actor on every core."""

PART = 8
"""Images that a thread decodes at a time."""


@dataclass(frozen=True)
class Embedded:
    """Descriptors of the readable ones among some images.

    Attributes:
        descriptors: float32 [R, d], L2-normalised.
        blur_severity: float32 [R], predicted, in 0..1; None where the method does not tell.
        boxes: float32 [R, 4], predicted (cx, cy, w, h) in 0..1; None where it does not tell.
        rows: int64 [R], which of the images they belong to, ascending.
        unreadable: why, by row, for the others.
    """

    descriptors: np.ndarray
    blur_severity: np.ndarray | None
    boxes: np.ndarray | None
    rows: np.ndarray
    unreadable: dict[int, str]


def embed_encoded(
    model: RetrievalModel,
    images: Sequence[Encoded],
    *,
    batch_size: int | None = None,
    threads: int = 2,
    precision: Precision = "float32",
) -> Embedded:
    """Decode and embed encoded pictures on the model's device.

    A picture that cannot be decoded is left out and reported, never replaced. Without a batch size
    it is `default_batch_size`.
    """
    device = model.device
    batch_size = batch_size or default_batch_size(model)
    if device.type == "cuda" and precision == "float32":
        # Torch's own default computes float32 convolutions with 10 bits of mantissa.
        torch.backends.cudnn.allow_tf32 = False
    autocast = torch.autocast(device.type, torch.bfloat16, enabled=precision == "bfloat16")
    outputs: list[Description] = []
    rows: list[int] = []
    unreadable: dict[int, str] = {}
    starts = range(0, len(images), batch_size)
    parts = (images[start : start + batch_size] for start in starts)
    decoded = _decode_ahead(parts, model.config.image_size, threads)
    for start, (pixels, bad) in zip(starts, decoded, strict=True):
        unreadable |= {start + place: why for place, why in bad.items()}
        places = [place for place in range(len(pixels)) if place not in bad]
        readable = torch.from_numpy(pixels[places] if bad else pixels).permute(0, 3, 1, 2)
        with autocast:
            outputs.append(model.describe(readable.to(device, non_blocking=True)))
        rows += [start + place for place in places]
    empty = np.empty((0, *model.config.image_size, 3), np.uint8)
    outputs = outputs or [model.describe(torch.from_numpy(empty).permute(0, 3, 1, 2).to(device))]
    descriptors, visibility, boxes = map(_joined, zip(*outputs, strict=True))
    assert descriptors is not None
    severity = None if visibility is None else 1 - visibility
    return Embedded(descriptors, severity, boxes, np.array(rows, dtype=np.int64), unreadable)


def default_batch_size(model: RetrievalModel) -> int:
    """Images per forward pass: `MAX_BATCH`, on a CPU fewer where they are large."""
    if model.device.type != "cpu":
        return MAX_BATCH
    height, width = model.config.image_size
    return max(1, min(MAX_BATCH, MAX_PIXELS_ON_CPU // (height * width)))


def _joined(parts: Sequence[torch.Tensor | None]) -> np.ndarray | None:
    """What a network says of all images, float32 on the CPU; None where it does not."""
    known = [part for part in parts if part is not None]
    return torch.cat(known).float().cpu().numpy() if known else None


def _decode_ahead(
    parts: Iterator[Sequence[Encoded]], size: tuple[int, int], threads: int
) -> Iterator[tuple[np.ndarray, dict[int, str]]]:
    """Decoded parts in order; the next one is decoded while the caller works on this one."""
    with ThreadPoolExecutor(threads) as pool:
        ahead = None
        for part in parts:
            current = _submit(pool, part, size)
            if ahead is not None:
                yield _result(*ahead)
            ahead = current
        if ahead is not None:
            yield _result(*ahead)


def _submit(
    pool: ThreadPoolExecutor, images: Sequence[Encoded], size: tuple[int, int]
) -> tuple[np.ndarray, list[Future[dict[int, str]]]]:
    pixels = np.empty((len(images), *size, 3), dtype=np.uint8)
    parts = (slice(start, start + PART) for start in range(0, len(images), PART))
    return pixels, [pool.submit(decode_batch, images[part], pixels[part]) for part in parts]


def _result(
    pixels: np.ndarray, parts: list[Future[dict[int, str]]]
) -> tuple[np.ndarray, dict[int, str]]:
    unreadable = {
        number * PART + place: why
        for number, part in enumerate(parts)
        for place, why in part.result().items()
    }
    return pixels, unreadable
