"""Tests of bridge/synthesis/render_again.py."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bridge.common import storage
from bridge.dataset.manifest import ShardResult
from bridge.simulator import (
    Backgrounds,
    ObjectEntry,
    PhotoBackgrounds,
    ProceduralBackgrounds,
    SimulatorConfig,
    procedural_objects,
)
from bridge.synthesis.plan import plan_shards
from bridge.synthesis.render_again import RenderingReport, verify_rendering
from bridge.synthesis.shard import make_shard
from tests.factories import make_dataset, rewrite_shard, without_column

SIZE = (24, 32)
Rows = list[dict[str, Any]]


SIMULATOR = SimulatorConfig(image_size=(48, 64))


def simulated(
    folder: Path, backgrounds: Backgrounds, trajectories: int = 2
) -> tuple[ObjectEntry, ShardResult]:
    """A shard of some trajectories of one object."""
    entry = procedural_objects(1, 0)[0]
    (task,) = plan_shards([entry], "distractors", trajectories, 90, 0).missing(())
    return entry, make_shard(task, SIMULATOR, "jpeg", backgrounds, str(folder))


def again(
    entry: ObjectEntry,
    shard: ShardResult,
    folder: Path,
    simulator: SimulatorConfig = SIMULATOR,
    backgrounds: Backgrounds | None = None,
) -> RenderingReport:
    return verify_rendering((entry, shard.record.path), str(folder), simulator, "jpeg", backgrounds)


def both(**values: Any) -> Callable[[Rows], None]:
    """Change the fifth image of both trajectories."""

    def apply(rows: Rows) -> None:
        for index in (4, 15):
            rows[index].update(values)

    return apply


def test_rendering_again_finds_labels_of_another_trajectory(tmp_path: Path) -> None:
    generated = ProceduralBackgrounds()
    entry, made = simulated(tmp_path, generated)
    report = again(entry, made, tmp_path, backgrounds=generated)
    assert report.rendered and report.compared and report.problems == ()
    wrong = both(blur_severity=0.99, mean_opacity=0.02, bbox=(0.5, 0.5, 0.01, 0.01))
    rewrite_shard(made, tmp_path, wrong)
    severity, opacity, box = again(entry, made, tmp_path, backgrounds=generated).problems
    assert severity.startswith("a blur severity comes out otherwise")
    assert opacity.startswith("a mean opacity comes out otherwise")
    assert box.startswith("a box comes out otherwise")
    other = again(entry, made, tmp_path, replace(SIMULATOR, seed=1), generated)
    assert other.rendered and other.problems


def test_any_trajectory_may_be_the_one_that_is_rendered_again(tmp_path: Path) -> None:
    entry, made = simulated(tmp_path, ProceduralBackgrounds(), trajectories=12)

    def all_but_the_first(rows: Rows) -> None:
        for row in rows[11:]:
            row["blur_severity"] = None

    rewrite_shard(made, tmp_path, all_but_the_first)
    assert again(entry, made, tmp_path).problems


def test_rendering_again_misses_no_label(tmp_path: Path) -> None:
    generated = ProceduralBackgrounds()
    entry, made = simulated(tmp_path, generated)
    rewrite_shard(made, tmp_path, both(blur_severity=None, mean_opacity=None, bbox=None))
    severity, opacity, box = again(entry, made, tmp_path, backgrounds=generated).problems
    assert severity.startswith("a blur severity is missing")
    assert opacity.startswith("a mean opacity is missing")
    assert box.startswith("a box is missing")


def test_rendering_again_asks_for_no_label_that_did_not_exist(tmp_path: Path) -> None:
    generated = ProceduralBackgrounds()
    entry, made = simulated(tmp_path, generated)
    older = without_column(made, tmp_path, "mean_opacity")
    report = again(entry, older, tmp_path, backgrounds=generated)
    assert report.compared and report.problems == ()


def test_rendering_again_finds_images_of_another_trajectory(tmp_path: Path) -> None:
    generated = ProceduralBackgrounds()
    entry, made = simulated(tmp_path, generated)

    def swap(first: int, second: int) -> Callable[[Rows], None]:
        def apply(rows: Rows) -> None:
            one, other = rows[first], rows[second]
            one["image"], other["image"] = other["image"], one["image"]

        return apply

    rewrite_shard(made, tmp_path, swap(7, 18))
    (pixels,) = again(entry, made, tmp_path, backgrounds=generated).problems
    assert pixels.startswith("pixels come out otherwise")
    rewrite_shard(made, tmp_path, swap(7, 18))
    assert again(entry, made, tmp_path, backgrounds=generated).problems == ()
    rewrite_shard(made, tmp_path, both(image={"bytes": b"no", "path": "x"}))
    (broken,) = again(entry, made, tmp_path, backgrounds=generated).problems
    assert broken.startswith("an image does not decode")
    rewrite_shard(made, tmp_path, both(background_id="procedural/0"))
    assert any(
        "a background comes out otherwise" in p
        for p in again(entry, made, tmp_path, backgrounds=generated).problems
    )


def test_pixels_over_photos_that_are_gone_are_not_compared(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    noise = np.random.default_rng(0)
    for number in range(8):
        photo = Image.fromarray(noise.integers(0, 256, (60, 80, 3), np.uint8))
        photo.save(tmp_path / f"photos/{number}.png")
    photos = PhotoBackgrounds(tmp_path / "photos", "dataset")
    entry, made = simulated(tmp_path, photos)
    report = again(entry, made, tmp_path, backgrounds=photos)
    assert report.compared and report.problems == ()
    gone = again(entry, made, tmp_path, backgrounds=None)
    assert gone.rendered and not gone.compared and gone.problems == ()
    for number in range(8):
        (tmp_path / f"photos/{number}.png").rename(tmp_path / f"photos/new{number}.png")
    changed = PhotoBackgrounds(tmp_path / "photos", "dataset")
    report = again(entry, made, tmp_path, backgrounds=changed)
    assert report.rendered and not report.compared and report.problems == ()


def test_objects_that_are_gone_are_not_rendered(tmp_path: Path) -> None:
    manifest = make_dataset(tmp_path, {"train": 2}, trajectories=2, size=SIZE)
    shard = next(iter(manifest.shards.values()))
    gone = ObjectEntry("shape0/000", "shape0", storage.join(tmp_path, "gone.glb"))
    report = again(gone, shard, tmp_path)
    assert not report.rendered and report.problems == ()
