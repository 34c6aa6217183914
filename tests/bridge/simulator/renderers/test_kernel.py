from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np

from bridge.simulator.renderers.raster_kernels import draw_triangles
from bridge.simulator.renderers.raster_shading import shade

COUNTS = "NRT_incref"
STEPS = """
from numba import njit
from bridge.simulator.renderers.kernel import kernel

def hand_on(values, k):
    return values[k] if k == 0 else hand_on_again(values, k)

@{decorator}
def hand_on_again(values, k):
    return values[k] * 2

step = {decorator}(hand_on)
"""


def compiled(folder: Path, decorator: str) -> str:
    """What numba makes of a step; from a file of its own, as it does not tell of cached code."""
    path = folder / f"{decorator}_steps.py"
    path.write_text(STEPS.format(decorator=decorator))
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module: Any = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.step(np.arange(3.0), 2) == 4
    (code,) = module.step.inspect_llvm().values()
    assert "define" in code
    return code


def test_kernels_count_no_references(tmp_path: Path) -> None:
    """Fails where numba drops its private option `_nrt`: see the docstring of `kernel`."""
    fast, counting = (compiled(tmp_path, decorator) for decorator in ("kernel", "njit"))
    assert COUNTS not in fast, "numba counts references again: the rasteriser is 1.7x slower"
    assert COUNTS in counting, "numba counts no references any more: drop `_nrt` of `kernel`"


def test_the_steps_of_the_rasteriser_are_kernels() -> None:
    for step in (draw_triangles, shade):
        assert step.targetoptions["error_model"] == "numpy"
        assert not step.targetoptions["_nrt"]
