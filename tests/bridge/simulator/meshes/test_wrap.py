from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.simulator.meshes.mipmaps import MAX_TEXTURE_SIDE
from bridge.simulator.meshes.wrap import MAX_TILES, Wrap, WrappedTexture

FACE = np.array([[0, 1, 2]])
PICTURE = np.arange(6 * 8 * 3, dtype=np.uint8).reshape(6, 8, 3)


def repeated(texture: np.ndarray, u: float, v: float) -> list[int]:
    """The texel that a renderer finds: the texture repeats, v points up."""
    height, width = texture.shape[:2]
    column, row = int(np.floor(u * width)) % width, int(np.floor((1 - v) * height)) % height
    return texture[row, column].tolist()


def wrapped(value: float, size: int, mode: Wrap) -> int:
    """The column of a texture as the standard says, or the row counted from below."""
    place = int(np.floor(value * size))
    if mode == "clamp":
        return min(max(place, 0), size - 1)
    if mode == "mirror":
        place %= 2 * size
        return min(place, 2 * size - 1 - place)
    return place % size


# Middles of texels, where nothing hangs on rounding.
WHOLE = st.integers(-40, 40)


@settings(deadline=None)
@given(
    st.lists(st.tuples(WHOLE, WHOLE), min_size=3, max_size=3),
    st.tuples(*[st.sampled_from(["repeat", "mirror", "clamp"])] * 2),
)
def test_every_corner_shows_the_texel_of_the_standard(
    places: list[tuple[int, int]], modes: tuple[Wrap, Wrap]
) -> None:
    uv = (np.array(places) + 0.5) / [8, 6]
    texture, found = WrappedTexture(PICTURE, modes).repeating(uv, FACE)
    for (u, v), (x, y) in zip(uv, found, strict=True):
        column, row = wrapped(u, 8, modes[0]), wrapped(v, 6, modes[1])
        assert repeated(texture, x, y) == PICTURE[5 - row, column].tolist()


def test_coordinates_between_corners_keep_their_proportions() -> None:
    uv = np.array([[-1.0, 0.5], [2.0, 0.5], [0.5, 0.5]])
    _, found = WrappedTexture(PICTURE, ("clamp", "clamp")).repeating(uv, FACE)
    assert found[2, 0] == pytest.approx(found[:2, 0].mean())


@pytest.mark.parametrize("mode", ["mirror", "clamp"])
def test_what_stays_within_its_texture_is_not_touched(mode: Wrap) -> None:
    uv = np.array([[0.0, 0], [1, 1 + 0.4 / 6], [1, 0], [7, 7], [np.nan, 0]])
    texture, found = WrappedTexture(PICTURE, (mode, mode)).repeating(uv, FACE)
    assert texture is PICTURE
    assert found is uv


def test_repeating_textures_are_not_touched() -> None:
    uv = np.array([[-3.0, 0], [9, 4], [1, 0]])
    texture, found = WrappedTexture(PICTURE).repeating(uv, FACE)
    assert texture is PICTURE
    assert found is uv


def test_surfaces_of_one_texture_share_what_is_packed() -> None:
    shared = WrappedTexture(PICTURE, ("clamp", "repeat"))
    uv = np.array([[-0.9, 0], [1.6, 4], [1, 0]])
    first, _ = shared.repeating(uv, FACE)
    second, _ = shared.repeating(uv + [0.05, 3], FACE)
    assert first is second


@pytest.mark.parametrize("mode", ["mirror", "clamp"])
def test_large_textures_stay_within_bounds(mode: Wrap) -> None:
    picture = np.zeros((MAX_TEXTURE_SIDE, 16, 4), np.uint8)
    picture[: MAX_TEXTURE_SIDE // 2] = 255
    uv = np.array([[0.5, -1e30], [0.5, 0.25], [0.5, 0.75]])
    texture, found = WrappedTexture(picture, ("repeat", mode)).repeating(uv, FACE)
    assert texture.shape[0] <= MAX_TEXTURE_SIDE + 2
    assert texture.shape[1:] == (16, 4)
    assert repeated(texture, *found[1]) == [0] * 4
    assert repeated(texture, *found[2]) == [255] * 4
    if mode == "clamp":
        assert repeated(texture, *found[0]) == [0] * 4


def test_coarse_versions_of_an_edge_show_the_edge() -> None:
    picture = np.zeros((64, 64, 3), np.uint8)
    picture[:, 32:] = 255
    uv = np.array([[0.5, 0.5], [1.5, 0.5], [1.5, 0.6]])
    texture, found = WrappedTexture(picture, ("clamp", "clamp")).repeating(uv, FACE)
    end = round(found[1, 0] * texture.shape[1])
    # An eighth of the resolution still has whole texels of the edge alone beyond the corner.
    assert (texture[:, end - 8 : end + 8] == 255).all()


def test_far_coordinates_are_drawn_in() -> None:
    uv = np.array([[-1000.0, 0], [0.25, 0], [0.5, 0.5]])
    texture, found = WrappedTexture(PICTURE, ("clamp", "clamp")).repeating(uv, FACE)
    assert texture.shape[1] == pytest.approx((MAX_TILES + 1) * 8, abs=5)
    assert 0 < found[0, 0] < 0.02
