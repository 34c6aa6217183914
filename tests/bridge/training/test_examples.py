from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from bridge.model.config import BridgeConfig, HeadName
from bridge.model.network import Bridge
from bridge.training.data import Batch
from bridge.training.examples import (
    CELL_WIDTH,
    EMPTY,
    GAP,
    LINE,
    MARGIN,
    PREDICTED_BOX,
    TRUE_BOX,
    draw_examples,
)

SIZE = (24, 32)
CELL = (CELL_WIDTH * SIZE[0] // SIZE[1], CELL_WIDTH)
GREY = 90


def model(heads: tuple[HeadName, ...] = ("cls", "blur", "loc")) -> Bridge:
    torch.manual_seed(0)
    sizes = {"cls_dim": 16, "aux_dim": 8, "aux_hidden": 8, "descriptor_dim": 16}
    return Bridge(BridgeConfig("resnet18", SIZE, heads=heads, num_classes=3, **sizes))  # type: ignore[arg-type]


def batch(tuples: int = 2, samples: int = 3) -> Batch:
    count = tuples * samples
    return Batch(
        images=torch.full((count, 3, *SIZE), GREY, dtype=torch.uint8),
        objects=torch.tensor([0, 0, 1] * tuples),
        positions=torch.full((count,), 3.0),
        levels=torch.full((count,), 3),
        visibility=torch.full((count,), 0.72),
        boxes=torch.tensor([0.25, 0.25, 0.3, 0.3]).repeat(count, 1),
        valid=torch.ones(count, dtype=torch.bool),
        rows=torch.arange(count),
        tuple_size=samples,
    )


def cell(sheet: np.ndarray, row: int, column: int) -> np.ndarray:
    """The image there and, below it, its captions."""
    top = MARGIN + LINE + GAP + row * (CELL[0] + 2 * LINE + 2 * GAP)
    left = MARGIN + column * (CELL[1] + GAP)
    return sheet[top : top + CELL[0] + 2 * LINE, left : left + CELL[1]]


def has(picture: np.ndarray, colour: tuple[int, int, int]) -> bool:
    return bool((picture == colour).all(axis=-1).any())


def test_a_row_for_each_tuple_with_boxes_where_they_are() -> None:
    sheet = draw_examples(model(), batch())
    assert sheet.dtype == np.uint8
    assert sheet.shape[1] == 2 * MARGIN + 3 * CELL[1] + 2 * GAP
    for row, column in np.ndindex(2, 3):
        image = cell(sheet, row, column)[: CELL[0]]
        assert has(image, PREDICTED_BOX)
        rows, columns = np.nonzero((image == TRUE_BOX).all(axis=-1))
        # cx = cy = 0.25 and w = h = 0.3 of 200 x 150 pixels.
        assert (columns.min(), columns.max()) == pytest.approx((20, 80), abs=1)
        assert (rows.min(), rows.max()) == pytest.approx((15, 60), abs=1)
        assert (image[-10:, -10:] == GREY).all()


def test_what_is_not_known_is_left_out() -> None:
    nan = float("nan")
    unknown = replace(batch(), boxes=torch.full((6, 4), nan), visibility=torch.full((6,), nan))
    unknown.levels[:] = 0
    known, image = (cell(draw_examples(model(), b), 0, 0) for b in (batch(), unknown))
    assert has(image, PREDICTED_BOX) and not has(image, TRUE_BOX)
    ink = [(part[CELL[0] :] < 200).sum() for part in (known, image)]
    assert 0 < ink[1] < ink[0]


def test_networks_without_heads_for_box_and_blur() -> None:
    image = cell(draw_examples(model(("cls",)), batch()), 1, 2)
    assert has(image, TRUE_BOX) and not has(image, PREDICTED_BOX)


def test_an_image_that_is_not_valid_stays_blank() -> None:
    padded = batch()
    padded.valid[5] = False
    sheet = draw_examples(model(), padded)
    assert (cell(sheet, 1, 2)[: CELL[0]] == EMPTY).all()
    assert (cell(sheet, 1, 2)[CELL[0] :] == 255).all()
    assert has(cell(sheet, 1, 1), TRUE_BOX)


def test_drawing_changes_nothing_in_the_network() -> None:
    network = model().train()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    draw_examples(network, batch())
    assert network.training and network.classifier.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0)
