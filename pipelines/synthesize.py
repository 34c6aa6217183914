"""Simulate a DATASET: motion-blurred images of moving 3D objects with exact labels (Sec. 4.1).

    python pipelines/synthesize.py                                        # built-in objects
    python pipelines/synthesize.py --meshes MESHES --backgrounds PHOTOS --out data/mine
    python pipelines/synthesize.py --kind distractors --exclude data/mine --meshes MESHES
    python pipelines/synthesize.py --preset paper --meshes SHAPENET --backgrounds PHOTOS
    python pipelines/synthesize.py --preview 12                           # look at it first
    python pipelines/synthesize.py --dry-run                              # what it would cost
    python pipelines/synthesize.py --verify data/mine

Meshes lie as <category>/<object>.glb (or .obj), in a folder per object, or as ShapeNet has them.
Run the same command again after an interruption: finished shards are kept, and the result is the
same.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from pipelines.stages.synthesis_options import SynthesizeConfig, check_options, parse

# Options are read, and mistakes in them told, before what takes seconds to import is imported: the
# simulator and Ray are in `stages.synthesis`, NumPy and Arrow in `stages.synthesis_inputs`.
if TYPE_CHECKING:
    from bridge.dataset.manifest import Manifest


def run(config: SynthesizeConfig) -> Manifest:
    """Make the dataset, or what is missing of it."""
    check_options(config)
    from pipelines.stages import synthesis_inputs as inputs
    from pipelines.stages.dataset_request import CATALOGUE, summary

    manifest = inputs.existing_manifest(config)
    if manifest is not None and manifest.complete:
        print(f"{shown(config.folder)} is complete: {summary(manifest)}.")
        return manifest
    pool = inputs.object_pool(config)
    inputs.require_training_objects(config, pool)
    backgrounds = inputs.open_backgrounds(config)
    catalogue = inputs.catalogue_hash(inputs.choose_objects(config, pool), backgrounds)
    if manifest is not None and manifest.config.get(CATALOGUE) != catalogue:
        raise InputError(f"The meshes or photos have changed since {config.folder} was begun.")
    from pipelines.stages.synthesis import make_dataset

    manifest = make_dataset(config, manifest, pool, backgrounds, catalogue)
    print(f"{config.folder}: {summary(manifest)}.")
    return manifest


def dry_run(config: SynthesizeConfig) -> None:
    """Print what would be made, and what it would cost; writes nothing."""
    check_options(config)
    from pipelines.stages import synthesis_inputs as inputs

    manifest = inputs.existing_manifest(config)
    pool, backgrounds = inputs.object_pool(config), inputs.open_backgrounds(config)
    inputs.require_training_objects(config, pool)
    from pipelines.stages import synthesis

    synthesis.dry_run(config, manifest, pool, backgrounds)


def preview(config: SynthesizeConfig, number: int) -> None:
    """Draw `number` trajectories on a contact sheet; makes no dataset."""
    check_options(config)
    from pipelines.stages import synthesis_inputs as inputs

    pool, backgrounds = inputs.object_pool(config), inputs.open_backgrounds(config)
    from pipelines.stages import synthesis

    synthesis.preview(config, number, pool, backgrounds)


def verify(config: SynthesizeConfig, dataset: str) -> bool:
    """Check a dataset and print what is wrong with it; True where nothing is."""
    check_options(config)
    from bridge.dataset.manifest import require_manifest

    require_manifest(storage.absolute(dataset))
    from pipelines.stages import verification

    return verification.verify(dataset, config.num_cpus)


def command(config: SynthesizeConfig) -> None:
    """Do what the options ask for; exit code 1 where a dataset that is verified has a problem."""
    chosen = {
        "--verify": config.verify is not None,
        "--preview": config.preview is not None,
        "--dry-run": config.dry_run,
    }
    given = [name for name, is_given in chosen.items() if is_given]
    if len(given) > 1:
        raise InputError(f"Choose one of {' and '.join(given)}.")
    if config.verify is not None:
        sys.exit(0 if verify(config, config.verify) else 1)
    elif config.preview is not None:
        preview(config, config.preview)
    elif config.dry_run:
        dry_run(config)
    else:
        run(config)


def main() -> None:
    """The command."""
    cli.guarded(lambda: command(parse(sys.argv[1:], __doc__)))


if __name__ == "__main__":
    main()
