"""Tests of pipelines/stages/evaluation.py."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bridge.index.config import SuperGlobal
from bridge.index.folder import open_index_manifest, read_descriptors
from pipelines import evaluate
from pipelines.evaluate import EvaluateConfig
from pipelines.stages import evaluation


def test_reranked_searches_have_rows_of_their_own(
    searchable: Path, ray_cluster: None, tmp_path: Path
) -> None:
    index = searchable / "index"
    config = EvaluateConfig(
        index=str(index),
        out=str(tmp_path / "report"),
        rerank=("none", "aqe", "superglobal", "aqe"),
        superglobal=SuperGlobal(candidates=30, nearest=4),
    )
    results = evaluate.run(config)
    names = [f"index + {name} (uses the database)" for name in ("alphaQE", "SuperGlobal")]
    assert list(results) == ["index", *names]
    document = json.loads((tmp_path / "report" / "metrics.json").read_text())
    # What is reported on is the plain search.
    assert document["protocols"]["mixed"]["map"] == pytest.approx(
        results["index"]["mixed"].map["retrieved"]
    )
    assert list(document["compared"]) == names
    page = (tmp_path / "report" / "report.html").read_text()
    rows = read_descriptors(str(index), open_index_manifest(str(index)))
    for name, rerank in zip(names, config.reranks, strict=True):
        assert results[name].keys() == results["index"].keys()
        assert results[name]["mixed"].map != results["index"]["mixed"].map
        assert name in page
        shared = evaluation.evaluate(rows, rerank=rerank, blocks=3)
        for protocol, result in results[name].items():
            assert shared[protocol].map == pytest.approx(result.map, abs=1e-9)
            assert document["compared"][name]["protocols"][protocol]["map_by_query_blur_level"]
