from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.simulator.meshes.mipmaps import has_holes, pack_textures


@given(st.integers(1, 70), st.integers(1, 70), st.integers(0, 5))
def test_texture_versions_halve_down_to_one_texel(height: int, width: int, seed: int) -> None:
    texture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    texels, mips = pack_textures([texture, np.zeros((1, 1, 3), np.uint8)])
    assert (texels[: height * width, :3].reshape(texture.shape) == texture).all()
    assert (texels[:, 3] == 255).all()
    for finer, coarser in zip(mips[0][:-1], mips[0][1:], strict=True):
        assert coarser[1:].tolist() == [max(finer[1] // 2, 1), max(finer[2] // 2, 1)]
        assert coarser[0] == finer[0] + finer[1] * finer[2]
    assert mips[0, -1, 1:].tolist() == [1, 1]
    assert (mips[1, :, 1:] == 1).all()
    assert mips[1, 0, 0] + 1 == len(texels)


def test_large_textures_are_reduced() -> None:
    _, mips = pack_textures([np.zeros((1500, 3000, 3), np.uint8)])
    assert mips[0, 0, 1:].tolist() == [512, 1024]


def test_no_texture_at_all() -> None:
    texels, mips = pack_textures([])
    assert texels.shape == (0, 4)
    assert mips.shape == (0, 1, 3)


@pytest.mark.parametrize("size", [(8, 8), (7, 13), (1, 5)])
def test_what_is_transparent_gets_the_colour_beside_it(size: tuple[int, int]) -> None:
    texture = np.zeros((*size, 4), np.uint8)
    texture[:, : size[1] // 2] = [200, 100, 50, 255]
    texels, mips = pack_textures([texture])
    first = texels[: size[0] * size[1]].reshape(texture.shape)
    assert (first[..., 3] == texture[..., 3]).all()
    assert (np.abs(texels[:, :3].astype(int) - [200, 100, 50]) <= 2).all()


def test_holes_begin_below_half_opacity() -> None:
    texture = np.full((2, 2, 4), 128, np.uint8)
    assert not has_holes(texture)
    assert not has_holes(texture[..., :3])
    assert not has_holes(None)
    texture[0, 0, 3] = 127
    assert has_holes(texture)
