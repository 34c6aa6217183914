"""`synthesize.py --verify`: the checks of `bridge.verification` laid out over the cluster."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, get_args

from bridge.common import storage
from bridge.common.chance import rng_for
from bridge.common.errors import InputError
from bridge.common.files import shown
from bridge.common.progress import progress
from bridge.dataset.card import CARD, write_card
from bridge.dataset.checks import ShardReport, doubles_between, verify_manifest, verify_shard
from bridge.dataset.manifest import MANIFEST, Manifest, load_manifest
from bridge.simulator import Backgrounds
from bridge.simulator.config import Kind
from bridge.synthesis.render_again import verify_rendering
from bridge.synthesis.shard import renderer_for
from pipelines.stages import cluster, engine
from pipelines.stages.synthesis_inputs import all_objects, open_backgrounds
from pipelines.stages.synthesis_options import SynthesizeConfig, from_identity

TRAJECTORIES_RENDERED_AGAIN = 16


def verify(dataset: str, num_cpus: int | None) -> bool:
    """Check a dataset and print what is wrong, a line each; True where nothing is.

    Raises InputError where there is no manifest.
    """
    folder = storage.absolute(dataset)
    manifest = load_manifest(folder)
    cluster.connect(num_cpus)
    reports = check_shards(folder, manifest)
    stated = storage.read_json(storage.join(folder, MANIFEST)).get("counts", {})
    problems = [f"{MANIFEST}: {problem}" for problem in verify_manifest(manifest, stated)]
    problems += [f"{r.path}: {problem}" for r in reports for problem in r.problems]
    problems += [
        f"{path}: {number} of its image ids are in another shard too"
        for path, number in doubles_between(reports).items()
    ]
    sound = [report.path for report in reports if not report.problems]
    rendered, findings = render_again(folder, manifest, sound)
    problems += findings
    for problem in problems:
        print(shown(problem))
    print(f"{shown(folder)}: {len(reports):,} shards, {sum(r.rows for r in reports):,} images")
    print(f"  labels: {sum(r.rows for r in reports):,} checked")
    print(f"  images: {sum(r.decoded for r in reports):,} decoded")
    print(f"  simulated again: {rendered}")
    print(f"  problems: {len(problems) or 'none'}")
    if not problems and not storage.exists(storage.join(folder, CARD)):
        write_card(folder, manifest)
        print(f"  card: {CARD} was missing and is there now")
    return not problems


def check_shards(folder: str, manifest: Manifest) -> list[ShardReport]:
    """Look into every shard, in parallel; reports in the order of their paths."""
    image_size = _image_size(manifest.config)
    simulated = manifest.kind in get_args(Kind)
    reports = []
    with progress("verify", len(manifest.shards), "shards") as counter:
        results = list(manifest.shards.values())
        for report in engine.run(verify_shard, results, folder, image_size, simulated):
            reports.append(report)
            counter.advance()
    return sorted(reports, key=lambda report: report.path)


def _image_size(options: Mapping[str, Any]) -> tuple[int, int] | None:
    """(H, W), where a manifest records it."""
    # A damaged manifest may hold anything.
    match options:
        case {"image_size": [int(height), int(width)]}:
            return height, width
    return None


def render_again(folder: str, manifest: Manifest, paths: Sequence[str]) -> tuple[str, list[str]]:
    """Simulate a sample of trajectories again; what was done in words, and the problems."""
    config = from_identity(manifest.config)
    if config is None:
        return "none, another command made this dataset", []
    try:
        entries = {entry.object_id: entry for entry in all_objects(config)}
        renderer_for(config.simulator)
    except InputError as error:
        return f"skipped. {error}", []
    backgrounds = _backgrounds(config)
    shared = (folder, config.simulator, config.image_format, backgrounds)
    chosen = _choose(config.seed, manifest, paths)
    samples = [(entries[name], path) for name, path in chosen if name in entries]
    gpus = cluster.gpu_share(config.renderer)
    with progress("simulate again", len(samples), "trajectories") as counter:
        reports = []
        for report in engine.run(verify_rendering, samples, *shared, gpus=gpus):
            reports.append(report)
            counter.advance()
    done = sum(report.rendered for report in reports)
    labels_only = done - sum(report.compared for report in reports)
    words = f"{done} trajectories"
    if labels_only:
        change = "are gone" if backgrounds is None else "have changed"
        words += f", {labels_only} of them without comparing pixels as photos {change}"
    if done < len(chosen):
        words += f", {len(chosen) - done} skipped as their meshes are gone or do not open"
    problems = [f"{r.path}: {problem}" for r in reports for problem in r.problems]
    return words, sorted(problems)


def _backgrounds(config: SynthesizeConfig) -> Backgrounds | None:
    """What the dataset was made with, or None where the photos are gone."""
    try:
        return open_backgrounds(config)
    except InputError:
        return None


def _choose(seed: int, manifest: Manifest, paths: Sequence[str]) -> list[tuple[str, str]]:
    """Random objects and shards that show them; (object id, path) pairs."""
    pairs = [(name, path) for path in paths for name in manifest.shards[path].objects]
    order = rng_for(seed, "verify").permutation(len(pairs))
    return [pairs[i] for i in order[:TRAJECTORIES_RENDERED_AGAIN]]
