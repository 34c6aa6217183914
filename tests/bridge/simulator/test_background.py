from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.common.errors import InputError
from bridge.common.images import decode
from bridge.simulator.background import (
    PhotoBackgrounds,
    ProceduralBackgrounds,
    crop_aspect,
    crop_cell,
    procedural_background,
)


def photos(folder: Path, count: int, size: tuple[int, int] = (40, 30)) -> None:
    for i in range(count):
        path = folder / f"group{i % 3}" / f"{i:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, (i, 2 * i, 255 - i)).save(path)


def draw(source: PhotoBackgrounds, count: int, seed: int = 0) -> list[str]:
    rng = np.random.default_rng(seed)
    return [source.sample(rng, (24, 32)).background_id for _ in range(count)]


def test_the_two_kinds_share_no_photo_and_leave_none_out(tmp_path: Path) -> None:
    photos(tmp_path, 40)
    dataset = set(draw(PhotoBackgrounds(tmp_path, "dataset"), 400))
    distractors = set(draw(PhotoBackgrounds(tmp_path, "distractors"), 400))
    assert not dataset & distractors
    assert len(dataset | distractors) == 40


def test_a_single_photo_serves_both_kinds(tmp_path: Path) -> None:
    photos(tmp_path, 1)
    for subset in ("dataset", "distractors"):
        assert draw(PhotoBackgrounds(tmp_path, subset), 2) == ["group0/000.png"] * 2


def test_the_name_leads_to_the_pixels(tmp_path: Path) -> None:
    photos(tmp_path, 10)
    background = PhotoBackgrounds(tmp_path, "dataset").sample(np.random.default_rng(0), (24, 32))
    number = int(Path(background.background_id).stem)
    assert background.pixels.shape == (24, 32, 3)
    assert (background.pixels == [number, 2 * number, 255 - number]).all()


def test_crops_are_not_stretched_and_vary() -> None:
    height, width = 60, 200
    photo = np.zeros((height, width, 3), np.uint8)
    photo[..., 0] = np.arange(width)
    photo[..., 1] = np.arange(height)[:, None]
    lefts = []
    for seed in range(20):
        part = crop_aspect(photo, np.random.default_rng(seed), (30, 40)).astype(float)
        # 30 x 40 pixels show 60 x 80: two photo pixels per pixel in both directions.
        assert np.diff(part[15, 5:35, 0]).mean() == pytest.approx(2, abs=0.1)
        assert np.diff(part[5:25, 20, 1]).mean() == pytest.approx(2, abs=0.1)
        lefts.append(part[15, 0, 0])
    assert min(lefts) < 30
    assert max(lefts) > 90


def test_cells_are_ninths_of_a_square_stretched_to_the_image() -> None:
    photo = np.zeros((256, 256, 3), np.uint8)
    row, column = np.indices((256, 256))
    photo[..., 0], photo[..., 1] = column, row
    corners = set()
    for seed in range(60):
        part = crop_cell(photo, np.random.default_rng(seed), (240, 320)).astype(int)
        assert part.shape == (240, 320, 3)
        left, top = part[0, 0, :2]
        corners.add((left, top))
        assert part[0, -1, 0] - left == pytest.approx(84, abs=1)
        assert part[-1, 0, 1] - top == pytest.approx(84, abs=1)
    assert corners == {(85 * i, 85 * j) for i in range(3) for j in range(3)}


def test_cells_of_oblong_photos_come_from_all_over() -> None:
    photo = np.broadcast_to(np.arange(240, dtype=np.uint8)[:, None, None], (240, 60, 3))
    tops, heights = [], []
    for seed in range(100):
        part = crop_cell(photo, np.random.default_rng(seed), (30, 40)).astype(int)
        tops.append(part[0, 0, 0])
        heights.append(part[-1, 0, 0] - tops[-1])
    assert min(tops) < 20
    assert max(tops) > 190
    assert set(heights) <= {18, 19}


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (3, 2)])
def test_cells_of_tiny_photos(size: tuple[int, int]) -> None:
    photo = np.full((*size, 3), 7, np.uint8)
    for seed in range(10):
        assert (crop_cell(photo, np.random.default_rng(seed), (16, 20)) == 7).all()


def test_the_two_crops_take_the_same_photos(tmp_path: Path) -> None:
    photos(tmp_path, 40)
    aspect, cell = (PhotoBackgrounds(tmp_path, "dataset", crop) for crop in ("aspect", "cell"))
    for seed in range(10):
        assert draw(aspect, 1, seed) == draw(cell, 1, seed)


def test_large_photos_are_decoded_at_reduced_size(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    coarse = Image.fromarray(rng.integers(0, 256, (24, 32, 3), dtype=np.uint8))
    whole = coarse.resize((1600, 1200), Image.Resampling.BICUBIC)
    path = tmp_path / "large.jpg"
    whole.save(path, quality=95)
    data = path.read_bytes()
    assert decode(data, at_least=(1200, 1600)).shape == (1200, 1600, 3)
    assert decode(data, at_least=(601, 600)).shape == (1200, 1600, 3)
    assert decode(data, at_least=(600, 800)).shape == (600, 800, 3)
    assert decode(data, at_least=(160, 160)).shape == (300, 400, 3)
    # At least twice the pixels of the image remain, also for a cell of a ninth.
    small = PhotoBackgrounds(tmp_path, "dataset").sample(np.random.default_rng(0), (120, 160))
    expected = np.asarray(whole.resize((160, 120), Image.Resampling.BICUBIC))
    assert np.abs(small.pixels.astype(int) - expected).mean() < 2
    cell = PhotoBackgrounds(tmp_path, "dataset", "cell")
    pixels = cell.sample(np.random.default_rng(0), (120, 160)).pixels
    assert pixels.shape == (120, 160, 3)


def test_damaged_photos_are_noted_and_skipped(tmp_path: Path) -> None:
    photos(tmp_path, 12)
    damaged = sorted(tmp_path.rglob("*.png"))[::3]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:40])
    source = PhotoBackgrounds(tmp_path, "dataset")
    used = set(draw(source, 200))
    names = {path.relative_to(tmp_path).as_posix() for path in damaged}
    assert not used & names
    assert source.rejected
    assert set(source.rejected) <= names
    assert all(why and "0x" not in why for why in source.rejected.values())


def test_a_folder_of_damaged_photos_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(b"no")
    with pytest.raises(InputError, match=r"could not be read, e\.g\. a\.jpg: Unidentified"):
        draw(PhotoBackgrounds(tmp_path, "dataset"), 1)


def test_missing_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        PhotoBackgrounds(tmp_path / "absent", "dataset")
    with pytest.raises(InputError, match=r"holds no photo \(\.jpg, .*\.tif.*\)\.$"):
        PhotoBackgrounds(tmp_path, "dataset")
    (tmp_path / "a.heic").touch()
    (tmp_path / "._b.jpg").touch()
    expected = r"passed over: 1 hidden, 1 of other types \(\.heic\)\.$"
    with pytest.raises(InputError, match=expected):
        PhotoBackgrounds(tmp_path, "dataset")


def test_what_else_a_folder_holds_is_told(tmp_path: Path) -> None:
    photos(tmp_path, 4)
    (tmp_path / "loop").symlink_to(".")
    (tmp_path / "__MACOSX").mkdir()
    (tmp_path / "__MACOSX" / "000.png").touch()
    with open(bytes(tmp_path) + b"/caf\xe9.png", "wb"):
        pass
    source = PhotoBackgrounds(tmp_path, "dataset")
    other = PhotoBackgrounds(tmp_path, "distractors")
    assert len({*source.names, *other.names}) == 4
    assert source.passed_over == (
        "1 hidden, 1 linked folders that are there already, 1 with a name that cannot be printed"
    )


@pytest.mark.parametrize("kind", ["turned", "deep", "transparent"])
def test_photos_are_read_as_queries_are(tmp_path: Path, kind: str) -> None:
    rows, columns = np.mgrid[0:30, 0:40]
    grey = (rows * 4 + columns * 3).astype(np.uint8)
    exif = Image.Exif()
    if kind == "turned":
        exif[0x0112] = 6
        picture = Image.fromarray(np.rot90(grey))
    elif kind == "deep":
        picture = Image.fromarray(grey.astype(np.uint16) * 257)
    else:
        alpha = np.where(grey < 255, 255, 0).astype(np.uint8)
        picture = Image.merge("LA", (Image.fromarray(grey), Image.fromarray(alpha)))
    picture.save(tmp_path / "a.png", exif=exif)
    for subset in ("dataset", "distractors"):
        found = PhotoBackgrounds(tmp_path, subset).sample(np.random.default_rng(0), (30, 40))
        assert (found.pixels == grey[..., None]).all()


def test_sources_travel_to_other_processes(tmp_path: Path) -> None:
    photos(tmp_path, 10)
    for source in (PhotoBackgrounds(tmp_path, "dataset"), ProceduralBackgrounds()):
        copy = pickle.loads(pickle.dumps(source))
        one, other = (s.sample(np.random.default_rng(3), (24, 32)) for s in (source, copy))
        assert one.background_id == other.background_id
        assert (one.pixels == other.pixels).all()


def test_procedural_backgrounds_look_like_something() -> None:
    pictures = [
        procedural_background(np.random.default_rng(i), (48, 64)).astype(float) for i in range(20)
    ]
    for picture in pictures:
        assert picture.shape == (48, 64, 3)
        assert picture.std(axis=(0, 1)).mean() > 12
        near = np.abs(np.diff(picture, axis=1)).mean()
        far = np.abs(picture[:, 32:] - picture[:, :32]).mean()
        assert near < 0.6 * far
    assert min(np.abs(a - b).mean() for a, b in zip(pictures, pictures[1:], strict=False)) > 15


def test_kinds_are_told_apart_wherever_the_search_begins(tmp_path: Path) -> None:
    (tmp_path / "photos").mkdir()
    for number in range(8):
        Image.new("RGB", (8, 6)).save(tmp_path / "photos" / f"{number}.png")
    outer = PhotoBackgrounds(tmp_path, "dataset")
    inner = PhotoBackgrounds(tmp_path / "photos", "distractors")
    assert not {Path(name).name for name in outer.names} & set(inner.names)
    assert len(outer.names) + len(inner.names) == 8
    assert not outer.shared and len(outer.sizes()) == len(outer.names)


def test_one_photo_is_shared_and_that_is_told(tmp_path: Path) -> None:
    Image.new("RGB", (8, 6)).save(tmp_path / "one.png")
    sources = [PhotoBackgrounds(tmp_path, kind) for kind in ("dataset", "distractors")]
    assert sorted(source.shared for source in sources) == [False, True]


def test_real_photos(shared_assets: Path) -> None:
    source = PhotoBackgrounds(shared_assets / "backgrounds", "distractors")
    assert len(set(draw(source, 10))) > 5
    assert not source.rejected
