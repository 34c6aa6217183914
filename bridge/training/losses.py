"""Training objectives (Sec. 3.3, Eq. 7-12).

Where the paper and the code that produced its numbers differ, the defaults are the code's and
the docstrings say so.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F

from bridge.model.classifiers import ArcFace, CurricularFace
from bridge.training.bliss import WINDOW_TOLERANCE
from bridge.training.recipe import BlissConfig, LossConfig


@dataclass(frozen=True)
class LossInputs:
    """Predictions and labels of the B = T*S images of T tuples, query first, in tuple order.

    Attributes:
        descriptors: float [B, d].
        visibility: float [B], predicted 1 - BS; None where the network does not tell.
        box: float [B, 4], predicted cx, cy, w, h; None where it does not.
        objects: int64 [B], class indices.
        positions: float [B], places in the BLISS window: blur levels, or ten times the severity.
        true_visibility: float [B], 1 - BS, NaN where unknown.
        true_box: float [B, 4], NaN where unknown.
        supervised: bool [B], images that the classification, blur and localisation losses see.
        valid: bool [B]; the others are padding or unreadable and contribute nothing.
        tuple_size: S = 1 + N_p + N_n.
    """

    descriptors: torch.Tensor
    visibility: torch.Tensor | None
    box: torch.Tensor | None
    objects: torch.Tensor
    positions: torch.Tensor
    true_visibility: torch.Tensor
    true_box: torch.Tensor
    supervised: torch.Tensor
    valid: torch.Tensor
    tuple_size: int


def joint_loss(
    inputs: LossInputs,
    classifier: ArcFace | CurricularFace | None,
    config: LossConfig,
    bliss: BlissConfig,
) -> dict[str, torch.Tensor]:
    """The weighted sum of the losses (Eq. 12).

    Returns:
        The scalar parts `contrastive`, `classification`, `blur` and `localisation` without their
        weights, and `total`. A part whose weight is 0, or whose head the network lacks, is absent.

    Raises:
        ValueError: no part is left.
    """
    seen = inputs.supervised & inputs.valid
    parts: dict[str, torch.Tensor] = {}
    if config.contrastive:
        parts["contrastive"] = _contrastive(inputs, config, bliss)
    if config.classification and classifier is not None:
        objects = inputs.objects[seen]
        logits = classifier(inputs.descriptors[seen], objects)
        # The mean over no image at all would not be a number.
        errors = F.cross_entropy(logits, objects, reduction="sum")
        parts["classification"] = errors / max(len(objects), 1)
    if config.blur and inputs.visibility is not None:
        parts["blur"] = blur_loss(inputs.visibility[seen], inputs.true_visibility[seen])
    if config.localisation and inputs.box is not None:
        parts["localisation"] = localisation_loss(inputs.box[seen], inputs.true_box[seen])
    if not parts:
        raise ValueError("No loss has both a weight and a head to train.")
    weighted = [getattr(config, name) * value for name, value in parts.items()]
    return parts | {"total": torch.stack(weighted).sum()}


def _contrastive(inputs: LossInputs, config: LossConfig, bliss: BlissConfig) -> torch.Tensor:
    if config.pairs == "tuple":
        shape = (-1, inputs.tuple_size)
        tuples, valid = inputs.descriptors.unflatten(0, shape), inputs.valid.unflatten(0, shape)
        return contrastive_tuples(tuples, bliss.num_positives, config.margin, valid)
    return contrastive_batch(
        inputs.descriptors,
        inputs.objects,
        inputs.positions,
        bliss.contrastive_range,
        config.margin,
        config.batch_negatives,
        inputs.valid,
    )


def contrastive_tuples(
    descriptors: torch.Tensor,
    num_positives: int,
    margin: float = 0.7,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Eq. 11 between each query and its samples.

    Args:
        descriptors: float [T, 1 + N_p + N_n, d]: query, positives, negatives.
        num_positives: N_p.
        margin: tau.
        valid: bool [T, 1 + N_p + N_n]; pairs with another image are left out. None: all are.

    Returns:
        Scalar: the sum over the pairs of a tuple, averaged over the T tuples (with a valid query).
        The published code adds the tuples up instead; its gradient is T times this one, in the
        same direction.

    Raises:
        ValueError: the shape is another, or there are fewer samples than positives.
    """
    if descriptors.ndim != 3 or not 0 <= num_positives < descriptors.shape[1]:
        raise ValueError(
            f"{num_positives} positives do not fit tuples of shape {list(descriptors.shape)}."
        )
    # The reference's offset, without which equal descriptors have no gradient.
    distances = (descriptors[:, :1] - descriptors[:, 1:] + 1e-9).square().sum(dim=-1).sqrt()
    positive = torch.arange(distances.shape[1], device=descriptors.device) < num_positives
    losses = torch.where(
        positive, distances.square(), (margin - distances).clamp(min=0).square()
    ).mul(0.5)
    if valid is None:
        return losses.sum(dim=1).mean()
    counted = valid[:, :1] & valid[:, 1:]
    return torch.where(counted, losses, 0.0).sum() / valid[:, 0].sum().clamp(min=1)


def contrastive_batch(
    descriptors: torch.Tensor,
    labels: torch.Tensor,
    positions: torch.Tensor | None = None,
    contrastive_range: float = 5,
    margin: float = 0.7,
    negatives: float = 32.0,
    valid: torch.Tensor | None = None,
) -> torch.Tensor:
    """Eq. 11 between any two images of a batch: every image is an anchor.

    Eq. 11 adds up the few pairs of a tuple. A batch of B images has some B^2 / 2 negative pairs but
    only about B positive ones, so a sum over them would outweigh the other losses of Eq. 12, and
    its negatives its positives, the more so the larger the batch. Means over each kind of pair do
    not depend on the size of the batch.

    Args:
        descriptors: float [B, d].
        labels: int [B]; equal labels make a positive pair.
        positions: float [B], places in the window of blur levels; pairs further apart than
            `contrastive_range` are left out. None: all pairs count.
        contrastive_range: r of Sec. 3.2.
        margin: tau.
        negatives: how many negatives the mean over the negative pairs stands for; the mean over
            the positive ones stands for one.
        valid: bool [B]; pairs with another image are left out. None: all count.

    Returns:
        Scalar: the mean loss of the positive pairs, plus `negatives` times that of the negative
        ones; a kind without pairs adds 0.
    """
    counted = torch.ones(len(descriptors), len(descriptors), device=descriptors.device)
    counted = counted.bool().triu(diagonal=1)
    if valid is not None:
        counted &= valid[:, None] & valid
    if positions is not None:
        counted &= (positions[:, None] - positions).abs() <= contrastive_range + WINDOW_TOLERANCE
    # Products of matrices: the differences of all pairs would take B * B * d numbers.
    norms = descriptors.square().sum(dim=1)
    squares = (norms[:, None] + norms - 2 * descriptors @ descriptors.T).clamp(min=0)
    distances = squares.clamp(min=1e-12).sqrt()
    same = labels[:, None] == labels
    apart = (margin - distances).clamp(min=0).square()
    return 0.5 * (_mean(squares, counted & same) + negatives * _mean(apart, counted & ~same))


def _mean(values: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """Over the values that count; 0 where none does."""
    return torch.where(counted, values, 0.0).sum() / counted.sum().clamp(min=1)


def blur_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Eq. 7, averaged over the images whose blur severity is known.

    Args:
        predicted: float [B], p.
        target: float [B], 1 - BS, NaN where unknown.

    Returns:
        Scalar; 0 with zero gradient where no target is known.
    """
    return _mean_absolute(predicted[:, None], target[:, None])


def localisation_loss(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Eq. 8 divided by 4, averaged over the images whose box is known.

    The published code takes the mean of the four differences, where the paper writes their sum;
    the published weight of 10 belongs to the mean.

    Args:
        predicted: float [B, 4], cx, cy, w, h in [0, 1].
        target: float [B, 4], NaN where unknown.

    Returns:
        Scalar; 0 with zero gradient where no target is known.
    """
    return _mean_absolute(predicted, target)


def _mean_absolute(predicted: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Mean over the rows without NaN."""
    known = ~target.isnan().any(dim=1, keepdim=True)
    errors = torch.where(known, predicted - target, 0.0).abs()
    return errors.sum() / (known.sum().clamp(min=1) * predicted.shape[1])
