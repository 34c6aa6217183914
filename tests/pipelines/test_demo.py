from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from pipelines import demo
from pipelines.demo import DemoConfig


@pytest.mark.long
def test_the_whole_chain_at_its_smallest(
    tmp_path: Path, ray_cluster: None, capsys: pytest.CaptureFixture[str]
) -> None:
    config = DemoConfig(
        out=str(tmp_path / "demo"),
        objects_per_category=7,
        trajectories=2,
        distractors_per_category=1,
        epochs=1,
        image_size=(60, 80),
        num_cpus=2,
    )
    demo.run(config)
    printed = capsys.readouterr().out
    assert "trained" in printed and "untrained" in printed and "report.html" in printed
    document = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text())
    assert document["method"] == "trained" and list(document["compared"]) == ["untrained"]
    for protocol in ("mixed", "mixed_with_distractors"):
        assert 0 < document["protocols"][protocol]["map"] <= 1
    page = (tmp_path / "demo" / "report" / "report.html").read_text()
    assert page.count("data:image/jpeg;base64,") > 50
    # Again: every stage says that it is complete, and the numbers stay.
    demo.run(replace(config))
    assert capsys.readouterr().out.count("is complete") == 5
    again = json.loads((tmp_path / "demo" / "report" / "metrics.json").read_text())
    assert again["protocols"] == document["protocols"]
