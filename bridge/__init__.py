"""Image retrieval that survives motion blur (ECCV 2024, "Retrieval Robust to Object Motion Blur").

import bridge
model = bridge.load("runs/bridge/model")
descriptors = model.embed(images)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bridge.model.checkpoint import load
    from bridge.model.registry import create_model

    __version__: str

__all__ = ["__version__", "create_model", "load"]


def __getattr__(name: str) -> Any:
    """Resolve the public names on first use: the network's libraries take seconds to import."""
    if name == "load":
        from bridge.model.checkpoint import load

        return load
    if name == "create_model":
        from bridge.model.registry import create_model

        return create_model
    if name == "__version__":
        from importlib.metadata import version

        return version("bridge-retrieval")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
