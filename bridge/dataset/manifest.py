"""The manifest of a DATASET: what it is, what it was made from, and which shards it has."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.dataset.schema import SCHEMA_VERSION
from bridge.dataset.shards import ShardRecord

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Remark:
    """What happened to one input."""

    reason: str
    """A short stable name, e.g. `no_texture`; remarks are counted by it."""
    item: str
    detail: str = ""


@dataclass(frozen=True)
class Rejection(Remark):
    """One input that was left out, and why."""


@dataclass(frozen=True)
class Adjustment(Remark):
    """One input that was changed to make it usable, and how."""


@dataclass(frozen=True)
class ShardResult:
    """A finished shard with what the manifest sums up over shards."""

    record: ShardRecord
    objects: tuple[str, ...]
    trajectories: int
    by_blur_level: Mapping[str, int]
    rejections: tuple[Rejection, ...] = ()


@dataclass(frozen=True)
class Manifest:
    """`manifest.json` of a dataset. Immutable: adding a shard gives a new one."""

    kind: str
    config: Mapping[str, Any]
    shards: Mapping[str, ShardResult] = field(default_factory=dict)
    rejections: tuple[Rejection, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()
    complete: bool = False

    def with_shards(self, results: Iterable[ShardResult]) -> Manifest:
        """This manifest and some more shards; a shard named twice counts once.

        Copies the table of shards, so many results are best added together.
        """
        return replace(self, shards={**self.shards, **{r.record.path: r for r in results}})

    def finished(self) -> Manifest:
        """This manifest, declared complete."""
        return replace(self, complete=True)

    @property
    def all_rejections(self) -> tuple[Rejection, ...]:
        """Every rejected input once, those of the shards included, in a stable order."""
        unique = {(r.reason, r.item): r for r in self.rejections}
        for path in sorted(self.shards):
            unique |= {(r.reason, r.item): r for r in self.shards[path].rejections}
        return tuple(unique.values())

    def counts(self) -> dict[str, dict[str, Any]]:
        """Rows, objects, trajectories and rows by blur level, per split."""
        by_split: dict[str, list[ShardResult]] = defaultdict(list)
        for result in self.shards.values():
            by_split[result.record.split].append(result)
        totals: dict[str, dict[str, Any]] = {}
        for split, results in sorted(by_split.items()):
            levels: Counter[str] = Counter()
            for result in results:
                levels.update(result.by_blur_level)
            totals[split] = {
                "rows": sum(r.record.rows for r in results),
                "objects": len({name for r in results for name in r.objects}),
                "trajectories": sum(r.trajectories for r in results),
                "by_blur_level": dict(sorted(levels.items(), key=lambda item: int(item[0]))),
            }
        return totals

    @property
    def objects(self) -> frozenset[str]:
        """Identifiers of every object in the dataset."""
        return frozenset(name for result in self.shards.values() for name in result.objects)

    @property
    def content_hash(self) -> str:
        """Identity of the rows: equal for equal data, wherever the dataset lies."""
        return storage.sha256_json(
            {path: result.record.sha256 for path, result in self.shards.items()}
        )

    def to_json(self) -> dict[str, Any]:
        """The manifest as it is written."""
        return {
            "schema_version": SCHEMA_VERSION,
            "kind": self.kind,
            "complete": self.complete,
            "config": dict(self.config),
            "counts": self.counts(),
            "rejected": _count_reasons(self.all_rejections),
            "rejected_items": [vars(r) for r in self.rejections],
            "adjusted": _count_reasons(self.adjustments),
            "adjusted_items": [vars(a) for a in self.adjustments],
            "shards": [_shard_to_json(self.shards[path]) for path in sorted(self.shards)],
        }

    def save(self, dataset: str) -> None:
        """Write `manifest.json` atomically, one line per shard.

        Python indents JSON ten times slower than it writes it, which counts at 100,000 shards.
        """
        value = self.to_json()
        lines = ",\n".join(json.dumps(s, allow_nan=False) for s in value.pop("shards"))
        head = json.dumps(value, indent=1, allow_nan=False).removesuffix("\n}")
        text = f'{head},\n "shards": [\n{lines}\n ]\n}}\n'
        storage.write_bytes(storage.join(dataset, MANIFEST), text.encode())


def _count_reasons(remarks: Iterable[Remark]) -> dict[str, int]:
    return dict(sorted(Counter(remark.reason for remark in remarks).items()))


def _shard_to_json(result: ShardResult) -> dict[str, Any]:
    return result.record.to_json() | {
        "objects": list(result.objects),
        "trajectories": result.trajectories,
        "by_blur_level": dict(result.by_blur_level),
        "rejected_items": [vars(rejection) for rejection in result.rejections],
    }


def _shard_from_json(value: Mapping[str, Any]) -> ShardResult:
    return ShardResult(
        record=ShardRecord(**{k: value[k] for k in ("path", "split", "rows", "bytes", "sha256")}),
        objects=tuple(value["objects"]),
        trajectories=value["trajectories"],
        by_blur_level=value["by_blur_level"],
        rejections=tuple(Rejection(**item) for item in value["rejected_items"]),
    )


def load_manifest(dataset: str) -> Manifest:
    """Read a dataset's manifest, complete or not.

    Raises InputError where there is none, or one of another version of the format.
    """
    path = storage.join(dataset, MANIFEST)
    if not storage.exists(path):
        raise InputError(f"{dataset} is not a dataset: it has no {MANIFEST}.")
    value = storage.read_json(path)
    if not isinstance(value, dict) or value.get("schema_version") != SCHEMA_VERSION:
        raise InputError(f"{path} is not a dataset manifest of version {SCHEMA_VERSION}.")
    try:
        return Manifest(
            kind=value["kind"],
            config=value["config"],
            shards={shard["path"]: _shard_from_json(shard) for shard in value["shards"]},
            rejections=tuple(Rejection(**item) for item in value["rejected_items"]),
            adjustments=tuple(Adjustment(**item) for item in value.get("adjusted_items", ())),
            complete=value["complete"],
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged: {error!r}.") from error


def open_manifest(dataset: str) -> Manifest:
    """Read the manifest of a finished dataset; InputError where it is still being made."""
    manifest = load_manifest(dataset)
    if not manifest.complete:
        raise InputError(
            f"{dataset} is not complete: run the command that makes it again to finish it."
        )
    return manifest
