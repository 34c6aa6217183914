"""What the workers of a training send each other, and what that makes of many GPUs.

Counted from the calls of torch.distributed, computed from the sizes of the tensors, and from these
the efficiency on paper, for machines that were not measured.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from bridge.model.network import Bridge

FLOAT = 4

LABEL_BYTES = 8 + (1 + 1 + 4) * FLOAT + 2
"""Of an image: object (int64), place in the window, blur value, box (floats), two flags."""

BACKWARD = 2 / 3
"""Share of the arithmetic of a step."""

BUCKET = 25 * 2**20
"""Bytes of gradients that DistributedDataParallel sends together; the last ones are sent when
nothing is left to compute."""


class CountBytes(TorchDispatchMode):
    """Counts the bytes that are handed to torch.distributed, by operation.

    Attributes:
        bytes: by operation: "allreduce" and "broadcast" of the tensors that each worker has,
            "allgather" of all workers' together.
        calls: by operation.
    """

    def __init__(self) -> None:
        super().__init__()
        self.bytes: Counter[str] = Counter()
        self.calls: Counter[str] = Counter()

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        if func.namespace == "c10d":
            name = func.__name__.partition("_.")[0]
            tensors = [t for t in tree_leaves(args[0]) if isinstance(t, torch.Tensor)]
            self.bytes[name] += sum(t.nbytes for t in tensors)
            self.calls[name] += 1
        return func(*args, **(kwargs or {}))


@dataclass(frozen=True)
class Traffic:
    """Bytes of a step, with all three heads and losses.

    Attributes:
        gradients: all-reduced: of the weights.
        predictions: all-reduced: gradients of what the losses take from all workers.
        gathered: all-gathered: predictions and labels of the images of all workers.
        buffers: broadcast: what the network keeps besides weights.
        used: all-reduced on CPUs alone, where DistributedDataParallel looks for parameters without
            gradient: an int32 per tensor of weights.
    """

    gradients: int
    predictions: int
    gathered: int
    buffers: int
    used: int

    def seconds(self, workers: int, bandwidth: float) -> tuple[float, float]:
        """On paper, on GPUs, with rings of so many bytes per second and worker.

        Returns:
            Seconds for the gradients, which are sent while the backward pass computes others, and
            for all else, during which nothing is computed.
        """
        share = (workers - 1) / workers
        gradients = 2 * share * self.gradients / bandwidth
        rest = share * (2 * self.predictions + self.gathered) + self.buffers
        return gradients, rest / bandwidth


def traffic(model: Bridge, images: int) -> Traffic:
    """From the sizes of the network's tensors and the images of a step, over all workers."""
    predictions = (model.config.descriptor_dim + 1 + 4) * FLOAT
    trained = [p for p in model.parameters() if p.requires_grad]
    return Traffic(
        gradients=sum(p.nbytes for p in trained),
        predictions=predictions * images,
        gathered=(predictions + LABEL_BYTES) * images,
        buffers=sum(b.nbytes for b in model.buffers()),
        used=4 * len(trained),
    )


def on_paper(
    model: Bridge, images: int, workers: int, bandwidth: float, images_per_second: float
) -> dict[str, float]:
    """The efficiency of many GPUs, from bytes and rates alone.

    Left out: latency, workers that wait for each other, and a rate that falls with fewer images.

    Args:
        model: what is trained.
        images: of a step, over all workers.
        workers: that share them.
        bandwidth: bytes per second that each sends and receives.
        images_per_second: that each trains by itself.

    Returns:
        Seconds of a step by part, and the share of the workers' time in which they compute: with
        the gradients but the last bucket sent during the backward pass, and with nothing sent
        while computing.
    """
    compute = images / workers / images_per_second
    sent = traffic(model, images)
    gradients, rest = sent.seconds(workers, bandwidth)
    last = gradients * min(1.0, BUCKET / sent.gradients)
    late = max(last, gradients - BACKWARD * compute)
    return {
        "workers": workers,
        "images_per_step": images,
        "compute_seconds": compute,
        "gradient_seconds": gradients,
        "other_seconds": rest,
        "efficiency": compute / (compute + late + rest),
        "efficiency_without_overlap": compute / (compute + gradients + rest),
    }
