"""Which images of a DATASET are trained on, and what the labels say of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from bridge.common.errors import InputError
from bridge.dataset.labels import Labels, read_labels
from bridge.dataset.manifest import Manifest
from bridge.dataset.selections import open_selections
from bridge.training.bliss import positions
from bridge.training.recipe import BlurTarget, Recipe

if TYPE_CHECKING:
    from bridge.training.data import TrainingData


@dataclass(frozen=True)
class Selection:
    """Labels of the N training images, and what follows from them and the recipe."""

    labels: Labels
    visibility: np.ndarray
    positions: np.ndarray
    content_hash: str
    """Of the dataset's manifest."""

    def load(self, *, check: bool = True) -> TrainingData:
        """With its pictures, out of the node's cache; `check` as in `open_cache`."""
        # The plan of a training is made without torch, which pictures need.
        from bridge.dataset.cache import open_cache
        from bridge.training.data import TrainingData

        images = open_cache(self.labels, self.content_hash, check=check)
        return TrainingData(self.labels, images, self.visibility, self.positions)


def select_training_images(
    dataset: str,
    manifest: Manifest,
    recipe: Recipe,
) -> Selection:
    """The training selection of a dataset, recorded or balanced (Sec. 5), without its pictures.

    Args:
        dataset: its folder.
        manifest: its manifest.
        recipe: what is selected (`seed`, `sharp_only`), what the blur head learns (`blur_target`)
            and where the images stand in the window of blur (`bliss`).

    Raises:
        InputError: there are no training images, or they lack what is asked for.
    """
    labels = read_labels(dataset, manifest, "train")
    selections = open_selections(dataset, manifest, recipe.seed)
    rows = selections.training_rows(labels, sharp_only=recipe.sharp_only)
    if not len(rows):
        raise InputError(f"{dataset} has no training images of blur levels 1 to 6.")
    selected = labels.take(rows)
    places = positions(selected.blur_level, selected.blur_severity, recipe.bliss)
    visibility = _visibility(dataset, selected, recipe.blur_target)
    return Selection(selected, visibility, places, manifest.content_hash)


def _visibility(dataset: str, labels: Labels, target: BlurTarget) -> np.ndarray:
    if target == "eroded":
        return 1.0 - labels.blur_severity
    if np.isnan(labels.mean_opacity).all():
        raise InputError(
            f"{dataset} was synthesised before the opacity without erosion was kept: it has no "
            "mean_opacity column. Synthesise it again, or use the `blur_target` eroded."
        )
    return labels.mean_opacity
