"""The DATASET: schema, shards, manifest, labels, selections, checks and the node's cache."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.dataset.labels import Labels, read_labels
    from bridge.dataset.manifest import Manifest, load_manifest, open_manifest
    from bridge.dataset.splits import queries_and_database, split_objects, training_rows

__all__ = [
    "Labels",
    "Manifest",
    "load_manifest",
    "open_manifest",
    "queries_and_database",
    "read_labels",
    "split_objects",
    "training_rows",
]

__getattr__ = names_in(
    __name__,
    {
        "labels": ("Labels", "read_labels"),
        "manifest": ("Manifest", "load_manifest", "open_manifest"),
        "splits": ("queries_and_database", "split_objects", "training_rows"),
    },
)
