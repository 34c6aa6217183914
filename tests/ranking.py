"""What two rankings of the same descriptors have in common on any machine."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

ROUNDING = 2e-4
"""How much other batches, threads and processors may move a similarity of `make_model`'s network.

Its descriptors differ by some 1e-5, since the mean that was taken off them is some hundred times
what remains; its nearest neighbours are 1e-2 away.
"""


def assert_nearest(
    numbers: ArrayLike, similarities: ArrayLike, products: ArrayLike, rounding: float
) -> None:
    """Rows `numbers` [Q, k] are those of the largest of `products` [Q, N], the largest first.

    Rows that are equally similar but for the rounding may stand in each other's places: sums of
    another order, which depends on processor, library and batch, put them in another one.
    """
    numbers, products = np.atleast_2d(numbers), np.atleast_2d(products)
    own = np.take_along_axis(products, numbers, axis=1)
    best = -np.sort(-products, axis=1)[:, : numbers.shape[1]]
    np.testing.assert_allclose(own, best, rtol=0, atol=rounding)
    np.testing.assert_allclose(np.atleast_2d(similarities), own, rtol=0, atol=rounding)
    assert all(len(set(row)) == len(row) for row in numbers.tolist())
