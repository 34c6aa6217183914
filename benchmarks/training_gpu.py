"""The step of the paper's network on a GPU: speed, share of the chip's arithmetic, memory."""

from __future__ import annotations

import gc
import statistics
import time
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.training_step import new_model, synchronise, timed
from bridge.model.config import ModelConfig
from bridge.model.network import Bridge
from bridge.training.data import TrainingData
from bridge.training.recipe import Compute, Recipe
from bridge.training.trainer import Trainer

VARIANTS = {
    "fp32": Compute("fp32"),
    "bf16": Compute("bf16"),
    "bf16, compiled": Compute("bf16", compile=True),
    "bf16, checkpointing": Compute("bf16", gradient_checkpointing=True),
    "bf16, compiled, checkpointing": Compute("bf16", compile=True, gradient_checkpointing=True),
}
WARM_UPS = 3
STEPS = 10


def measure_gpu(
    network: ModelConfig,
    data: TrainingData,
    *,
    tuples: int = 32,
    device: str = "cuda",
    matrix: int = 8192,
    variants: dict[str, Compute] = VARIANTS,
) -> dict[str, Any]:
    """Steps of `tuples` tuples of the paper's recipe, with each way of computing.

    TFLOP/s are model arithmetic, three times the forward pass, whatever checkpointing adds.

    Args:
        network: what is trained, from random weights.
        data: where the images are from.
        tuples: of a step.
        device: a GPU; on a CPU there is no figure of memory.
        matrix: side of the square matrices whose product is the measure of the chip.
        variants: ways of computing, by name.

    Returns:
        FLOPs of a forward pass per image, the chip's rate, and figures by variant; a variant for
        which the memory is too small has none.
    """
    flops = forward_flops(new_model(network))
    chip = matmul_rate(matrix, device)
    return {
        "gpu": torch.cuda.get_device_name() if device != "cpu" else "none",
        "tuples": tuples,
        "image_size": network.image_size,
        "forward_gflop_per_image": flops / 1e9,
        "matmul_tflops": chip / 1e12,
        "variants": {
            name: _variant(network, data, tuples, device, compute, flops, chip)
            for name, compute in variants.items()
        },
    }


def _variant(
    network: ModelConfig,
    data: TrainingData,
    tuples: int,
    device: str,
    compute: Compute,
    flops: int,
    chip: float,
) -> dict[str, float] | None:
    if compute.compile:
        torch.compiler.reset()
    gc.collect()
    if device != "cpu":
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    try:
        rate = _images_per_second(network, data, tuples, device, compute)
    except torch.OutOfMemoryError:
        return None
    found = {
        "images_per_second": rate,
        "tflops": 3 * flops * rate / 1e12,
        "share_of_matmul": 3 * flops * rate / chip,
    }
    if device != "cpu":
        found["peak_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
    return found


def _images_per_second(
    network: ModelConfig, data: TrainingData, tuples: int, device: str, compute: Compute
) -> float:
    model = new_model(network, len(data.labels.objects))
    trainer = Trainer(model, Recipe(batch_size=tuples), data, None, device=device, compute=compute)
    batch = trainer.example_batch(tuples)
    for _ in range(WARM_UPS):
        trainer.train_step(batch)
    times = [timed(lambda: trainer.train_step(batch), device)[1] for _ in range(STEPS)]
    return len(batch.objects) / statistics.median(times)


@torch.no_grad()
def forward_flops(model: Bridge) -> int:
    """Of one image at the network's size; an addition and a multiplication count as two."""
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *model.config.image_size))
    return counter.get_total_flops()


def matmul_rate(size: int, device: str) -> float:
    """FLOP per second of a product of two square bf16 matrices, the median of 20."""
    left, right = (torch.randn(size, size, device=device, dtype=torch.bfloat16) for _ in range(2))
    times = []
    for _ in range(25):
        synchronise(device)
        start = time.perf_counter()
        torch.mm(left, right)
        synchronise(device)
        times.append(time.perf_counter() - start)
    return 2 * size**3 / statistics.median(times[5:])
