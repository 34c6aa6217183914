from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.blur import blur_severity
from bridge.dataset.videos.clip import expose
from bridge.dataset.videos.config import VideoConfig
from bridge.dataset.videos.exposures import window
from bridge.dataset.videos.frames import UnusableVideo
from bridge.dataset.videos.layout import Clip
from bridge.dataset.videos.notes import Note
from tests.videos import GREY, SIZE, ball, moving, write_video

CONFIG = VideoConfig(image_size=SIZE, response="linear", most_frames=11)


def clip_of(path: Path, **more: object) -> Clip:
    return replace(Clip(path.name, str(path), "cup", None, 0), **more)  # type: ignore[arg-type]


@pytest.fixture
def clip(tmp_path: Path) -> Clip:
    """41 frames of a square that moves by a pixel each, in the middle of the image at frame 20."""
    return clip_of(write_video(tmp_path / "a.mkv", moving(41, 1, start=12)))


def covered(first: int, last: int) -> np.ndarray:
    """Opacity of the square of `clip` over some frames."""
    frames = [ball(12 + number)[..., 0] > GREY for number in range(first, last + 1)]
    return np.mean(frames, axis=0)


def test_images_and_labels_are_what_was_drawn(clip: Clip) -> None:
    exposed = expose(clip, CONFIG)
    assert exposed.is_steady and exposed.missing == ()
    assert [image.frames for image in exposed.images] == list(range(1, 12))
    for image in exposed.images:
        alpha = covered(*window(20, image.frames))
        expected = GREY + (200 - GREY) * alpha[..., None].repeat(3, 2)
        assert np.abs(image.image - expected).max() <= 0.51
        assert image.blur_severity == pytest.approx(blur_severity(alpha), abs=1e-6)
        rows, columns = np.nonzero(alpha)
        assert image.bbox is not None
        assert image.bbox[0] * SIZE[1] == pytest.approx((columns.min() + columns.max()) / 2)
        assert image.bbox[2] * SIZE[1] == columns.max() - columns.min()
        assert image.motion is not None
        assert image.motion.length == pytest.approx(image.frames - 1)
        assert not image.is_steppy
    # Ten pixels of a way as long as the object is large: half of the exposure.
    assert exposed.images[-1].blur_level == 5 and exposed.images[0].blur_level == 1


def test_light_is_averaged_and_not_display_values(clip: Clip) -> None:
    (one,) = (i for i in expose(clip, replace(CONFIG, response="gamma2.2")).images if i.frames == 2)
    alpha = covered(19, 20)
    edge = one.image[alpha == 0.5]
    light = ((GREY / 255) ** 2.2 + (200 / 255) ** 2.2) / 2
    assert np.abs(edge - 255 * light ** (1 / 2.2)).max() <= 0.51


def test_fast_objects_are_steppy(tmp_path: Path) -> None:
    clip = clip_of(write_video(tmp_path / "a.mkv", moving(21, 2.5, start=6)))
    images = expose(clip, CONFIG).images
    assert [image.is_steppy for image in images] == [False] + [True] * 10


def test_exposures_that_do_not_fit_into_a_short_video_are_left_out(tmp_path: Path) -> None:
    clip = clip_of(write_video(tmp_path / "a.mkv", moving(8, 1, start=20)))
    images = expose(clip, replace(CONFIG, truth="none")).images
    assert [(image.window, image.frames) for image in images] == [(n, n + 1) for n in range(8)]


def test_the_middle_is_where_something_moves(tmp_path: Path) -> None:
    still = np.full((*SIZE, 3), GREY, np.uint8)
    frames = [*[still] * 30, *moving(11, 1, start=20)]
    clip = clip_of(write_video(tmp_path / "a.mkv", frames))
    image = expose(clip, CONFIG).images[0]
    assert (image.image == frames[35]).all()
    assert (expose(clip, replace(CONFIG, truth="none")).images[0].image == still).all()


def test_notes_come_before_what_was_found(clip: Clip) -> None:
    note = Note(centre=15, level=2, levels=((3, 4),))
    images = expose(replace(clip, note=note), CONFIG).images
    assert [image.blur_level for image in images] == [2, 2, 4] + [2] * 8
    assert (images[0].image == ball(27)).all() and images[0].blur_severity == 0
    with pytest.raises(UnusableVideo, match="there is no frame 41 among 41 frames"):
        expose(replace(clip, note=Note(centre=41)), CONFIG)


def test_without_truth_there_are_no_labels_but_noted_ones(clip: Clip) -> None:
    images = expose(clip, replace(CONFIG, truth="none")).images
    assert len(images) == 11
    assert all(i.blur_level is i.bbox is i.blur_severity is i.motion is None for i in images)
    noted = expose(replace(clip, note=Note(level=3)), replace(CONFIG, truth="none")).images
    assert {image.blur_level for image in noted} == {3}


def test_an_object_that_rests_is_told_from_a_clean_plate_alone(tmp_path: Path) -> None:
    clip = clip_of(write_video(tmp_path / "a.mkv", [ball(30)] * 20))
    assert expose(clip, CONFIG).images[0].bbox is None
    plate = tmp_path / "background.png"
    Image.fromarray(np.full((*SIZE, 3), GREY, np.uint8)).save(plate)
    by_plate = replace(CONFIG, truth="plate")
    image = expose(replace(clip, plate=str(plate)), by_plate).images[-1]
    assert image.blur_severity == 0 and image.blur_level == 1
    assert image.bbox == pytest.approx((29.5 / 64, 23.5 / 48, 9 / 64, 9 / 48))


def test_plates_that_do_not_fit_are_refused(clip: Clip, tmp_path: Path) -> None:
    by_plate = replace(CONFIG, truth="plate")
    with pytest.raises(UnusableVideo, match=r"there is no background.png beside it"):
        expose(clip, by_plate)
    (tmp_path / "damaged.png").write_bytes(b"no picture")
    with pytest.raises(UnusableVideo, match="cannot be read"):
        expose(replace(clip, plate=str(tmp_path / "damaged.png")), by_plate)
    Image.fromarray(ball(3)[:30]).save(tmp_path / "small.png")
    with pytest.raises(UnusableVideo, match="another size") as refused:
        expose(replace(clip, plate=str(tmp_path / "small.png")), by_plate)
    assert refused.value.reason == "no_plate"


def test_a_spot_too_small_to_be_eroded_has_no_severity(tmp_path: Path) -> None:
    frames = [np.full((*SIZE, 3), GREY, np.uint8) for _ in range(41)]
    for number, frame in enumerate(frames):
        frame[20:22, 10 + number : 20 + number] = 200
    images = expose(clip_of(write_video(tmp_path / "a.mkv", frames)), CONFIG).images
    assert all(image.blur_severity is None for image in images)
    assert all(image.bbox is not None and image.mean_opacity for image in images)


def test_a_camera_that_moves_gives_images_without_labels(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scene = rng.integers(0, 256, (48, 200, 3)).astype(np.uint8)
    frames = [scene[:, 3 * number : 3 * number + 64] for number in range(30)]
    exposed = expose(clip_of(write_video(tmp_path / "a.mkv", frames)), CONFIG)
    assert not exposed.is_steady and len(exposed.images) == 11
    assert all(image.blur_level is image.bbox is None for image in exposed.images)


def test_nothing_is_averaged_over_a_hole(tmp_path: Path) -> None:
    times = [*range(18), *range(19, 42)]
    path = write_video(tmp_path / "a.mkv", moving(41, 1, start=12), times=times)
    exposed = expose(clip_of(path, note=Note(centre=20)), CONFIG)
    # Something is missing between frames 17 and 18, which exposures of 6 frames and more have.
    assert [image.frames for image in exposed.images] == [1, 2, 3, 4, 5]
    assert exposed.missing == (6, 7, 8, 9, 10, 11)


def test_numbered_pictures_are_frames_too(tmp_path: Path) -> None:
    for number in range(24):
        if number != 9:
            Image.fromarray(ball(12 + number)).save(tmp_path / f"{number:08d}.png")
    config = replace(CONFIG, most_frames=None)
    second = expose(clip_of(tmp_path, start=16, stop=24), config)
    assert [image.frames for image in second.images] == list(range(1, 9))
    assert (second.images[0].image == ball(32)).all()
    first = expose(clip_of(tmp_path, start=8, stop=16), config)
    assert [image.frames for image in first.images] == [1, 2, 3, 4, 5]
    assert first.missing == (6, 7, 8)


def test_large_frames_are_cut_and_made_smaller(tmp_path: Path) -> None:
    frames = [ball(100 + 8 * number, 96, 40, (192, 400)) for number in range(20)]
    clip = clip_of(write_video(tmp_path / "a.mkv", frames))
    images = expose(clip, CONFIG).images
    assert all(image.image.shape == (*SIZE, 3) for image in images)
    # A square of 40 in the middle 192x256 is one of 10 in 48x64.
    assert images[0].motion is not None and images[0].motion.size == pytest.approx(10, abs=0.5)


def test_memory_does_not_grow_with_the_video(tmp_path: Path) -> None:
    def peak(count: int) -> int:
        frames = (ball(12 + number % 40) for number in range(count))
        clip = clip_of(write_video(tmp_path / f"{count}.mkv", frames))
        config = replace(CONFIG, most_frames=count - 10)
        expose(clip, config)
        tracemalloc.start()
        # Another threshold, so that what was looked up before is not.
        expose(clip, replace(config, threshold=0.11))
        highest = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return highest

    assert peak(800) < 1.2 * peak(100) + 300_000
