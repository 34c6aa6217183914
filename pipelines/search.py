"""Find the database images most like some pictures.

python pipelines/search.py --images a.jpg b.jpg --top 20
python pipelines/search.py --index indexes/mine --images a.jpg --json
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import bridge
from bridge import cli, storage
from bridge.checkpoint import model_sha256
from bridge.embedding import embed_encoded
from bridge.errors import InputError
from bridge.index import load_index, search
from bridge.index_folder import (
    DATABASE,
    DISTRACTOR,
    FAISS_FILE,
    IndexManifest,
    open_index_manifest,
    read_descriptors,
)


@dataclass(frozen=True)
class SearchConfig:
    """What to look for, and where."""

    images: tuple[Path, ...]
    """Pictures to search with."""
    index: str = "indexes/bridge"
    """The index to search."""
    top: int = 20
    """Results per picture."""
    model: str | None = None
    """The model that built the index, where it is no longer where it was then."""
    json: bool = False
    """Print JSON instead of tables."""


def run(config: SearchConfig) -> list[dict[str, Any]]:
    """Search and print; returns one entry per picture, in their order."""
    if config.top < 1:
        raise InputError(f"--top must be at least 1, not {config.top}.")
    encoded = [_read(path) for path in config.images]
    index = storage.absolute(config.index)
    manifest = open_index_manifest(index)
    model = bridge.load(_model_of(manifest, config.model))
    embedded = embed_encoded(model, encoded)
    if embedded.unreadable:
        place, why = next(iter(embedded.unreadable.items()))
        raise InputError(f"{config.images[place]} is not a readable picture: {why}.")
    rows = read_descriptors(index, manifest).only(DATABASE, DISTRACTOR)
    faiss_index = load_index(storage.join(index, FAISS_FILE))
    similarities, places = search(faiss_index, embedded.descriptors, config.top)
    found = []
    for path, scores, hits in zip(config.images, similarities, places, strict=True):
        results = [
            _result(rank, rows, hit, score)
            for rank, (hit, score) in enumerate(zip(hits, scores, strict=True), start=1)
        ]
        found.append({"image": str(path), "results": results})
    print(json.dumps(found, indent=1) if config.json else "\n\n".join(map(_table, found)))
    return found


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error


def _model_of(manifest: IndexManifest, override: str | None) -> str:
    """The model that the index was built with; InputError where it is not that one any more."""
    model = storage.absolute(override or manifest.model)
    if not storage.exists(model):
        raise InputError(f"{model}, which built the index, is gone: name it with --model.")
    if model_sha256(model) != manifest.model_hash:
        raise InputError(f"{model} is not the model that built the index: build the index again.")
    return model


def _result(rank: int, rows: Any, row: int, similarity: np.floating) -> dict[str, Any]:
    return {
        "rank": rank,
        "similarity": round(float(similarity), 4),
        "object_id": str(rows.object_ids[row]),
        "blur_level": int(rows.blur_levels[row]),
        "image_id": rows.image_ids[int(row)].as_py(),
    }


def _table(entry: dict[str, Any]) -> str:
    lines = [entry["image"], f"{'rank':>4} {'similarity':>10} {'BL':>3}  image"]
    for result in entry["results"]:
        lines.append(
            f"{result['rank']:>4} {result['similarity']:>10.4f} {result['blur_level']:>3}  "
            f"{result['image_id']}"
        )
    return "\n".join(lines)


if __name__ == "__main__":
    cli.main(run, SearchConfig, description=__doc__)
