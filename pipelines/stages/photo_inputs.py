"""What the options of `import_photos.py` name; nothing here needs Ray."""

from __future__ import annotations

import io

import pyarrow as pa

from bridge.common import storage
from bridge.dataset.photo_listing import Listing, list_photos, without_duplicates
from bridge.dataset.photo_table import read_photo_table
from pipelines.stages.photo_options import ImportPhotosConfig

LISTING_FILE = "photos.parquet"
"""In the folder of a dataset of photos: those that it was made of, their sizes and times."""


def read_listing(config: ImportPhotosConfig) -> tuple[Listing, list[str]]:
    """The photos that the options name, duplicates left out, and unused columns of their table.

    Raises:
        InputError: the folder or the table is missing, cannot be used or names no photo.
    """
    root = storage.absolute(config.photos)
    unused: list[str] = []
    if config.table is None:
        listing = list_photos(root, config.layout)
    else:
        listing, unused = read_photo_table(storage.absolute(config.table), root)
    return without_duplicates(root, listing), unused


def catalogue_hash(listing: Listing) -> str:
    """Changes when a photo is added, removed or changed, or what is said of one."""
    sink = io.BytesIO()
    with pa.ipc.new_stream(sink, listing.table.schema) as stream:
        stream.write_table(listing.table.combine_chunks())
    return storage.sha256(sink.getbuffer())


def notes(config: ImportPhotosConfig, listing: Listing, unused: list[str]) -> list[str]:
    """What to tell of a folder before its photos are imported."""
    told = []
    if config.table is None and config.layout == "auto":
        told.append(f"The folders are taken for --layout {listing.layout}.")
    if listing.passed_over:
        found = sorted(listing.passed_over.items())
        parts = ", ".join(f"{count:,} {reason}" for reason, count in found)
        told.append(f"{config.photos}: passed over: {parts}.")
    if unused:
        told.append(f"{config.table}: columns that say nothing here: {', '.join(unused)}.")
    return told
