"""The little that the trainer needs of several processes; all of it works with one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """This process among those that train together."""

    rank: int = 0
    size: int = 1

    @classmethod
    def current(cls) -> World:
        """The initialised process group, or the world of one process."""
        if dist.is_available() and dist.is_initialized():
            return cls(dist.get_rank(), dist.get_world_size())
        return cls()


class _GatherRows(torch.autograd.Function):
    """Concatenate equally shaped tensors of all ranks along dimension 0, with gradients.

    Every rank computes the same loss from the same gathered rows; summing the gradients over ranks
    and dividing by their number, as DistributedDataParallel does, then gives exactly the
    gradient of one process with the whole batch.
    """

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        total = gradient.contiguous().clone()
        dist.all_reduce(total)
        return total.chunk(dist.get_world_size())[dist.get_rank()]


def gather_rows(rows: torch.Tensor) -> torch.Tensor:
    """Rows [B, ...] of all ranks in rank order, [world * B, ...]; differentiable."""
    return rows if World.current().size == 1 else _GatherRows.apply(rows)


def gather_interleaved(rows: np.ndarray, total: int) -> np.ndarray:
    """Undo the division of `total` rows into `items[rank::world]`: float32 [total, d]."""
    world = World.current()
    if world.size == 1:
        return rows
    padded = np.zeros((-(-total // world.size), rows.shape[1]), dtype=np.float32)
    padded[: len(rows)] = rows
    device = "cuda" if dist.get_backend() == "nccl" else "cpu"
    part = torch.from_numpy(padded).to(device)
    parts = [torch.empty_like(part) for _ in range(world.size)]
    dist.all_gather(parts, part)
    return torch.stack(parts, dim=1).flatten(0, 1)[:total].cpu().numpy()


def union_over_ranks(items: Iterable[int]) -> set[int]:
    """The items of all ranks together, each once."""
    if World.current().size == 1:
        return set(items)
    parts: list[list[int]] = [[] for _ in range(dist.get_world_size())]
    dist.all_gather_object(parts, list(items))
    return set().union(*parts)
