from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bridge.blur import blur_level, blur_severity, composite, eight_bit
from bridge.common.errors import InputError
from bridge.simulator import (
    Mesh,
    PhotoBackgrounds,
    ProceduralBackgrounds,
    Sample,
    SimulatorConfig,
    make_renderer,
    procedural_objects,
    scan_meshes,
    simulate,
)
from bridge.simulator.background import Background, procedural_background
from bridge.simulator.config import FilterName, Realism
from bridge.simulator.filters import is_kept
from bridge.simulator.objects.procedural import procedural_mesh
from bridge.simulator.renderers.lighting import Lighting
from bridge.simulator.trajectory import sample_trajectory
from tests.bridge.simulator.scenes import quads

CONFIG = SimulatorConfig(image_size=(60, 80))
RENDERER = make_renderer("raster", (60, 80))


def run(
    object_id: str = "mug/00000",
    trajectory: int = 0,
    config: SimulatorConfig = CONFIG,
    mesh: Mesh | None = None,
) -> list[Sample]:
    shape = mesh or procedural_mesh(0, "mug", 0)
    return simulate(shape, object_id, trajectory, config, RENDERER, ProceduralBackgrounds())


def digest(samples: list[Sample]) -> str:
    labels = [repr((s.blur_severity, s.mean_opacity, s.bbox)) for s in samples]
    parts = [s.image.tobytes() + text.encode() for s, text in zip(samples, labels, strict=True)]
    return hashlib.sha256(b"".join(parts)).hexdigest()


def published(trajectory: int) -> tuple[np.ndarray, Background]:
    """Layers and background of a trajectory whose first try passes, as the generator has them."""
    mesh = procedural_mesh(0, "mug", 0)
    name = int.from_bytes(hashlib.sha256(b"mug/00000").digest(), "big")
    rng = np.random.default_rng([0, name, trajectory])
    motion = sample_trajectory(rng, mesh.extents, (60, 80))
    background = ProceduralBackgrounds().sample(rng, (60, 80))
    return RENDERER.expose(mesh, motion, Lighting(), linear=False), background


def test_labels_describe_the_eleven_images() -> None:
    samples = run()
    assert [sample.window for sample in samples] == list(range(11))
    severities = [sample.blur_severity for sample in samples]
    assert severities[0] < 0.1
    assert all(a < b for a, b in zip(severities, severities[1:], strict=False))
    for sample in samples:
        assert sample.image.shape == (60, 80, 3)
        assert sample.image.dtype == np.uint8
        assert sample.blur_level == blur_level(sample.blur_severity)
        assert sample.bbox is not None
    widths = [sample.bbox[2] for sample in samples if sample.bbox]
    assert widths[10] > widths[0] + 0.1


def test_opacity_is_that_of_an_eight_bit_mask_with_and_without_erosion() -> None:
    layers, _ = published(2)
    for sample, layer in zip(run(trajectory=2), layers, strict=True):
        mask = np.rint(layer[..., 3] * 255).astype(float)
        assert sample.mean_opacity == pytest.approx(mask[mask > 0].mean() / 255)
        # The rim that erosion takes away is covered for a shorter time than the rest.
        assert 0 < sample.mean_opacity < 1 - sample.blur_severity


def test_erosion_changes_blur_severity_and_level_alone() -> None:
    layers, _ = published(2)
    three = run(trajectory=2, config=replace(CONFIG, erosion_pixels=3))
    for one, other, layer in zip(run(trajectory=2), three, layers, strict=True):
        assert other.blur_severity == blur_severity(eight_bit(layer[..., 3]), erosion=3)
        assert other.blur_severity < one.blur_severity
        assert other.blur_level == blur_level(other.blur_severity)
        assert (one.image == other.image).all()
        kept = (one.mean_opacity, one.bbox, one.background_id)
        assert kept == (other.mean_opacity, other.bbox, other.background_id)


@pytest.mark.parametrize("rule", ["coverage", "endpoint-iou"])
def test_the_filter_decides_which_motions_are_kept(rule: FilterName) -> None:
    """A stick turns away in some motions, and leaves the picture in others."""
    stick = quads(np.array([[-8.0, -1, 0], [8, -1, 0], [8, 1, 0], [-8, 1, 0]]))
    config = replace(CONFIG, filter=rule, tries=1, subframe_step=4)
    name = int.from_bytes(hashlib.sha256(b"stick").digest(), "big")
    kept = []
    for trajectory in range(24):
        rng = np.random.default_rng([0, name, trajectory])
        motion = sample_trajectory(rng, stick.extents, (60, 80))
        kept.append(is_kept(stick, motion, (60, 80), rule))
        assert bool(run("stick", trajectory, config, stick)) == kept[-1]
    assert {True, False} == set(kept)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"image_size": (8, 80)}, "`image_size` must be at least 16, not 8"),
        ({"image_size": (60, 5000)}, "`image_size` must be at most 4096, not 5000"),
        ({"subframe_step": 0.04}, "`subframe_step` must be at least 0.05, not 0.04"),
        ({"subframe_step": float("nan")}, "`subframe_step`"),
        ({"tries": 0}, "`tries` must be at least 1, not 0"),
        ({"seed": -1}, "`seed` must be at least 0, not -1"),
        ({"erosion_pixels": 0}, "`erosion_pixels` must be at least 1, not 0"),
        ({"filter": "iou"}, "`filter` must be 'coverage' or 'endpoint-iou', not 'iou'"),
        ({"renderer": "pencil"}, "`renderer` must be 'raster', 'gl' or 'cycles', not 'pencil'"),
    ],
)
def test_options_out_of_range_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SimulatorConfig(**options)


def test_object_is_where_the_box_says() -> None:
    samples = run()
    sharp, background = samples[0].image.astype(int), samples[0].background_id
    assert {sample.background_id for sample in samples} == {background}
    number = int(background.split("/")[1], 16)
    empty = procedural_background(np.random.default_rng(number), (60, 80))
    rows, columns = np.nonzero((sharp != empty).any(axis=2))
    assert samples[0].bbox is not None
    cx, cy, w, h = samples[0].bbox
    assert (columns.min(), columns.max()) == pytest.approx(((cx - w / 2) * 80, (cx + w / 2) * 80))
    assert (rows.min(), rows.max()) == pytest.approx(((cy - h / 2) * 60, (cy + h / 2) * 60))


def test_each_distractor_has_its_own_background() -> None:
    config = SimulatorConfig(image_size=(60, 80), background_per_image=True)
    samples = run(config=config)
    assert len({sample.background_id for sample in samples}) == 11
    assert [s.blur_severity for s in samples] == [s.blur_severity for s in run()]


def test_images_depend_on_seed_object_and_trajectory_only() -> None:
    first = digest(run(trajectory=3))
    run("mug/00009", 8)
    assert digest(run(trajectory=3)) == first
    other_seed = SimulatorConfig(image_size=(60, 80), seed=1)
    others = {digest(run(trajectory=4)), digest(run("mug/1")), digest(run(config=other_seed))}
    assert len(others | {first}) == 4


def test_pixels_are_equal_in_another_process() -> None:
    code = f"from {__name__} import digest, run; print(digest(run(trajectory=5)))"
    root = Path(__file__).resolve().parents[3]
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True
    )
    assert result.stdout.strip() == digest(run(trajectory=5))


def test_without_realism_the_images_are_those_of_the_published_generator() -> None:
    layers, background = published(2)
    for sample, layer in zip(run(trajectory=2), layers, strict=True):
        assert (sample.image == composite(layer, background.pixels)).all()


def realistic(**options: Any) -> list[Sample]:
    return run(config=SimulatorConfig(image_size=(60, 80), realism=Realism(**options)))


@pytest.mark.parametrize(
    "options",
    [{"varied_light": True}, {"linear_blur": True}, {"sensor_noise": 5}, {"jpeg_artefacts": True}],
)
def test_realism_of_the_pixels_leaves_labels_and_background(options: dict[str, Any]) -> None:
    plain, real = run(), realistic(**options)
    for one, other in zip(plain, real, strict=True):
        assert (one.image != other.image).any()
        assert one.blur_severity == other.blur_severity
        assert one.bbox == other.bbox
        assert one.background_id == other.background_id
    assert digest(real) == digest(realistic(**options))


def test_options_do_not_change_what_others_draw() -> None:
    noisy, both = realistic(sensor_noise=3), realistic(sensor_noise=3, linear_blur=True)
    assert (noisy[0].image != both[0].image).mean() < 0.5
    lit = realistic(varied_light=True)
    curved = realistic(varied_light=True, curved=True)
    assert [s.blur_severity for s in lit] == [s.blur_severity for s in run()]
    assert [s.blur_severity for s in curved] == [s.blur_severity for s in realistic(curved=True)]


def test_curved_motion_keeps_the_background_and_changes_the_labels() -> None:
    line, bent = run(), realistic(curved=True)
    assert line[0].background_id == bent[0].background_id
    assert line[10].blur_severity != bent[10].blur_severity
    assert [s.blur_level for s in bent] == [blur_level(s.blur_severity) for s in bent]


def test_light_mixes_linearly() -> None:
    plain, linear = run()[8], realistic(linear_blur=True)[8]
    # Averages of light are brighter than averages of display values.
    difference = linear.image.astype(int) - plain.image
    assert difference.min() >= -1
    assert difference.max() > 5


def test_all_realism_at_once() -> None:
    options: dict[str, Any] = {
        "curved": True,
        "varied_light": True,
        "linear_blur": True,
        "sensor_noise": 4,
        "jpeg_artefacts": True,
    }
    samples = realistic(**options)
    assert [sample.window for sample in samples] == list(range(11))
    assert digest(samples) == digest(realistic(**options))


def test_an_object_too_thin_to_be_seen_gives_nothing() -> None:
    mesh = procedural_mesh(0, "box", 0)
    needle = Mesh(
        **{**vars(mesh), "vertices": mesh.vertices * np.array([0.01, 1, 0.01], np.float32)}
    )
    assert run(mesh=needle) == []


def test_most_builtin_objects_can_be_simulated() -> None:
    config = SimulatorConfig(image_size=(60, 80), subframe_step=4)
    outcome: Counter[bool] = Counter()
    levels: Counter[int] = Counter()
    for entry in procedural_objects(2, seed=1):
        samples = run(entry.object_id, 0, config, entry.load())
        outcome[bool(samples)] += 1
        levels.update(sample.blur_level for sample in samples)
    assert outcome[True] > 9 * outcome[False]
    assert all(levels[level] > 5 for level in range(1, 6))


def test_real_objects_over_photos(shared_assets: Path) -> None:
    backgrounds = PhotoBackgrounds(shared_assets / "backgrounds", "dataset")
    config = SimulatorConfig(image_size=(60, 80), subframe_step=4)
    entries = scan_meshes(shared_assets / "meshes")[::89]
    for entry in entries:
        samples = simulate(entry.load(), entry.object_id, 0, config, RENDERER, backgrounds)
        assert len(samples) == 11, entry.object_id
    assert not backgrounds.rejected
