"""Make a DATASET of a folder of photos: any names, any formats, labelled or not.

    python pipelines/import_photos.py --photos PHOTOS
    python pipelines/import_photos.py --photos PHOTOS --layout objects --queries 0.2
    python pipelines/import_photos.py --photos PHOTOS --table labels.csv --out data/mine
    python pipelines/import_photos.py --photos PHOTOS --model runs/bridge/model

Photos of known objects lie as <object>/*.jpg or <category>/<object>/*.jpg, or are named in a CSV or
Parquet table; others are unlabelled, and can be indexed and searched, but not evaluated. Bytes are
kept where a browser can show them as they are. Photos twice are taken once; what was left out, and
why, is in the manifest. Run the same command again after an interruption: finished shards are kept.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from pipelines.stages.photo_options import ImportPhotosConfig

# Options are read, and mistakes in them told, before what takes seconds to import is imported.
if TYPE_CHECKING:
    from bridge.dataset.manifest import Manifest


def run(config: ImportPhotosConfig) -> Manifest:
    """Make the dataset, or what is missing of it."""
    from pipelines.stages.dataset_request import CATALOGUE, earlier_manifest, summary

    manifest = earlier_manifest(config.folder, config.identity())
    if config.model is not None:
        from bridge.model.folder import model_sha256

        model_sha256(storage.absolute(config.model))
    from pipelines.stages import photo_inputs as inputs

    listing, unused = inputs.read_listing(config)
    catalogue = inputs.catalogue_hash(listing)
    if manifest is not None and manifest.config.get(CATALOGUE) != catalogue:
        raise InputError(
            f"The photos have changed since {config.folder} was begun: choose another `out` or "
            "remove it."
        )
    if manifest is not None and manifest.complete:
        print(f"{shown(config.folder)} is complete: {summary(manifest)}.")
        return manifest
    for note in inputs.notes(config, listing, unused):
        print(f"note: {shown(note)}")
    from pipelines.stages.photos import make_dataset

    manifest = make_dataset(config, manifest, listing, catalogue)
    print(f"{shown(config.folder)}: {summary(manifest)}.")
    return manifest


def main() -> None:
    """The command."""
    cli.main(run, ImportPhotosConfig, description=__doc__)


if __name__ == "__main__":
    main()
