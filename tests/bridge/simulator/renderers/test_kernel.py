from __future__ import annotations

import numpy as np
from numba import njit

from bridge.simulator.renderers.kernel import kernel
from bridge.simulator.renderers.raster_kernels import draw_triangles
from bridge.simulator.renderers.raster_shading import shade

COUNTS = "NRT_incref"


def hand_on(values: np.ndarray, rest: int) -> float:
    return values[0] if rest == 0 else hand_on_again(values, rest - 1)


@kernel
def hand_on_again(values: np.ndarray, rest: int) -> float:
    return values[rest]


def code(function: object) -> str:
    """What numba made of a compiled function."""
    return "".join(function.inspect_llvm().values())  # type: ignore[attr-defined]


def test_kernels_count_no_references() -> None:
    """Fails where numba drops its private option `_nrt`: see the docstring of `kernel`."""
    values = np.arange(3.0)
    fast, counting = kernel(hand_on), njit(hand_on)
    assert fast(values, 2) == counting(values, 2) == 1
    assert COUNTS not in code(fast), "numba counts references again: the rasteriser is 1.7x slower"
    assert COUNTS in code(counting), "numba counts no references any more: drop `_nrt` of `kernel`"


def test_the_steps_of_the_rasteriser_are_kernels() -> None:
    for step in (draw_triangles, shade):
        assert step.targetoptions["error_model"] == "numpy"
        assert not step.targetoptions["_nrt"]
