"""The OpenGL context of the gl renderer, through EGL and so without a screen.

On a node with several GPUs, a process draws on the one that it was given (CUDA_VISIBLE_DEVICES, as
Ray sets it for tasks that ask for a GPU or a share of one). A container needs the GPU driver's
graphics part for that: NVIDIA_DRIVER_CAPABILITIES must include "graphics". A process that was given
a GPU never draws in software instead.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import threading
from typing import TYPE_CHECKING, Any

from bridge.common.errors import InputError

if TYPE_CHECKING:
    import moderngl

_SOFTWARE = "llvmpipe", "softpipe", "swrast", "software rasterizer"
"""In the names of the devices that are the processor, in small letters."""

_thread = threading.local()


def current_context() -> moderngl.Context:
    """This thread's OpenGL context, made at the first call.

    What is made in it is freed as soon as Python has no reference to it any more.

    Raises:
        InputError: moderngl or a driver for OpenGL 3.3 through EGL is missing, or that of the GPU
            which this process was given.
    """
    if not hasattr(_thread, "context"):
        _thread.context = _make_context()
    return _thread.context


def _make_context() -> moderngl.Context:
    try:
        import moderngl
    except ImportError as error:
        raise InputError(
            "The renderer gl needs moderngl: python -m pip install 'bridge-retrieval[gl]'."
        ) from error
    # Mesa's software renderer would start a thread per core, while every worker has one core.
    os.environ.setdefault("LP_NUM_THREADS", "0")
    options: dict[str, Any] = {"backend": "egl", "device_index": gpu_number()}
    try:
        _load_triton()
        context = moderngl.create_context(standalone=True, require=330, **options)
    # Neither moderngl nor its loader raises anything more specific.
    except Exception as error:
        raise InputError(
            f"The renderer gl found no driver for OpenGL 3.3 through EGL ({error}): install that "
            "of the GPU, or apt-get install libegl1 libgl1 libgl1-mesa-dri."
        ) from error
    device = str(context.info["GL_RENDERER"])
    if _first_gpu() and any(name in device.lower() for name in _SOFTWARE):
        context.release()
        raise InputError(
            f"The renderer gl was given the GPU CUDA_VISIBLE_DEVICES={_first_gpu()} but found no "
            f"EGL driver of it, only {device}: install the driver's graphics part (containers need "
            "NVIDIA_DRIVER_CAPABILITIES with graphics), or set CUDA_VISIBLE_DEVICES= (to nothing) "
            "to draw in software."
        )
    context.gc_mode = "auto"
    return context


def _load_triton() -> None:
    """Triton, which PyTorch imports late, and Mesa's software driver each bring an LLVM: loaded in
    this order they get along, in the other the process crashes."""
    with contextlib.suppress(ImportError):
        importlib.import_module("triton")


def gpu_number() -> int:
    """Which of the node's GPUs this process was given, counted as EGL and nvidia-smi do.

    0 where it was given none, or where CUDA_VISIBLE_DEVICES names GPUs otherwise than by number.
    """
    first = _first_gpu()
    return int(first) if first.isdigit() else 0


def _first_gpu() -> str:
    """The GPU that this process was given, by number or otherwise; empty where it was none."""
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return "" if first == "-1" else first
