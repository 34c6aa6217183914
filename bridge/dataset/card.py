"""The card of a DATASET: `README.md`, by which dataset viewers and libraries open its pictures.

datasets.load_dataset(FOLDER)      # every split with its name, images as pictures
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import yaml

from bridge.common import storage
from bridge.dataset.manifest import Manifest
from bridge.dataset.schema import IMAGE
from bridge.dataset.shards import open_shard

CARD = "README.md"

_MEANING = {
    "image": "the encoded picture and its name",
    "image_id": "unique and stable name",
    "object_id": "what it shows; null: unlabelled",
    "category": "kind of object",
    "trajectory": "motion of the object, numbered per object",
    "window": "exposure in sub-trajectories: 0 is sharp, 1 to 10; -1: unknown",
    "blur_severity": "BS in 0..1 (Eq. 5 of the paper); null: unknown",
    "blur_level": "BL in 1..10 (Eq. 6), 1 is sharpest; null: unknown",
    "mean_opacity": "mean opacity of the object over its silhouette; null: unknown",
    "bbox": "box of the object: cx, cy, w, h in units of the image size; null: unknown",
    "background_id": "what lies behind the object",
    "estimated_blur_level": "BL that a network estimated where none is given",
}
_UNKNOWN = "unknown"
"""What is said of a licence that nobody has told."""


def write_card(dataset: str, manifest: Manifest) -> None:
    """Write the card of a dataset that has all of its shards."""
    storage.write_bytes(storage.join(dataset, CARD), card(dataset, manifest).encode())


def card(dataset: str, manifest: Manifest) -> str:
    """The card: what machines read of it, and a page for people."""
    head = yaml.safe_dump(_metadata(dataset, manifest), sort_keys=False, allow_unicode=True)
    return f"---\n{head}---\n{chr(10).join(_page(manifest))}\n"


def _metadata(dataset: str, manifest: Manifest) -> dict[str, Any]:
    counts = manifest.counts()
    sizes = {split: 0 for split in counts}
    for result in manifest.shards.values():
        sizes[result.record.split] += result.record.bytes
    return {
        "license": _UNKNOWN,
        "task_categories": ["image-feature-extraction"],
        "tags": ["image-retrieval", "motion-blur"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [
                    {"split": split, "path": f"data/{split}-*.parquet"} for split in counts
                ],
            }
        ],
        "dataset_info": {
            "features": [_feature(field) for field in _schema(dataset, manifest)],
            "splits": [
                {"name": split, "num_bytes": sizes[split], "num_examples": counts[split]["rows"]}
                for split in counts
            ],
            "download_size": sum(sizes.values()),
            "dataset_size": sum(sizes.values()),
        },
    }


def _schema(dataset: str, manifest: Manifest) -> pa.Schema:
    """The columns of the first shards of the splits, of the newest where they differ in age."""
    widest = pa.schema([])
    firsts = {manifest.shards[path].record.split: path for path in sorted(manifest.shards)[::-1]}
    for path in firsts.values():
        with open_shard(dataset, path) as shard:
            found = shard.schema_arrow
        if len(found) > len(widest):
            widest = found
    return widest


def _feature(field: pa.Field) -> dict[str, Any]:
    if field.type == IMAGE:
        return {"name": field.name, "dtype": "image"}
    if pa.types.is_fixed_size_list(field.type):
        size = field.type.list_size
        return {"name": field.name, "list": _dtype(field.type.value_type), "length": size}
    return {"name": field.name, "dtype": _dtype(field.type)}


def _dtype(kind: pa.DataType) -> str:
    """What `datasets` calls a type."""
    return {"float": "float32"}.get(str(kind), str(kind))


def _page(manifest: Manifest) -> Iterator[str]:
    yield f"# {manifest.kind}"
    yield ""
    yield "Images for retrieval robust to motion blur, as `bridge-retrieval` makes and reads them."
    yield ""
    yield "| split | images | objects | trajectories | by blur level |"
    yield "|---|---|---|---|---|"
    for split, counts in manifest.counts().items():
        levels = ", ".join(
            f"{'unknown' if level == '0' else level}: {count:,}"
            for level, count in counts["by_blur_level"].items()
        )
        numbers = (counts[name] for name in ("rows", "objects", "trajectories"))
        yield f"| {split} | {' | '.join(f'{number:,}' for number in numbers)} | {levels} |"
    yield ""
    yield '    datasets.load_dataset(FOLDER)["SPLIT"][0]["image"]   # a picture'
    yield ""
    yield "## Columns"
    yield from (f"- `{name}`: {meaning}" for name, meaning in _MEANING.items())
    yield ""
    yield "## How it was made"
    yield "The licence is that of the meshes and photos that went into it."
    yield ""
    yield "```json"
    yield json.dumps(dict(manifest.config), indent=1, ensure_ascii=False)
    yield "```"
