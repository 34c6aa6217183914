"""Tests of benchmarks/indexes.py: its data, and a small run on random and on given descriptors."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.descriptors import like_descriptors
from benchmarks.indexes import Config, random_index, run


def test_random_rows_look_like_descriptors() -> None:
    rows = like_descriptors(3000, 128, seed=0)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_array_equal(rows, like_descriptors(3000, 128, seed=0))
    objects = np.arange(3000) // 100
    alike = like_descriptors(3000, 128, 0, objects) @ like_descriptors(3000, 128, 0, objects)[0]
    assert alike[:100].mean() > 0.7 and abs(alike[100:].mean()) < 0.3
    shares = np.sort(np.linalg.svd(rows, compute_uv=False) ** 2)[::-1] / 3000
    # Some 20 dimensions hold most of it, and images of an object are alike.
    assert 0.75 < shares[:20].sum() < 0.95
    nearest = np.sort(rows[:100] @ rows.T, axis=1)[:, ::-1]
    assert nearest[:, 1].mean() > 0.8 and nearest[:, 1000].mean() < 0.5


@pytest.mark.usefixtures("ray_cluster")
def test_a_run_writes_the_table_and_leaves_a_given_index_alone(tmp_path: Path) -> None:
    config = Config(rows=1500, queries=50, dimension=8, types=("exact", "ivfpq", "hnsw"))
    records = run(replace(config, out=tmp_path / "table.md"))
    assert [record["type"] for record in records] == ["exact", "ivfpq", "hnsw"]
    assert all(record["rows"] == 1500 for record in records)
    assert records[1]["recall_at_100"] > 0.8
    lines = (tmp_path / "table.md").read_text().splitlines()
    assert len(lines) == 5 and lines[0].startswith("| type")
    assert len(json.loads((tmp_path / "table.json").read_text())["records"]) == 3

    source = str(tmp_path / "index")
    replace(random_index(source, config), complete=True).save(source)
    before = sorted(tmp_path.rglob("*"))
    (given,) = run(replace(config, index=source, types=("exact",)))
    assert given["sha256"] == records[0]["sha256"]
    assert sorted(tmp_path.rglob("*")) == before
