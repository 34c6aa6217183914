"""The manifest of a DATASET: what it is, what it was made from, and which shards it has."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Annotated, Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.manifest_writer import MANIFEST, notes
from bridge.common.record import WholeNumber, read_record, to_json, uncollected
from bridge.dataset.schema import SCHEMA_VERSION
from bridge.dataset.shards import ShardRecord


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
    """A finished shard with what the manifest sums up over shards.

    `objects` and `trajectories` are of the labelled images; `by_blur_level` counts images of
    unknown level under "0".
    """

    record: ShardRecord
    objects: tuple[str, ...]
    trajectories: int
    by_blur_level: Mapping[str, int]
    rejections: tuple[Rejection, ...] = ()
    adjustments: tuple[Adjustment, ...] = ()

    @classmethod
    def of(
        cls,
        record: ShardRecord,
        table: pa.Table,
        rejections: Iterable[Rejection] = (),
        adjustments: Iterable[Adjustment] = (),
    ) -> ShardResult:
        """Summed up of the rows of a shard."""
        labelled = table.filter(pc.is_valid(table["object_id"]))
        pairs = labelled.group_by(["object_id", "trajectory"]).aggregate([])
        return cls(
            record,
            tuple(sorted(pc.unique(pairs["object_id"]).to_pylist())),
            len(pairs),
            Counter(map(str, table["blur_level"].fill_null(0).to_pylist())),
            tuple(rejections),
            tuple(adjustments),
        )


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

    def blank(self) -> Manifest:
        """This manifest without its shards."""
        return replace(self, shards={})

    def finished(self) -> Manifest:
        """This manifest, declared complete."""
        return replace(self, complete=True)

    @property
    def all_rejections(self) -> tuple[Rejection, ...]:
        """Every rejected input once, those of the shards included, in a stable order."""
        unique = {(r.reason, r.item): r for r in self.rejections}
        for path in sorted(self.shards):
            for rejection in self.shards[path].rejections:
                unique[rejection.reason, rejection.item] = rejection
        return tuple(unique.values())

    @property
    def all_adjustments(self) -> tuple[Adjustment, ...]:
        """Every adjusted input, those of the shards included, in a stable order."""
        shards = (self.shards[path].adjustments for path in sorted(self.shards))
        return tuple(chain(self.adjustments, *shards))

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
        return to_json(_file_of(self))

    def save(self, dataset: str, file: str = MANIFEST) -> None:
        """Write `manifest.json`, or another file, atomically, one line per shard.

        Python indents JSON ten times slower than it writes it, which counts at 100,000 shards.
        """
        with uncollected():
            value = self.to_json()
            lines = ",\n".join(json.dumps(s, allow_nan=False) for s in value.pop("shards"))
        head = json.dumps(value, indent=1, allow_nan=False).removesuffix("\n}")
        text = f'{head},\n "shards": [\n{lines}\n ]\n}}\n'
        storage.write_bytes(storage.join(dataset, file), text.encode())


_Level = Annotated[str, Field(pattern="^[0-9]+$")]


@dataclass(frozen=True)
class _Shard(ShardRecord):
    """A shard as it stands in the file."""

    objects: tuple[str, ...]
    trajectories: WholeNumber
    by_blur_level: dict[_Level, WholeNumber]
    rejected_items: tuple[Rejection, ...]
    adjusted_items: tuple[Adjustment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class _File:
    """`manifest.json`; what has a default is summed up from the rest or younger than the format."""

    schema_version: Literal[SCHEMA_VERSION]  # type: ignore[valid-type]
    kind: str
    complete: bool
    config: dict[str, Any]
    counts: Any = None
    rejected: Any = None
    rejected_items: tuple[Rejection, ...]
    adjusted: Any = None
    adjusted_items: tuple[Adjustment, ...] = ()
    shards: tuple[_Shard, ...]


def _file_of(manifest: Manifest) -> _File:
    return _File(
        schema_version=SCHEMA_VERSION,
        kind=manifest.kind,
        complete=manifest.complete,
        config=dict(manifest.config),
        counts=manifest.counts(),
        rejected=_count_reasons(manifest.all_rejections),
        rejected_items=manifest.rejections,
        adjusted=_count_reasons(manifest.all_adjustments),
        adjusted_items=manifest.adjustments,
        shards=tuple(_to_file(manifest.shards[path]) for path in sorted(manifest.shards)),
    )


def _to_file(result: ShardResult) -> _Shard:
    return _Shard(
        **vars(result.record),
        objects=result.objects,
        trajectories=result.trajectories,
        by_blur_level=dict(result.by_blur_level),
        rejected_items=result.rejections,
        adjusted_items=result.adjustments,
    )


def _from_file(shard: _Shard) -> ShardResult:
    record = ShardRecord(shard.path, shard.split, shard.rows, shard.bytes, shard.sha256)
    return ShardResult(
        record,
        shard.objects,
        shard.trajectories,
        shard.by_blur_level,
        shard.rejected_items,
        shard.adjusted_items,
    )


def _count_reasons(remarks: Iterable[Remark]) -> dict[str, int]:
    return dict(sorted(Counter(remark.reason for remark in remarks).items()))


def require_manifest(dataset: str) -> None:
    """InputError where there is no manifest."""
    if not storage.exists(storage.join(dataset, MANIFEST)):
        raise InputError(f"{dataset} is not a dataset: it has no {MANIFEST}.")


def load_manifest(dataset: str) -> Manifest:
    """Read a dataset's manifest, complete or not.

    Raises:
        InputError: there is none, or it is damaged or of another version of the format; the
            message names the field.
    """
    require_manifest(dataset)
    with uncollected():
        manifest = _read(storage.join(dataset, MANIFEST))
        if manifest.complete:
            return manifest
        noted = [note for note in map(_read, notes(dataset)) if note.blank() == manifest.blank()]
    return manifest.with_shards(r for note in noted for r in note.shards.values())


def _read(path: str) -> Manifest:
    file = read_record(_File, path)
    return Manifest(
        kind=file.kind,
        config=file.config,
        shards={shard.path: _from_file(shard) for shard in file.shards},
        rejections=file.rejected_items,
        adjustments=file.adjusted_items,
        complete=file.complete,
    )


def open_manifest(dataset: str) -> Manifest:
    """Read the manifest of a finished dataset; InputError where it is still being made."""
    manifest = load_manifest(dataset)
    if not manifest.complete:
        raise InputError(
            f"{dataset} is not complete: run the command that makes it again to finish it."
        )
    return manifest
