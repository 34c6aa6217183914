"""The manifest of an index: its file, and what is wrong with a damaged one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.common.errors import InputError
from bridge.dataset.roles import DATABASE, QUERY
from bridge.index.folder import (
    IndexManifest,
    PartRecord,
    load_index_manifest,
    open_index_manifest,
)

PARTS = [
    PartRecord("descriptors/a.parquet", QUERY, 3, "12", "34", {"a/b/000/1": "torn"}),
    PartRecord("descriptors/b.parquet", DATABASE, 5, "56", "78"),
]


@pytest.fixture
def manifest() -> IndexManifest:
    made = IndexManifest("runs/model", "ab", 128, {"data": "cd"}, seed=3, complete=True)
    return made.with_parts(PARTS[:1]).with_parts(PARTS[1:])


def test_a_manifest_comes_back_from_its_file(manifest: IndexManifest, tmp_path: Path) -> None:
    manifest.save(str(tmp_path))
    assert open_index_manifest(str(tmp_path)) == manifest
    value = json.loads((tmp_path / "manifest.json").read_text())
    assert list(value)[0] == "index_version" and value["rejected"] == 1
    assert value["parts"][1] == vars(PARTS[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index_version": 1}, "not an index manifest of version 2"),
        ({"dimension": "128"}, "dimension: must be a valid integer, not '128'"),
        ({"dimension": 0}, "dimension: must be at least 1, not 0"),
        ({"precision": "float8"}, "precision: must be 'float32', 'bfloat16' or ''"),
        ({"model": None}, "model: must be a valid string, not None"),
        ({"parts": [{"path": "a"}]}, "parts.0.role: is missing"),
        ({"parts": [vars(PARTS[0]) | {"rows": -1}]}, "parts.0.rows: must be at least 0, not -1"),
    ],
)
def test_what_is_wrong_with_a_manifest_is_named(
    manifest: IndexManifest, tmp_path: Path, change: dict[str, object], message: str
) -> None:
    manifest.save(str(tmp_path))
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=f"manifest.json.* {message}"):
        load_index_manifest(str(tmp_path))
