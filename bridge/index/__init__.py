"""The INDEX: its folder, its types, and searching it."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.index.folder import IndexManifest, open_index_manifest, read_descriptors
    from bridge.index.search import build_index, open_search_index
    from bridge.index.searcher import Searcher

__all__ = [
    "IndexManifest",
    "Searcher",
    "build_index",
    "open_index_manifest",
    "open_search_index",
    "read_descriptors",
]

__getattr__ = names_in(
    __name__,
    {
        "folder": ("IndexManifest", "open_index_manifest", "read_descriptors"),
        "search": ("build_index", "open_search_index"),
        "searcher": ("Searcher",),
    },
)
