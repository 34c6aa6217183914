"""Which images of a DATASET are trained on, and what the labels say of them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

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
    recipe: Recipe
    """The one that was asked for, less the losses that no image has labels for."""
    left_out: tuple[str, ...] = ()
    """Names of these losses."""

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
    unknown = {"blur": np.isnan(visibility), "localisation": np.isnan(selected.bbox).any(axis=1)}
    left_out = [n for n, nan in unknown.items() if nan.all() and getattr(recipe.loss, n)]
    without: dict[str, Any] = dict.fromkeys(left_out, 0.0)
    recipe = replace(recipe, loss=replace(recipe.loss, **without))
    content = manifest.content_hash
    return Selection(selected, visibility, places, content, recipe, tuple(left_out))


def _visibility(dataset: str, labels: Labels, target: BlurTarget) -> np.ndarray:
    if target == "eroded":
        return 1.0 - labels.blur_severity
    if np.isnan(labels.mean_opacity).all():
        raise InputError(
            f"{dataset} tells no opacity without erosion (mean_opacity), as it is older than that "
            "or was imported without: use the `blur_target` eroded, or make it again."
        )
    return labels.mean_opacity
