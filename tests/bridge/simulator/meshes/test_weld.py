from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.meshes.weld import weld


@given(st.lists(st.tuples(*[st.sampled_from([-1.5, -0.0, 0.0, 1e-20, 2.0])] * 3), min_size=1))
def test_equal_rows_and_only_those_share_a_place(rows: list[tuple[float, float, float]]) -> None:
    vertices = np.array(rows)
    place, first = weld(vertices)
    assert (vertices[first][place] == vertices).all()
    # Rows whose sums are equal but not their values may hide equal rows from each other; here
    # that is 1e-20, which vanishes beside other numbers.
    if not (vertices == 1e-20).any():
        assert len(first) == len({tuple(row) for row in vertices.tolist()})
        assert len({tuple(vertices[i]) for i in first}) == len(first)
