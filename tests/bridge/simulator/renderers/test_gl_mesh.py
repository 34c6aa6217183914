from __future__ import annotations

import numpy as np
import psutil
import pytest

from bridge.common.errors import InputError
from bridge.simulator.renderers.gl import GLCanvas
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.renderers.protocol import Subframe
from tests.bridge.simulator.scenes import square


def test_memory_stays_flat_over_many_meshes() -> None:
    try:
        canvas = GLCanvas((24, 32))
    except InputError as error:
        pytest.skip(str(error))
    subframe = Subframe(np.eye(3), np.array([0.0, 0, -6]))
    out = np.zeros((24, 32, 4), np.float32)
    texture = np.zeros((1024, 512, 3), np.uint8)
    memory = []
    for number in range(90):
        texture[:] = number
        canvas.accumulate(square(texture), [subframe], Lighting(), False, out)
        memory.append(psutil.Process().memory_info().rss)
    # One texture takes 2.8 MB on the device.
    assert memory[-1] - memory[29] < 40e6
