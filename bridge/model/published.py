"""The published weights: the tensor names of the paper's authors, to ours and back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch

from bridge.common.errors import InputError
from bridge.model.config import PAPER
from bridge.model.network import Bridge
from bridge.model.weights import load_exactly

# Prefixes of tensor names: ours, and those of the published checkpoint.
_NAMES = (
    ("backbone.net.conv1.", "blur_encoder.net.0.0."),
    *((f"backbone.net.layer{stage}.", f"blur_encoder.net.{stage}.") for stage in (1, 2, 3, 4)),
    ("heads.cls.gem.", "gem_descriptor.pooling."),
    ("heads.cls.project.", "whitening_p1.0."),
    ("fuse.", "whitening_p2.0."),
    ("classifier.", "classifier."),
    ("heads.blur.gem.", "blur_level_estimation_p1.0.pooling."),
    ("heads.blur.project.", "blur_level_estimation_p1.1."),
    ("heads.blur.hidden.", "blur_level_estimation_p2.0."),
    ("heads.blur.predict.", "blur_level_estimation_p3.0."),
    ("heads.loc.gem.", "loc_predictor_p1.0.pooling."),
    ("heads.loc.project.", "loc_predictor_p1.1."),
    ("heads.loc.hidden.", "loc_predictor_p2.0."),
    ("heads.loc.predict.", "loc_predictor_p3.0."),
)
_TO_OURS = tuple((theirs, ours) for ours, theirs in _NAMES)


def authors_state_dict(model: Bridge) -> dict[str, torch.Tensor]:
    """The weights under the names, and in the order, of the published checkpoint.

    Raises:
        InputError: the network is not the published one (any number of classes will do).
    """
    if model.config != replace(PAPER, num_classes=model.config.num_classes):
        raise InputError("Only the paper's own architecture has the published checkpoint's names.")
    tensors = model.state_dict()
    ordered = sorted(tensors, key=lambda name: _rule(name, _NAMES))
    return {_rename(name, _NAMES): tensors[name] for name in ordered}


def from_authors_state_dict(
    tensors: Mapping[str, torch.Tensor], source: str = "the state dict"
) -> Bridge:
    """The published architecture with these weights; the classifier's may be absent.

    Raises:
        InputError: tensors are missing, unexpected or of another shape.
    """
    ours = {_rename(name, _TO_OURS): value for name, value in tensors.items()}
    weight = ours.get("classifier.weight")
    if weight is None:
        ours.pop("classifier.t", None)
    classes = 0 if weight is None else next(iter(weight.shape), 0)
    model = Bridge(replace(PAPER, num_classes=classes))
    load_exactly(model, ours, source)
    return model


def _rule(name: str, names: tuple[tuple[str, str], ...]) -> int:
    """Which prefix a name has; their number for none."""
    return next((i for i, (old, _) in enumerate(names) if name.startswith(old)), len(names))


def _rename(name: str, names: tuple[tuple[str, str], ...]) -> str:
    rule = _rule(name, names)
    if rule == len(names):
        return name
    old, new = names[rule]
    return new + name.removeprefix(old)
