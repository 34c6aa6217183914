"""Import the published ROMB data into a DATASET: what is trained and evaluated on in the paper.

    python pipelines/import_romb.py --synthetic synthetic_data.zip \\
        --distractors synthetic_data_distractors.zip --real real_data.zip
    python pipelines/import_romb.py --real real_data --out data/real      # an unpacked folder
    python pipelines/import_romb.py --synthetic synthetic_data --dry-run  # what is there

Archives are read without unpacking them; a set may be in several. Pictures keep their bytes. Labels
come from the published statistics, and boxes from <k>_blurred.png where that is there. Run
the same command again after an interruption: finished shards are kept, and the result is the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from bridge.common import cli
from bridge.common.files import shown
from pipelines.stages.romb_options import ImportRombConfig

# Options are read, and mistakes in them told, before what takes seconds to import is imported.
if TYPE_CHECKING:
    from bridge.dataset.manifest import Manifest


def run(config: ImportRombConfig) -> Manifest:
    """Import the sets, or what is missing of them."""
    from pipelines.stages import dataset_request

    manifest = dataset_request.earlier_manifest(config.folder, config.identity())
    if manifest is not None and manifest.complete:
        print(f"{shown(config.folder)} is complete: {dataset_request.summary(manifest)}.")
        return manifest
    from pipelines.stages import romb_import

    manifest = romb_import.import_romb(config, manifest, romb_import.places_of(config))
    print(f"{config.folder}: {dataset_request.summary(manifest)}.")
    return manifest


def dry_run(config: ImportRombConfig) -> None:
    """Print what is there and what would be imported; writes nothing."""
    from pipelines.stages import dataset_request

    manifest = dataset_request.earlier_manifest(config.folder, config.identity())
    from pipelines.stages import romb_import

    romb_import.dry_run(config, manifest, romb_import.places_of(config))


def main() -> None:
    """The command."""
    cli.main(
        lambda config: dry_run(config) if config.dry_run else run(config),
        ImportRombConfig,
        description=__doc__,
    )


if __name__ == "__main__":
    main()
