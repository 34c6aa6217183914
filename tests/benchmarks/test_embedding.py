from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.embedding import PRESETS, Config, run
from bridge.model.config import BridgeConfig
from tests.factories import make_dataset


@pytest.mark.usefixtures("ray_cluster")
def test_both_rates_are_of_images_that_were_embedded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make_dataset(tmp_path, {"train": 2}, trajectories=3)
    tiny = BridgeConfig("resnet18", (24, 32), cls_dim=16, aux_dim=8, aux_hidden=8)
    quick = PRESETS["bridge"]["quick"]
    monkeypatch.setitem(PRESETS["bridge"], "quick", replace(quick, model=tiny))
    found = run(Config(data=str(tmp_path), part=64, parts=2, seconds=0.1, workers=1))
    assert found["bare"] > 0 and found["decoding"] > 0 and found["actors"] > 0
    assert found["ratio"] == pytest.approx(found["actors"] / found["bare"])
