"""What a training will cost, measured on a few random images."""

from __future__ import annotations

import copy
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from bridge.common.progress import duration
from bridge.model.method import RetrievalModel
from bridge.training.recipe import Compute, Recipe

MOST_IMAGES_ON_CPU = 32
"""More at once are hardly faster per image."""
TIMED_ON_GPU = 3
STRIDE = 32
"""Of the encoders: the map of an image that is no larger is a single place."""


@dataclass(frozen=True)
class TrainingEstimate:
    """Cost of one worker's part and of the whole training.

    Attributes:
        parameters: numbers in the network, those of the classifier included.
        trainable_parameters: those that the optimiser changes.
        flops_per_image: of the forward pass; an addition and a multiplication count as two.
        state_bytes: of the weights, gradients, optimiser and averaged weights.
        activation_bytes: of a worker's share of a step, at the peak.
        images_per_worker: in a step.
        measured_images: for how many at once time (and on GPUs memory) was measured.
        seconds_per_step: forward and backward, proportional to the images measured.
        total_steps: of the training.
        device: where it was measured.
    """

    parameters: int
    trainable_parameters: int
    flops_per_image: int
    state_bytes: int
    activation_bytes: int
    images_per_worker: int
    measured_images: int
    seconds_per_step: float
    total_steps: int
    device: str

    @property
    def memory_bytes(self) -> int:
        """Of each worker, at the peak of a step."""
        return self.state_bytes + self.activation_bytes

    @property
    def seconds_total(self) -> float:
        """Of all steps."""
        return self.seconds_per_step * self.total_steps

    def lines(self) -> list[str]:
        """For people."""
        step_flops = 3 * self.flops_per_image * self.images_per_worker
        images = f"{self.measured_images} random image{'s' * (self.measured_images > 1)}"
        lines = [
            f"parameters: {self.parameters / 1e6:.1f} M, {self.trainable_parameters / 1e6:.1f} M "
            "of them trained",
            f"arithmetic: {self.flops_per_image / 1e9:.1f} GFLOP per image forward, about "
            f"{step_flops / 1e12:.2f} TFLOP per step and worker",
            f"memory per worker: {self.memory_bytes / 1e9:.1f} GB, "
            f"{self.activation_bytes / 1e9:.1f} GB of it activations of {self.images_per_worker} "
            "images",
            f"time: {self.seconds_per_step:.2f} s per step, {duration(self.seconds_total)} in all; "
            f"from {images} at once on {self.device}, forward and backward, without reading data, "
            "validation and communication",
        ]
        if self.device != "cpu" and self.measured_images < self.images_per_worker:
            lines.append(
                f"memory of {self.device} is too small for {self.images_per_worker} images: more "
                "workers, a smaller batch size or gradient checkpointing"
            )
        return lines


def estimate(
    model: RetrievalModel,
    recipe: Recipe,
    *,
    images_per_step: int,
    total_steps: int,
    device: str,
    workers: int = 1,
    compute: Compute | None = None,
    measure_seconds: float = 5.0,
) -> TrainingEstimate:
    """Measure random images in this process, with as many threads as it has.

    On a GPU, memory and time are those of a worker's whole share of a step, or of as many images
    as fit. On a CPU a few images are measured (one, where that takes long) and the rest is taken
    to be in proportion; memory is the sum of the tensors alive at the peak. `torch.compile` is
    not tried.

    Args:
        model: what will be trained; stays as it is.
        recipe: how.
        images_per_step: over all workers.
        total_steps: of the training.
        device: "cpu" or "cuda".
        workers: that share a step; each is taken to be as fast as this process.
        compute: precision and checkpointing; default: that of the device.
        measure_seconds: to spend on timing, at least one image.
    """
    compute = compute or Compute()
    share = -(-images_per_step // workers)
    network = copy.deepcopy(model).to(device).train()
    network.backbone.gradient_checkpointing = compute.gradient_checkpointing
    # One number, such as that of one image in one place, cannot be normalised by itself.
    lonely: tuple[type[torch.nn.Module], ...] = (torch.nn.BatchNorm1d,)
    if max(model.config.image_size) <= STRIDE:
        lonely = (torch.nn.BatchNorm1d, torch.nn.BatchNorm2d)
    for module in network.modules():
        if isinstance(module, lonely):
            module.eval()
    work = _Work(network, device, compute.uses_bf16(device))
    if device == "cpu":
        peak, first = work.peak_on_cpu()
        activations = peak * share
        most = min(share, MOST_IMAGES_ON_CPU)
        images, seconds = work.time_on_cpu(most, first, measure_seconds)
    else:
        images, peak = work.peak_on_gpu(share)
        activations = peak * share // images
        seconds = min(work.seconds(images) for _ in range(TIMED_ON_GPU))
    trained = [p for p in model.parameters() if p.requires_grad]
    return TrainingEstimate(
        parameters=sum(p.numel() for p in model.parameters()),
        trainable_parameters=sum(p.numel() for p in trained),
        flops_per_image=work.flops_per_image(),
        state_bytes=_state_bytes(model, recipe),
        activation_bytes=activations,
        images_per_worker=share,
        measured_images=images,
        seconds_per_step=seconds / images * share,
        total_steps=total_steps,
        device=device,
    )


def _state_bytes(model: RetrievalModel, recipe: Recipe) -> int:
    """Weights and their average, and for those trained a gradient and Adam's two moments."""
    sizes = [(p.nbytes, p.requires_grad) for p in model.parameters()]
    copies = 2 if recipe.ema_decay else 1
    return sum(size * (copies + 3 * trained) for size, trained in sizes)


class _Work:
    """Forward and backward passes of random images."""

    def __init__(self, network: RetrievalModel, device: str, bf16: bool) -> None:
        self._network = network
        self._device = device
        self._bf16 = bf16

    def flops_per_image(self) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            self._network(self._images(1))
        return counter.get_total_flops()

    def seconds(self, images: int) -> float:
        """Of one forward and backward pass."""
        pixels = self._images(images)
        self._wait()
        started = time.perf_counter()
        self._pass(pixels)
        self._wait()
        return time.perf_counter() - started

    def time_on_cpu(self, most: int, first: float, budget: float) -> tuple[int, float]:
        """How many images were measured at once, at most `most`, and the seconds they took.

        `first` is what a first image took, which may be all that there is time for.
        """
        spent, images, taken, following = first, 1, first, 1
        while following <= most and spent + taken / images * following < budget:
            images, taken = following, self.seconds(following)
            spent += taken
            following *= 2
        return images, taken

    def peak_on_cpu(self) -> tuple[int, float]:
        """Bytes of activations of one image, and the seconds it took."""
        with _AliveTensors(self._network) as alive:
            seconds = self.seconds(1)
        return alive.peak, seconds

    def peak_on_gpu(self, images: int) -> tuple[int, int]:
        """How many images fit, at most `images`, and the bytes of their activations."""
        while True:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
            try:
                with self._without_gradients():
                    self._pass(self._images(images))
            except torch.OutOfMemoryError:
                if images == 1:
                    raise
                images //= 2
            else:
                return images, torch.cuda.max_memory_allocated() - before

    def _images(self, count: int) -> torch.Tensor:
        height, width = self._network.config.image_size
        return torch.rand(count, 3, height, width, device=self._device)

    def _pass(self, images: torch.Tensor) -> None:
        self._network.zero_grad(set_to_none=True)
        with torch.autocast(self._device, torch.bfloat16, enabled=self._bf16):
            output = self._network(images)
        torch.stack([part.sum() for part in output if part is not None]).sum().backward()

    @contextmanager
    def _without_gradients(self) -> Iterator[None]:
        """Gradients of weights, which do not grow with the images, are dropped as they come."""

        def drop(parameter: torch.Tensor) -> None:
            parameter.grad = None

        trained = [p for p in self._network.parameters() if p.requires_grad]
        hooks = [p.register_post_accumulate_grad_hook(drop) for p in trained]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()

    def _wait(self) -> None:
        if self._device != "cpu":
            torch.cuda.synchronize()


class _AliveTensors(TorchDispatchMode):
    """Counts the bytes of all tensors that operations have made and that are still in use.

    Tensors that are shaped as a weight are its gradients, which do not grow with the images.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        self.peak = 0
        self._alive = 0
        self._known = {_storage(t) for t in (*network.parameters(), *network.buffers())}
        self._weights = {_shape(p) for p in network.parameters()}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        for tensor in _tensors(result):
            self._note(tensor)
        return result

    def _note(self, tensor: torch.Tensor) -> None:
        key = _storage(tensor)
        if key not in self._known and _shape(tensor) not in self._weights:
            self._known.add(key)
            storage = tensor.untyped_storage()
            self._alive += storage.nbytes()
            self.peak = max(self.peak, self._alive)
            weakref.finalize(storage, self._release, key, storage.nbytes())

    def _release(self, key: int, size: int) -> None:
        self._known.discard(key)
        self._alive -= size


def _tensors(result: Any) -> Iterator[torch.Tensor]:
    """The tensors that an operation returned, alone or in lists."""
    if isinstance(result, torch.Tensor):
        yield result
    elif isinstance(result, list | tuple):
        for part in result:
            yield from _tensors(part)


def _storage(tensor: torch.Tensor) -> int:
    """Where the numbers lie: no other living tensor's lie there."""
    return tensor.untyped_storage().data_ptr()


def _shape(tensor: torch.Tensor) -> tuple[int, ...]:
    """The sizes, whichever way a matrix is turned."""
    return tuple(sorted(tensor.shape))
