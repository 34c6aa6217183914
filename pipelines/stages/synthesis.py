"""Making a DATASET: its meshes are checked, its shards simulated, and both laid out over Ray."""

from __future__ import annotations

import io
from collections.abc import Sequence
from itertools import islice

from bridge.blur import NUM_WINDOWS
from bridge.common import storage
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.progress import duration, progress
from bridge.dataset.manifest import Adjustment, Manifest, Rejection
from bridge.simulator.background import Backgrounds
from bridge.simulator.objects.catalogue import ObjectEntry
from bridge.synthesis.cost import measure
from bridge.synthesis.plan import ShardPlan, plan_shards
from bridge.synthesis.preview import contact_sheet, preview_rows
from bridge.synthesis.shard import LOST_TRAJECTORY, check_object, make_shard, renderer_for
from pipelines.stages import cluster, engine
from pipelines.stages.dataset_request import CATALOGUE
from pipelines.stages.running import running
from pipelines.stages.shards import Losses, Shards, finish, make_missing
from pipelines.stages.synthesis_inputs import choose_objects, shortage
from pipelines.stages.synthesis_options import SynthesizeConfig

IMAGES = NUM_WINDOWS + 1
"""Images of a trajectory."""


def make_dataset(
    config: SynthesizeConfig,
    found: Manifest | None,
    pool: Sequence[ObjectEntry],
    backgrounds: Backgrounds,
    catalogue: str,
) -> Manifest:
    """Make the dataset, or what is missing of it.

    Args:
        config: the options, checked.
        found: what an earlier run left.
        pool: the objects to choose from.
        backgrounds: what is behind them.
        catalogue: hash of both.
    """
    # A renderer that is not installed is better found here than in every worker.
    renderer_for(config.simulator)
    with running("synthesize", config.folder, config.watch):
        cluster.connect(config.num_cpus)
        manifest = found
        if manifest is None:
            rejections, adjustments = check_objects(config, pool)
            identity = config.identity() | {CATALOGUE: catalogue}
            manifest = Manifest(config.kind, identity, {}, rejections, adjustments)
            manifest.save(config.folder)
        entries = choose_objects(config, pool, unusable_in(manifest))
        print_notes(config, entries, backgrounds)
        plan = plan_of(config, entries)
        manifest = make_missing_shards(config, manifest, plan, backgrounds)
        return finish(config.folder, manifest)


def check_objects(
    config: SynthesizeConfig, pool: Sequence[ObjectEntry]
) -> tuple[tuple[Rejection, ...], tuple[Adjustment, ...]]:
    """Open every mesh that is to be used once, in parallel, and others for those that fail.

    Returns what cannot be used and what had to be adjusted, sorted by object; InputError as soon
    as it is certain that too many are unusable.
    """
    rejections: dict[str, Rejection] = {}
    adjustments: list[Adjustment] = []
    checked: set[str] = set()
    while config.meshes is not None:
        chosen = choose_objects(config, pool, rejections)
        fresh = [entry for entry in chosen if entry.object_id not in checked]
        if not fresh:
            break
        checked |= {entry.object_id for entry in fresh}
        with progress("check meshes", len(fresh), "meshes") as counter:
            for check in engine.run(check_object, fresh):
                counter.advance()
                adjustments += check.adjustments
                if check.rejection:
                    rejections[check.rejection.item] = check.rejection
                    _refuse_meshes(config, check.rejection, len(rejections), len(checked))
    return (
        tuple(sorted(rejections.values(), key=lambda r: r.item)),
        tuple(sorted(adjustments, key=lambda a: (a.item, a.reason))),
    )


def _refuse_meshes(config: SynthesizeConfig, last: Rejection, unusable: int, checked: int) -> None:
    if unusable > config.max_rejected * checked:
        reason = ": ".join(filter(None, (last.reason, last.detail)))
        raise InputError(
            f"At least {unusable} of {checked} meshes in {config.meshes} cannot be used, more "
            f"than --max-rejected {config.max_rejected} allows, e.g. {last.item}: {reason}."
        )


def unusable_in(manifest: Manifest | None) -> set[str]:
    """Ids of the objects that cannot be used."""
    return {rejection.item for rejection in manifest.rejections} if manifest else set()


def plan_of(config: SynthesizeConfig, entries: Sequence[ObjectEntry]) -> ShardPlan:
    """The shards of the objects to use."""
    return plan_shards(
        entries, config.kind, config.trajectories, config.trajectories_per_shard, config.seed
    )


def print_notes(
    config: SynthesizeConfig, entries: Sequence[ObjectEntry], backgrounds: Backgrounds
) -> None:
    """Tell what the folders are too small for."""
    notes = shortage(config, entries)
    if backgrounds.shared:
        notes.append("The photos are too few to divide: datasets and distractors share them.")
    for note in notes:
        print(f"note: {note}")
    _print_passed_over(config, backgrounds)


def _print_passed_over(config: SynthesizeConfig, backgrounds: Backgrounds) -> None:
    if backgrounds.passed_over:
        folder = shown(config.backgrounds or "")
        print(f"note: {folder}: passed over: {backgrounds.passed_over}.")


def make_missing_shards(
    config: SynthesizeConfig, manifest: Manifest, plan: ShardPlan, backgrounds: Backgrounds
) -> Manifest:
    """Run the shards that the manifest does not name, and add them to it as they come.

    InputError as soon as it is certain that too many trajectories are lost.
    """
    missing = plan.missing(manifest.shards)
    shards = Shards(
        missing,
        plan.num_shards,
        IMAGES * plan.num_trajectories,
        IMAGES * missing.num_trajectories,
        Losses(
            plan.num_trajectories,
            config.max_rejected,
            "trajectories",
            (LOST_TRAJECTORY,),
            ": are the objects thin or tiny?",
        ),
        images_per_input=IMAGES,
    )
    shared = (config.simulator, config.image_format, backgrounds, config.folder)
    gpus = cluster.gpu_share(config.renderer)
    return make_missing(
        "synthesize",
        config.folder,
        manifest,
        shards,
        make_shard,
        *shared,
        gpus=gpus,
        actors=engine.Actors(),
    )


def dry_run(
    config: SynthesizeConfig,
    manifest: Manifest | None,
    pool: Sequence[ObjectEntry],
    backgrounds: Backgrounds,
) -> None:
    """Print what would be made, and what it would cost; writes nothing. As `make_dataset`."""
    entries = choose_objects(config, pool, unusable_in(manifest))
    plan = plan_of(config, entries)
    cost = measure(entries, config.simulator, config.image_format, backgrounds)
    cluster.connect(config.num_cpus)
    missing = plan.missing(manifest.shards if manifest else {})
    shards, trajectories = len(missing), missing.num_trajectories
    # An object is opened once by each shard that shows it, and once to be checked.
    openings = shards + trajectories / config.trajectories
    openings += len(entries) if manifest is None and config.meshes else 0
    seconds = trajectories * cost.seconds + openings * cost.open_seconds
    cores = cluster.num_cpus()
    lines = [f"{config.folder}: {config.kind}, renderer {config.renderer}"]
    for split in plan.splits:
        lines.append(
            f"{split.split}: {len(split.entries):,} objects, {split.num_trajectories:,} "
            f"trajectories, {IMAGES * split.num_trajectories:,} images, {len(split):,} shards"
        )
    if shards < plan.num_shards:
        lines.append(f"finished: {plan.num_shards - shards:,} of {plan.num_shards:,} shards")
    lines += [
        f"time: {seconds / 3600:,.2f} ± {trajectories * cost.error / 3600:,.2f} core-hours, "
        f"{duration(seconds / cores)} on {cores:g} cores",
        f"disk: {trajectories * cost.bytes / 1e9:,.2f} GB",
        f"measured: {cost.seconds:.2f} s (standard deviation {cost.deviation:.2f} s) and "
        f"{cost.bytes / 1e3:,.0f} kB per trajectory "
        f"({cost.kept} of {cost.measured} passed the filter)",
    ]
    print("\n  ".join(lines))
    print_notes(config, entries, backgrounds)


def preview(
    config: SynthesizeConfig, number: int, pool: Sequence[ObjectEntry], backgrounds: Backgrounds
) -> None:
    """Draw `number` trajectories on a contact sheet; makes no dataset."""
    entries = choose_objects(config, pool)
    renderer_for(config.simulator)
    storage.prepare_output(config.folder)
    _print_passed_over(config, backgrounds)
    unusable: dict[str, str] = {}
    found = preview_rows(entries, config.trajectories, config.simulator, backgrounds, unusable)
    rows = []
    with progress("preview", number, "trajectories") as counter:
        for row in islice(found, number):
            rows.append(row)
            counter.advance()
    if not rows:
        name, why = next(iter(unusable.items()), ("", ""))
        reasons = f": {len(unusable)} do not open, e.g. {name}: {why}" if unusable else ""
        raise InputError(
            f"Not one trajectory of the {len(entries)} objects can be simulated{reasons}."
        )
    if len(rows) < number:
        print(f"note: {len(rows)} trajectories instead of {number}: there are no more to show.")
    buffer = io.BytesIO()
    contact_sheet(sorted(rows, key=lambda r: (r.object_id, r.trajectory))).save(buffer, "PNG")
    path = storage.join(config.folder, "preview.png")
    storage.write_bytes(path, buffer.getvalue())
    print(path)
