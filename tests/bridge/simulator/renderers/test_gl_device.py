from __future__ import annotations

import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from bridge.common.errors import InputError
from bridge.simulator.renderers.gl import GLCanvas
from bridge.simulator.renderers.gl_device import current_context, gpu_number


def refusal(action: Callable[[], object]) -> str:
    """What a new thread, which has no context yet, is told."""
    with (
        ThreadPoolExecutor(1) as threads,
        pytest.raises(InputError) as refused,
    ):
        threads.submit(action).result()
    return str(refused.value)


def test_missing_moderngl_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "moderngl", None)
    assert "pip install 'bridge-retrieval[gl]'" in refusal(current_context)


def test_missing_libraries_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moderngl")
    monkeypatch.setenv("GLCONTEXT_LINUX_LIBEGL", "libthere_is_none.so")
    sentence = refusal(lambda: GLCanvas((8, 8)))
    assert "libthere_is_none.so" in sentence
    assert "apt-get install libegl1 libgl1 libgl1-mesa-dri" in sentence


def test_a_gpu_that_egl_does_not_have_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("moderngl")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "63")
    assert "EGL" in refusal(current_context)


@pytest.mark.parametrize("visible", ["0", "GPU-7af1"])
def test_software_is_refused_where_a_gpu_was_given(
    monkeypatch: pytest.MonkeyPatch, visible: str
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    with ThreadPoolExecutor(1) as threads:
        try:
            device = threads.submit(lambda: GLCanvas((8, 8)).describe()).result()
        except InputError as error:
            pytest.skip(str(error))
    if "llvmpipe" not in device:
        pytest.skip(f"OpenGL draws on {device}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    sentence = refusal(current_context)
    assert device in sentence and f"CUDA_VISIBLE_DEVICES={visible} " in sentence
    assert "NVIDIA_DRIVER_CAPABILITIES" in sentence
    for none in ("", "-1"):
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", none)
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(lambda: GLCanvas((8, 8)).describe()).result() == device


@pytest.mark.parametrize(
    ("visible", "number"), [(None, 0), ("", 0), ("2", 2), ("3,1", 3), ("GPU-7af1", 0), ("-1", 0)]
)
def test_gpu_is_the_first_that_the_process_was_given(
    monkeypatch: pytest.MonkeyPatch, visible: str | None, number: int
) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_number() == number
