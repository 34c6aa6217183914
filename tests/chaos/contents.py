"""What a run has done so far, and what it must leave: of every subject of `python -m tests.chaos`.

The first are numbers that grow from 0 while a command works; the second are texts and hashes by
name, without the times and paths that differ between two runs that do the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bridge.common import status
from bridge.common.storage import sha256
from bridge.training.run_log import METRICS_FILE, read_metrics

TIMINGS = {"seconds", "images_per_second", "data_wait"}
"""What differs between two runs that train the same."""
_COSTS = {"seconds", "cores"}


def hashes(folder: Path, *patterns: str) -> dict[str, str]:
    """SHA-256 of some files by their paths in the folder."""
    found = {path for pattern in patterns for path in folder.glob(pattern) if path.is_file()}
    return {str(path.relative_to(folder)): sha256(path.read_bytes()) for path in sorted(found)}


def _completed(path: Path) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(path.read_text())
    assert record["complete"], f"{path} is not complete"
    return record


def shards(out: Path) -> int:
    """Shards that were made so far."""
    return len(list((out / "data").glob("*.parquet")))


def dataset(out: Path) -> dict[str, str]:
    """Hash of every file that the manifest names, which must be all there are but leftovers."""
    manifest = _completed(out / "manifest.json")
    found = {name: sha for name, sha in hashes(out, "data/*").items() if ".tmp-" not in name}
    assert found == {s["path"]: s["sha256"] for s in manifest["shards"]}, (
        "not those of the manifest"
    )
    counts = json.dumps([manifest["counts"], manifest["rejected"]])
    return found | hashes(out, "selections.parquet", "README.md") | {"counts": counts}


def steps(out: Path) -> int:
    """The last step that was logged."""
    lines = read_metrics(str(out))
    return lines[-1]["step"] if lines else 0


def training(out: Path) -> dict[str, str]:
    """The model's files, every line of metrics and the record, all without times and paths."""
    record = _completed(out / "run.json")
    result = {k: v for k, v in record["result"].items() if k not in TIMINGS | {"model"}}
    kept = {"run.json": json.dumps([record["config"], result])}
    return hashes(out, "model/*") | _logged(out) | kept


def _logged(out: Path) -> dict[str, str]:
    lines = [
        {name: value for name, value in line.items() if name not in TIMINGS}
        for line in read_metrics(str(out))
    ]
    logged = {f"step {line['step']}": json.dumps(line) for line in lines}
    assert len(logged) == len(lines), "a step was logged twice"
    return logged


def parts(out: Path) -> int:
    """Descriptor files that were written so far."""
    return len(list((out / "descriptors").glob("*.parquet")))


def index(out: Path) -> dict[str, str]:
    """Hash of the search index and of every part, which must be those that the manifest names."""
    manifest = _completed(out / "manifest.json")
    found = hashes(out, "descriptors/*.parquet")
    assert found == {p["path"]: p["sha256"] for p in manifest["parts"]}, "not those of the manifest"
    rows = json.dumps([manifest["counts"], [part["path"] for part in manifest["parts"]]])
    return found | hashes(out, "index.faiss") | {"rows": rows}


def report(out: Path) -> dict[str, str]:
    """Hash of every file of a report."""
    return {name: sha for name, sha in hashes(out, "**/*").items() if name != status.FILE}


def trained_steps(out: Path) -> int:
    """Steps that all trainings in a folder have logged, and parts of all indexes in it."""
    return sum(map(steps, _trainings(out))) + len(list(out.rglob("descriptors/*.parquet")))


def _trainings(out: Path) -> Iterator[Path]:
    yield from sorted(log.parent for log in out.rglob(METRICS_FILE))


def search(out: Path) -> dict[str, str]:
    """All trials with their metrics and models, and what came of them."""
    kept = {"best": json.dumps(json.loads((out / "best.json").read_text())["config"])}
    for trial in _trainings(out):
        record = (trial / "trial.json").read_text()
        own = training(trial) | {"trial.json": record}
        kept |= {f"{trial.name}/{name}": value for name, value in own.items()}
    assert kept.keys() > {"best"} and (out / "report.html").exists()
    return kept


def study(out: Path) -> dict[str, str]:
    """All runs with their metrics, models, indexes and scores."""
    document = json.loads((out / "report" / "study.json").read_text())
    kept = {"missing": json.dumps(document["missing"])}
    for folder in sorted((out / "runs").iterdir()):
        measured = json.loads((folder / "measured.json").read_text())
        own = {"measured": json.dumps({k: v for k, v in measured.items() if k not in _COSTS})}
        own |= training(folder) if (folder / "run.json").exists() else {}
        own |= {f"index/{name}": value for name, value in index(folder / "index").items()}
        kept |= {f"{folder.name}/{name}": value for name, value in own.items()}
    return kept
