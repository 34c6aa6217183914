"""The OpenGL context of the gl renderer, through EGL and so without a screen.

On a node with several GPUs, a process draws on the one that it was given (CUDA_VISIBLE_DEVICES, as
Ray sets it for tasks that ask for a GPU or a share of one). A container needs the GPU driver's
graphics part for that: NVIDIA_DRIVER_CAPABILITIES must include "graphics".
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

from bridge.errors import InputError

if TYPE_CHECKING:
    import moderngl

_thread = threading.local()


def current_context() -> moderngl.Context:
    """This thread's OpenGL context, made at the first call.

    What is made in it is freed as soon as Python has no reference to it any more.

    Raises:
        InputError: moderngl or a driver for OpenGL 3.3 through EGL is missing.
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
        context = moderngl.create_context(standalone=True, require=330, **options)
    # Neither moderngl nor its loader raises anything more specific.
    except Exception as error:
        raise InputError(
            f"The renderer gl found no driver for OpenGL 3.3 through EGL ({error}): install that "
            "of the GPU, or apt-get install libegl1 libgl1 libgl1-mesa-dri."
        ) from error
    context.gc_mode = "auto"
    return context


def gpu_number() -> int:
    """Which of the node's GPUs this process was given, counted as EGL and nvidia-smi do.

    0 where it was given none, or where CUDA_VISIBLE_DEVICES names GPUs otherwise than by number.
    """
    first = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    return int(first) if first.isdigit() else 0
