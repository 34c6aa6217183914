"""Which DATASET a command is asked for, and what there is of it already."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from bridge.common import storage
from bridge.common.identity import refuse_difference
from bridge.dataset.manifest import MANIFEST, Manifest, load_manifest

CATALOGUE = "catalogue"
"""In the config of a manifest: the hash of what lay in the folders that the options name."""
PASSED_OVER = "passed_over"
"""Likewise: how many files there were that are no input, by reason."""


def earlier_manifest(
    folder: str, options: Mapping[str, Any], later: Mapping[str, Any] = MappingProxyType({})
) -> Manifest | None:
    """What an earlier run left of a dataset.

    Args:
        folder: of the dataset.
        options: that decide its rows, as they are read back from a manifest.
        later: options that older manifests lack, with what they were then.

    Raises:
        InputError: it was made with other options.
    """
    if not storage.exists(storage.join(folder, MANIFEST)):
        return None
    manifest = load_manifest(folder)
    recorded = {**later, **manifest.config}
    seen = (CATALOGUE, PASSED_OVER)
    found = {name: value for name, value in recorded.items() if name not in seen}
    refuse_difference(folder, "a dataset made with another configuration", found, options)
    return manifest


def summary(manifest: Manifest) -> str:
    """Counts in one line."""
    parts = [
        f"{split} {counts['rows']:,} images of {counts['objects']:,} objects"
        for split, counts in manifest.counts().items()
    ]
    value = manifest.to_json()
    for title, name in (("left out", "rejected"), ("adjusted", "adjusted")):
        reasons = ", ".join(f"{count} {reason}" for reason, count in value[name].items())
        parts += [f"{title}: {reasons}"] if reasons else []
    return "; ".join(parts)
