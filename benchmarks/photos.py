"""Importing photos on one core: what listing them and making their shards costs.

    python benchmarks/photos.py --photos PHOTOS

CPU seconds of this process, with the files in the system's memory: the first of two passes, which
is not counted, brings them there.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.report import Options, Table, machine, one_core, save
from bridge.common import cli
from bridge.dataset.photo_listing import list_photos, without_duplicates
from bridge.dataset.photos import cut_shards, make_photo_shard

TABLE = Table(
    "photos | kB each | listing, s | shards, s | photos/s",
    "{photos:,} | {kb:.0f} | {listing:.2f} | {shards:.2f} | {rate:,.0f}",
)


@dataclass(frozen=True, kw_only=True)
class Config(Options):
    """What is imported."""

    photos: Path
    """Folder of the photos."""


@dataclass(frozen=True)
class Import:
    """What one import took, in CPU seconds."""

    photos: int
    kb: float
    listing: float
    shards: float

    @property
    def rate(self) -> float:
        """Photos per second that are listed and made."""
        return self.photos / (self.listing + self.shards)


def measure(root: str) -> Import:
    """Import a folder into one that is removed again."""
    began = time.process_time()
    listing = without_duplicates(root, list_photos(root, "flat"))
    listed = time.process_time()
    with tempfile.TemporaryDirectory() as out:
        made = [make_photo_shard(shard, root, out).record for shard in cut_shards(listing.table)]
    ended = time.process_time()
    size = sum(record.bytes for record in made)
    rows = sum(record.rows for record in made)
    return Import(rows, size / max(1, rows) / 1e3, listed - began, ended - listed)


def run(config: Config) -> Import:
    """Measure and report."""
    root = os.path.abspath(config.photos)
    with one_core():
        measure(root)
        found = measure(root)
    record = asdict(found) | {"rate": found.rate}
    save(config.out, [f"Import of photos, {machine()}", TABLE.text([record])], {"import": record})
    return found


def main() -> None:
    """The command."""
    cli.main(run, Config, description=__doc__)


if __name__ == "__main__":
    main()
