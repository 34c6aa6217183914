"""Simulate a DATASET: motion-blurred images of moving 3D objects with exact labels (Sec. 4.1).

    python pipelines/synthesize.py                                        # built-in objects
    python pipelines/synthesize.py --meshes MESHES --backgrounds PHOTOS --out data/mine
    python pipelines/synthesize.py --kind distractors --exclude data/mine --meshes MESHES

Meshes lie as <category>/<object>.glb (or .obj). Run the same command again after an interruption:
finished shards are kept, and the result is the same.
"""

from __future__ import annotations

import os
import time
from dataclasses import asdict, dataclass
from typing import Any

from bridge import cli, storage
from bridge.dataset.manifest import (
    MANIFEST,
    Manifest,
    Rejection,
    load_manifest,
    open_manifest,
    refuse_difference,
)
from bridge.errors import InputError
from bridge.images import ImageFormat
from bridge.progress import progress
from bridge.simulator import (
    Backgrounds,
    ObjectEntry,
    PhotoBackgrounds,
    ProceduralBackgrounds,
    RendererName,
    SimulatorConfig,
    procedural_objects,
    scan_meshes,
)
from bridge.synthesis import (
    Kind,
    SynthesisPlan,
    check_object,
    make_shard,
    plan_shards,
    select_objects,
)
from pipelines import cluster

DISTRACTOR_INSTANCES_FROM = 1_000_000
"""Built-in distractor objects are instances that no dataset reaches."""

SECONDS_BETWEEN_SAVES = 2.0


@dataclass(frozen=True)
class SynthesizeConfig:
    """What to simulate. The defaults are a dataset for two cores; the paper's are in brackets."""

    out: str | None = None
    """Folder of the dataset; data/synthetic or data/distractors by default."""
    kind: Kind = "dataset"
    """A dataset (split into train, validation and test) or distractors."""
    meshes: str | None = None
    """Folder with <category>/<object>.glb or .obj; built-in textured objects by default."""
    backgrounds: str | None = None
    """Folder of photos, searched recursively; generated backgrounds by default."""
    exclude: str | None = None
    """A dataset whose objects are not to be used."""
    objects_per_category: int | None = None
    """At most so many objects per category [30; distractors 40]; default: 10 built-in ones, or all
    of a mesh folder."""
    trajectories: int = 12
    """Trajectories per object, 11 images each [120; distractors 70]."""
    image_size: tuple[int, int] = (120, 160)
    """Height and width in pixels [240 320]."""
    image_format: ImageFormat = "jpeg"
    """Encoding: jpeg (quality 95, full colour resolution), png or webp (both lossless)."""
    renderer: RendererName = "raster"
    """What draws the objects: raster (CPU), gl (GPU) or cycles (Blender)."""
    subframe_step: float = 1.0
    """Pixels that the fastest point of an object moves between two sub-frames."""
    seed: int = 0
    """Of everything random."""
    trajectories_per_shard: int = 90
    """Size of a shard; 90 trajectories are 990 images."""
    max_rejected: float = 0.5
    """Give up when more than this share of the objects or trajectories is unusable."""
    num_cpus: int | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""

    @property
    def folder(self) -> str:
        """Absolute path of the dataset."""
        default = "data/synthetic" if self.kind == "dataset" else "data/distractors"
        return storage.absolute(self.out or default)

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, as recorded in the manifest."""
        ignored = {"out", "num_cpus", "max_rejected"}
        options = {name: value for name, value in asdict(self).items() if name not in ignored}
        for name in ("meshes", "backgrounds", "exclude"):
            options[name] = options[name] and storage.absolute(options[name])
        return options | {"image_size": list(self.image_size)}


def check_options(config: SynthesizeConfig) -> None:
    """Raise InputError for an option out of its range."""
    at_least = {
        "trajectories": 1,
        "trajectories_per_shard": 1,
        "objects_per_category": 1,
        "seed": 0,
    }
    for name, least in at_least.items():
        value = getattr(config, name)
        if value is not None and value < least:
            raise InputError(f"--{name.replace('_', '-')} must be at least {least}, not {value}.")
    if min(config.image_size) < 16:
        raise InputError(f"--image-size must be at least 16 pixels, not {config.image_size}.")


def candidate_objects(config: SynthesizeConfig) -> list[ObjectEntry]:
    """The objects to use, before any of them is opened."""
    if config.meshes is None:
        first = 0 if config.kind == "dataset" else DISTRACTOR_INSTANCES_FROM
        return procedural_objects(config.objects_per_category or 10, config.seed, first)
    entries = scan_meshes(storage.absolute(config.meshes))
    if config.exclude is not None:
        excluded = open_manifest(storage.absolute(config.exclude)).objects
        entries = [entry for entry in entries if entry.object_id not in excluded]
        if not entries:
            raise InputError(f"{config.exclude} uses every object of {config.meshes}.")
    return select_objects(entries, config.objects_per_category, config.seed, config.kind)


def open_backgrounds(config: SynthesizeConfig) -> Backgrounds:
    """Photos, or generated backgrounds where no folder is given."""
    if config.backgrounds is None:
        return ProceduralBackgrounds()
    return PhotoBackgrounds(storage.absolute(config.backgrounds), config.kind)


def catalogue_hash(entries: list[ObjectEntry], backgrounds: Backgrounds) -> str:
    """Changes when an object or a photo is added, removed or replaced by another one."""
    objects = [(e.object_id, os.path.getsize(e.path) if e.path else 0) for e in entries]
    return storage.sha256_json([objects, list(backgrounds.names)])


def find_rejected(config: SynthesizeConfig, entries: list[ObjectEntry]) -> tuple[Rejection, ...]:
    """Open every mesh of a folder once, in parallel; InputError where too many are unusable."""
    if config.meshes is None:
        return ()
    rejections = []
    with progress("check meshes", len(entries), "meshes") as counter:
        for rejection in cluster.run_tasks(check_object, entries):
            counter.advance()
            rejections += [rejection] if rejection else []
    if len(rejections) > config.max_rejected * len(entries):
        first = rejections[0]
        raise InputError(
            f"{len(rejections)} of {len(entries)} meshes in {config.meshes} cannot be used, e.g. "
            f"{first.item}: {first.reason}{f' ({first.detail})' if first.detail else ''}."
        )
    return tuple(sorted(rejections, key=lambda r: r.item))


def existing_manifest(config: SynthesizeConfig) -> Manifest | None:
    """What an earlier run left; InputError where it was made with other options."""
    if not storage.exists(storage.join(config.folder, MANIFEST)):
        return None
    manifest = load_manifest(config.folder)
    options = {name: value for name, value in manifest.config.items() if name != "catalogue"}
    content = "a dataset made with another configuration"
    refuse_difference(config.folder, content, options, config.identity())
    return manifest


def run(config: SynthesizeConfig) -> Manifest:
    """Make the dataset, or what is missing of it."""
    check_options(config)
    manifest = existing_manifest(config)
    if manifest is not None and manifest.complete:
        print(f"{config.folder} is complete: {summary(manifest)}.")
        return manifest
    entries = candidate_objects(config)
    backgrounds = open_backgrounds(config)
    catalogue = catalogue_hash(entries, backgrounds)
    if manifest is not None and manifest.config.get("catalogue") != catalogue:
        raise InputError(f"The meshes or photos have changed since {config.folder} was begun.")
    storage.prepare_output(config.folder)
    cluster.connect(config.num_cpus)
    if manifest is None:
        rejections = find_rejected(config, entries)
        identity = config.identity() | {"catalogue": catalogue}
        manifest = Manifest(config.kind, identity, rejections=rejections)
        manifest.save(config.folder)
    unusable = {rejection.item for rejection in manifest.rejections}
    usable = [entry for entry in entries if entry.object_id not in unusable]
    plan = SynthesisPlan(
        SimulatorConfig(
            image_size=config.image_size,
            subframe_step=config.subframe_step,
            renderer=config.renderer,
            seed=config.seed,
            background_per_image=config.kind == "distractors",
        ),
        config.image_format,
        plan_shards(
            usable, config.kind, config.trajectories, config.trajectories_per_shard, config.seed
        ),
    )
    manifest = make_missing_shards(config.folder, manifest, plan, backgrounds)
    failed = sum(r.reason == "trajectory" for r in manifest.all_rejections)
    if failed > config.max_rejected * plan.num_trajectories:
        raise InputError(
            f"{failed} of {plan.num_trajectories} trajectories passed no filter, more than "
            f"--max-rejected {config.max_rejected} allows: are the objects thin or tiny?"
        )
    manifest = manifest.finished()
    manifest.save(config.folder)
    print(f"{config.folder}: {summary(manifest)}.")
    return manifest


def make_missing_shards(
    folder: str, manifest: Manifest, plan: SynthesisPlan, backgrounds: Backgrounds
) -> Manifest:
    """Run the shards that the manifest does not name, and add them to it as they come."""
    missing = [task for task in plan.tasks if task.path not in manifest.shards]
    done = plan.num_trajectories - sum(task.num_trajectories for task in missing)
    with progress("synthesize", 11 * plan.num_trajectories, "images") as counter:
        counter.advance(11 * done)
        saved = time.monotonic()
        # The plan itself travels without its task list, which may be long.
        light = SynthesisPlan(plan.simulator, plan.image_format, ())
        for result in cluster.run_tasks(make_shard, missing, light, backgrounds, folder):
            manifest = manifest.with_shards([result])
            counter.advance(result.record.rows, f"{len(manifest.shards)} shards")
            if time.monotonic() - saved > SECONDS_BETWEEN_SAVES:
                manifest.save(folder)
                saved = time.monotonic()
    return manifest


def summary(manifest: Manifest) -> str:
    """Counts in one line."""
    parts = [
        f"{split} {counts['rows']:,} images of {counts['objects']:,} objects"
        for split, counts in manifest.counts().items()
    ]
    rejected = manifest.to_json()["rejected"]
    left_out = ", ".join(f"{count} {reason}" for reason, count in rejected.items())
    return "; ".join(parts) + (f"; left out: {left_out}" if left_out else "")


if __name__ == "__main__":
    cli.main(run, SynthesizeConfig, description=__doc__)
