from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.simulator.meshes.materials import cut_out, display, find_file, read_picture


def reread(picture: Image.Image, kind: str, **options: object) -> np.ndarray:
    data = io.BytesIO()
    picture.save(data, kind, **options)
    return read_picture(Image.open(data))


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB"])
def test_pictures_of_every_kind_become_rgb(mode: str) -> None:
    picture = Image.new("RGB", (3, 2), (255, 255, 255)).convert(mode)
    pixels = reread(picture, "PNG")
    assert pixels.tolist() == [[[255] * 3] * 3] * 2
    assert pixels.dtype == np.uint8


def test_sixteen_bits_are_reduced_rather_than_clipped() -> None:
    deep = Image.fromarray(np.full((2, 2), 32896, np.uint16))
    assert reread(deep, "PNG").tolist() == [[[128] * 3] * 2] * 2


def test_cmyk_is_converted() -> None:
    picture = Image.new("CMYK", (8, 8), (0, 255, 255, 0))
    assert reread(picture, "JPEG", quality=100)[4, 4] == pytest.approx([255, 0, 0], abs=6)


def test_alpha_is_kept() -> None:
    for mode in ("RGBA", "LA"):
        picture = Image.new("RGBA", (2, 2), (9, 9, 9, 40)).convert(mode)
        assert reread(picture, "PNG").tolist() == [[[9, 9, 9, 40]] * 2] * 2
    palette = Image.new("P", (2, 2), 1)
    palette.putpalette([0, 0, 0, 1, 2, 3])
    assert reread(palette, "PNG", transparency=1).tolist() == [[[1, 2, 3, 0]] * 2] * 2


def test_large_photos_are_decoded_smaller() -> None:
    picture = Image.new("RGB", (4096, 2048), (10, 200, 30))
    pixels = reread(picture, "JPEG")
    assert pixels.shape == (512, 1024, 3)
    assert pixels[0, 0] == pytest.approx([10, 200, 30], abs=4)


@pytest.mark.parametrize(
    ("cutoff", "alpha", "hole"),
    [(0.5, 127, True), (0.5, 128, False), (0.2, 50, True), (0.2, 51, False), (0.9, 229, True)],
)
def test_holes_begin_below_the_cutoff(cutoff: float, alpha: int, hole: bool) -> None:
    texture = np.zeros((1, 3, 4), np.uint8)
    texture[0, :, 3] = 0, 255, alpha
    scaled = cut_out(texture, cutoff)[0, :, 3]
    assert scaled[:2].tolist() == [0, 255 if cutoff <= 0.5 else scaled[1]]
    assert scaled[1] >= 128
    assert (scaled[2] < 128) == hole


def test_what_has_no_holes_or_is_glass_is_drawn_whole() -> None:
    texture = np.full((2, 2, 4), 90, np.uint8)
    assert cut_out(texture).shape == (2, 2, 3)
    assert cut_out(texture, 0.1).shape == (2, 2, 3)
    assert cut_out(texture[..., :3]).shape == (2, 2, 3)
    texture[0, 0, 3] = 0
    assert cut_out(texture, 0).shape == (2, 2, 3)


def test_what_is_missing_in_glass_is_missing() -> None:
    texture = np.full((2, 2, 4), 90, np.uint8)
    texture[0, 0, 3] = 0
    assert cut_out(texture)[..., 3].tolist() == [[0, 255], [255, 255]]


@pytest.mark.parametrize(
    "name",
    [
        "wood.jpg",
        "../images/wood.jpg",
        "..\\images\\wood.jpg",
        "C:\\Users\\me\\Wood.JPG",
        "/home/me/wood.jpg",
        '"wood.jpg"',
    ],
)
@pytest.mark.parametrize("place", ["models", "images", "textures", "materials/textures"])
def test_pictures_are_found_by_their_base_name(tmp_path: Path, place: str, name: str) -> None:
    models = tmp_path / "models"
    models.mkdir()
    (tmp_path / place).mkdir(parents=True, exist_ok=True)
    (tmp_path / place / "wood.jpg").write_bytes(b"")
    found = find_file(models, name)
    assert found is not None
    assert found.samefile(tmp_path / place / "wood.jpg")
    assert find_file(models, "metal.jpg") is None


def test_pictures_of_neighbours_are_not_taken(tmp_path: Path) -> None:
    for name in ("chair", "textures"):
        (tmp_path / name).mkdir()
    (tmp_path / "textures" / "wood.jpg").write_bytes(b"")
    assert find_file(tmp_path / "chair", "wood.jpg") is None


def test_colours_of_any_type_are_linear_light() -> None:
    expected = np.array([0, 0.5 ** (1 / 2.2), 1])
    assert display(np.array([0, 0.5, 1])) == pytest.approx(expected)
    assert display(np.array([0, 128, 255], np.uint8)) == pytest.approx(expected, abs=0.002)
    assert display(np.array([-1.0, 0.5, 7])) == pytest.approx(expected)
