"""The commands that are not in the chain, each with all its folders on a store."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bridge.common import storage
from bridge.dataset.manifest import open_manifest
from tests.factories import make_dataset
from tests.kills import ROOT
from tests.romb import (
    draw,
    write_distractor_statistics,
    write_statistics,
    write_tree,
    zipped,
)
from tests.s3.server import Proxy
from tests.s3.test_inputs import upload

GRID = {
    "title": "On a store",
    "passes": 32,
    "seeds": [0],
    "reference": "BRIDGE",
    "configurations": [
        {
            "name": "BRIDGE",
            "preset": "paper",
            "weights": "none",
            "options": {
                "backbone": "test_resnet",
                "image_size": [24, 32],
                "cls_dim": 16,
                "aux_dim": 8,
                "aux_hidden": 8,
                "descriptor_dim": 16,
                "batch_size": 8,
                "num_negatives": 2,
            },
        },
        {
            "name": "colours",
            "method": "histogram",
            "weights": "none",
            "options": {"image_size": [24, 32], "bins": 4},
        },
    ],
}


@pytest.mark.soak
@pytest.mark.timeout(1200)
def test_study_tune_and_the_published_data(s3_proxy: Proxy, s3_folder: str, tmp_path: Path) -> None:
    make_dataset(tmp_path / "data", {"train": 4, "validation": 3, "test": 4}, trajectories=4)
    (tmp_path / "grid.yaml").write_text(yaml.safe_dump(GRID))
    pictures, distractors = draw(7, 3), draw(1, 2, first=100)
    write_tree(tmp_path / "romb" / "synthetic_data", pictures.values())
    write_statistics(tmp_path / "romb" / "synthetic_data", pictures.values())
    tree = tmp_path / "synthetic_data_distractors"
    write_tree(tree, distractors.values(), alpha=False)
    write_distractor_statistics(tree, list(distractors.values()))
    zipped(tree, tmp_path / "romb" / "distractors.zip")
    for name in ("data", "romb"):
        upload(tmp_path / name, f"{s3_folder}/{name}")
    storage.write_bytes(f"{s3_folder}/grid.yaml", (tmp_path / "grid.yaml").read_bytes())
    s3_proxy.share = 0.02
    subprocess.run(
        [sys.executable, "-m", "tests.s3.chain", s3_folder, "rows", "romb", "study", "tune"],
        cwd=ROOT,
        env=os.environ | {"BRIDGE_CACHE": str(tmp_path / "cache")},
        check=True,
    )
    s3_proxy.share = 0.0
    counts = open_manifest(f"{s3_folder}/imported-romb").counts()
    images = len(pictures) + len(distractors)
    assert sum(split["rows"] for split in counts.values()) == images
    report = json.loads(storage.read_bytes(f"{s3_folder}/study/report/study.json"))
    assert "colours" in json.dumps(report)
    best = storage.read_json(f"{s3_folder}/tune/best.json")
    assert best["config"]["contrastive_range"] in (1, 5)
    assert len(storage.list_folders(f"{s3_folder}/tune/trials")) == 2
    assert not any(entry.is_file for entry in storage.entries(f"{s3_folder}/tune/tune", deep=True))
