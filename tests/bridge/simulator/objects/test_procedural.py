from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.objects.procedural import (
    FAMILIES,
    NUM_TEXTURES,
    procedural_mesh,
    texture_number,
)
from bridge.simulator.objects.textures import PATTERNS, _palette, make_texture


def texture_of(seed: int, category: str, instance: int) -> np.ndarray:
    mesh = procedural_mesh(seed, category, instance)
    return mesh.texels[: 256 * 256]


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 99), st.sampled_from(sorted(FAMILIES)), st.integers(0, 999))
def test_every_object_is_sound(seed: int, category: str, instance: int) -> None:
    mesh = procedural_mesh(seed, category, instance)
    assert np.linalg.norm(mesh.extents) == pytest.approx(1, abs=1e-5)
    assert min(mesh.extents) > 0.05
    assert 10 <= len(mesh.faces) <= 8000
    assert np.isfinite(mesh.uv).all()
    assert np.ptp(mesh.uv, axis=0).min() > 0.3
    assert np.linalg.norm(mesh.normals, axis=1) == pytest.approx(1, abs=1e-4)
    assert (mesh.face_texture == 0).all()


@pytest.mark.parametrize("category", sorted(FAMILIES))
def test_faces_wind_outwards(category: str) -> None:
    """The signed volume of a solid is positive; a bowl or a mug is a solid too."""
    for instance in range(3):
        mesh = procedural_mesh(3, category, instance)
        a, b, c = mesh.vertices[mesh.faces].astype(float).swapaxes(0, 1)
        assert (a * np.cross(b, c)).sum() / 6 > 0.002


def test_there_are_at_least_twelve_families() -> None:
    assert len(FAMILIES) >= 12


def test_objects_depend_on_seed_category_and_instance() -> None:
    def look(*key: object) -> bytes:
        mesh = procedural_mesh(*key)  # type: ignore[arg-type]
        return mesh.vertices.tobytes() + mesh.texels.tobytes()

    base = look(0, "vase", 0)
    assert base == look(0, "vase", 0)
    assert len({base, look(1, "vase", 0), look(0, "vase", 1), look(0, "mug", 0)}) == 4


@pytest.mark.parametrize("category", sorted(FAMILIES))
def test_every_third_object_shares_the_shape_before_it_but_not_the_texture(category: str) -> None:
    first, second, third = (procedural_mesh(5, category, i) for i in range(3))
    assert np.array_equal(second.vertices, third.vertices)
    assert not np.array_equal(second.texels, third.texels)
    assert first.vertices.shape != second.vertices.shape or not np.allclose(
        first.vertices, second.vertices
    )


@given(st.integers(0, 9), st.sampled_from(sorted(FAMILIES)), st.integers(0, 10**6))
def test_objects_of_one_shape_never_wear_one_texture(seed: int, category: str, group: int) -> None:
    same_shape = (3 * group + 1, 3 * group + 2)
    first, second = (texture_number(seed, category, i) for i in same_shape)
    assert first != second
    assert 0 <= first < NUM_TEXTURES
    assert 0 <= second < NUM_TEXTURES


def test_one_texture_occurs_on_several_shapes() -> None:
    wearers: dict[int, list[tuple[str, int]]] = {}
    for category in FAMILIES:
        for instance in range(20):
            wearers.setdefault(texture_number(0, category, instance), []).append(
                (category, instance)
            )
    shared = next(objects for objects in wearers.values() if len({c for c, _ in objects}) > 1)
    assert np.array_equal(texture_of(0, *shared[0]), texture_of(0, *shared[-1]))


@pytest.mark.parametrize("pattern", range(len(PATTERNS)))
def test_patterns_are_colourful(pattern: int) -> None:
    for seed in range(5):
        rng = np.random.default_rng(seed)
        texture = PATTERNS[pattern](rng, _palette(rng))
        assert texture.shape == (256, 256, 3)
        assert texture.dtype == np.uint8
        assert texture.reshape(-1, 3).std(axis=0).max() > 15


def test_textures_differ() -> None:
    textures = [make_texture(np.random.default_rng(i)).astype(int) for i in range(30)]
    differences = [np.abs(a - b).mean() for i, a in enumerate(textures) for b in textures[:i]]
    assert min(differences) > 10
