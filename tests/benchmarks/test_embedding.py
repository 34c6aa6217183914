from __future__ import annotations

import pytest

from benchmarks.embedding import Config, run


@pytest.mark.usefixtures("ray_cluster")
def test_both_rates_are_of_images_that_were_embedded() -> None:
    found = run(Config(stored_size=(60, 80), part=64, parts=2, seconds=0.5))
    assert found["bare"] > 0 and found["decoding"] > 0 and found["actors"] > 0
    assert found["ratio"] == pytest.approx(found["actors"] / found["bare"])
