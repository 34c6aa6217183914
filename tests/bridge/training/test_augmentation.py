"""Augmentation: what it draws, and that labels stay true."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bridge.common.errors import InputError
from bridge.training.augmentation import Augmentation, augment, uniform

HEIGHT, WIDTH = 60, 80


def block(left: int, top: int, width: int, height: int) -> tuple[torch.Tensor, torch.Tensor]:
    """A white block on black, and its box as `bounding_box` gives it."""
    image = torch.zeros(3, HEIGHT, WIDTH)
    image[:, top : top + height, left : left + width] = 1
    centre = (left + (width - 1) / 2) / WIDTH, (top + (height - 1) / 2) / HEIGHT
    return image, torch.tensor([*centre, (width - 1) / WIDTH, (height - 1) / HEIGHT])


def box_of(image: torch.Tensor) -> torch.Tensor:
    mask = image[0] > 0.5
    rows, columns = mask.any(dim=1).nonzero(), mask.any(dim=0).nonzero()
    (top, bottom), (left, right) = rows.aminmax(), columns.aminmax()
    box = [(left + right) / 2 / WIDTH, (top + bottom) / 2 / HEIGHT]
    return torch.tensor([*box, (right - left) / WIDTH, (bottom - top) / HEIGHT])


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 50),
    st.integers(0, 40),
    st.integers(4, 30),
    st.integers(4, 20),
    st.integers(0, 2**40),
)
def test_the_box_moves_with_the_object(
    left: int, top: int, width: int, height: int, key: int
) -> None:
    """Within two pixels: one of the box's convention, one of resampling."""
    image, box = block(left, top, width, height)
    config = Augmentation(flip=0.5, crop=0.4)
    images, boxes = augment(image[None], box[None], torch.tensor([key]), config)
    assert images.shape == (1, 3, HEIGHT, WIDTH)
    assert ((boxes[0] - box_of(images[0])).abs() <= 2 / torch.tensor([80, 60, 80, 60])).all()


def test_the_whole_object_stays() -> None:
    """The area of a block grows with the square of the zoom and never loses a side."""
    image, box = block(60, 40, 20, 20)
    keys = torch.arange(200)
    images, boxes = augment(
        image.expand(200, -1, -1, -1), box.expand(200, -1), keys, Augmentation(crop=0.5)
    )
    area = images[:, 0].sum(dim=(1, 2)) / 400
    zoom = boxes[:, 2] / box[2]
    torch.testing.assert_close(area, zoom.square(), rtol=0.08, atol=0)
    assert zoom.max() > 1.5 and zoom.min() < 1.1


def test_probabilities_and_strengths() -> None:
    image, box = block(10, 10, 8, 8)
    count = 2000
    images = (0.2 + 0.5 * image).expand(count, -1, -1, -1)
    boxes = box.expand(count, -1)
    mirrored = augment(images, boxes, torch.arange(count), Augmentation(flip=0.3))[1]
    assert (mirrored[:, 0] > 0.5).float().mean().item() == pytest.approx(0.3, abs=0.04)
    coloured = augment(images, boxes, torch.arange(count), Augmentation(colour=0.2))[0]
    brightness = coloured.mean(dim=(1, 2, 3)) / images[0].mean()
    assert brightness.min() == pytest.approx(0.8, abs=0.02)
    assert brightness.max() == pytest.approx(1.2, abs=0.02)
    assert coloured.min() >= 0 and coloured.max() <= 1


def test_draws_follow_from_the_keys() -> None:
    images, boxes = torch.rand(6, 3, HEIGHT, WIDTH), torch.rand(6, 4) / 2
    config = Augmentation(flip=0.5, crop=0.3, colour=0.3)
    keys = torch.tensor([5, 1, 2, 3, 4, 5])
    whole = augment(images, boxes, keys, config)
    part = augment(images[2:4], boxes[2:4], keys[2:4], config)
    torch.testing.assert_close(whole[0][2:4], part[0], rtol=0, atol=0)
    torch.testing.assert_close(whole[1][2:4], part[1], rtol=0, atol=0)
    same = augment(images[:1].expand(6, -1, -1, -1), boxes[:1].expand(6, -1), keys, config)[0]
    assert torch.equal(same[0], same[5]) and not torch.equal(same[0], same[1])


def test_nothing_asked_for_changes_nothing() -> None:
    images, boxes = torch.rand(2, 3, HEIGHT, WIDTH), torch.rand(2, 4)
    given_back = augment(images, boxes, torch.arange(2), Augmentation())
    assert given_back[0] is images and given_back[1] is boxes


def test_unknown_boxes_stay_unknown_and_are_not_cropped() -> None:
    images = torch.rand(1, 3, HEIGHT, WIDTH)
    boxes = torch.full((1, 4), float("nan"))
    moved, still = augment(images, boxes, torch.tensor([3]), Augmentation(crop=0.5))
    assert still.isnan().all()
    torch.testing.assert_close(moved, images, rtol=0, atol=1e-4)


def test_keys_give_independent_uniform_numbers() -> None:
    numbers = uniform(torch.arange(20_000) * 7 + (3 << 40), 7)
    assert ((numbers >= 0) & (numbers < 1)).all()
    assert (numbers.mean(dim=0) - 0.5).abs().max() < 0.01
    correlation = torch.corrcoef(numbers.T) - torch.eye(7)
    assert correlation.abs().max() < 0.03
    neighbours = torch.corrcoef(torch.stack([numbers[:-1, 0], numbers[1:, 0]]))[0, 1]
    assert abs(neighbours) < 0.03


@pytest.mark.parametrize("change", [{"flip": 1.5}, {"crop": -0.1}, {"colour": 2.0}])
def test_strengths_out_of_range(change: dict) -> None:
    with pytest.raises(InputError, match=next(iter(change))):
        Augmentation(**change)
