"""The DATASET: schema, shards, manifest, labels, selections, checks and the node's cache."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.dataset.labels import Labels, read_labels
    from bridge.dataset.manifest import Manifest, load_manifest, open_manifest
    from bridge.dataset.selections import Selections, open_selections, selections_of
    from bridge.dataset.splits import queries_and_database, split_objects, training_rows

__all__ = [
    "Labels",
    "Manifest",
    "Selections",
    "load_manifest",
    "open_manifest",
    "open_selections",
    "queries_and_database",
    "read_labels",
    "selections_of",
    "split_objects",
    "training_rows",
]

__getattr__ = names_in(
    __name__,
    {
        "labels": ("Labels", "read_labels"),
        "manifest": ("Manifest", "load_manifest", "open_manifest"),
        "selections": ("Selections", "open_selections", "selections_of"),
        "splits": ("queries_and_database", "split_objects", "training_rows"),
    },
)
