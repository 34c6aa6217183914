"""Images to descriptors, in batches, decoding ahead of the network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch

from bridge.images import UnreadableImage, decode
from bridge.model import Bridge


@dataclass(frozen=True)
class Embedded:
    """Descriptors of the readable ones among some images.

    Attributes:
        descriptors: float32 [R, d], L2-normalised.
        rows: int64 [R], which of the images they belong to, ascending.
        unreadable: why, by row, for the others.
    """

    descriptors: np.ndarray
    rows: np.ndarray
    unreadable: dict[int, str]


def embed_encoded(
    model: Bridge, images: Sequence[bytes], *, batch_size: int = 64, threads: int = 2
) -> Embedded:
    """Decode and embed encoded pictures on the model's device.

    A picture that cannot be decoded is left out and reported, never replaced.
    """
    device = next(model.parameters()).device
    descriptors = [np.empty((0, model.config.descriptor_dim), dtype=np.float32)]
    rows: list[int] = []
    unreadable: dict[int, str] = {}
    starts = range(0, len(images), batch_size)
    parts = (images[start : start + batch_size] for start in starts)
    decoded = _decode_ahead(parts, model.config.image_size, threads)
    for start, results in zip(starts, decoded, strict=True):
        numbered = list(enumerate(results, start))
        readable = {row: pixels for row, pixels in numbered if isinstance(pixels, np.ndarray)}
        unreadable |= {row: str(error) for row, error in numbered if row not in readable}
        if readable:
            pixels = torch.from_numpy(np.stack(list(readable.values()))).permute(0, 3, 1, 2)
            descriptors.append(model.embed(pixels.to(device)).cpu().numpy())
            rows += readable
    return Embedded(np.concatenate(descriptors), np.array(rows, dtype=np.int64), unreadable)


def _decode_or_error(data: bytes, size: tuple[int, int]) -> np.ndarray | UnreadableImage:
    try:
        return decode(data, size)
    except UnreadableImage as error:
        return error


def _decode_ahead(
    parts: Iterator[Sequence[bytes]], size: tuple[int, int], threads: int
) -> Iterator[list[np.ndarray | UnreadableImage]]:
    """Decoded parts in order; the next one is decoded while the caller works on this one."""
    with ThreadPoolExecutor(threads) as pool:
        ahead = None
        for part in parts:
            current = [pool.submit(_decode_or_error, data, size) for data in part]
            if ahead is not None:
                yield [future.result() for future in ahead]
            ahead = current
        if ahead is not None:
            yield [future.result() for future in ahead]
