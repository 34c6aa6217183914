"""Image retrieval that survives motion blur (ECCV 2024, "Retrieval Robust to Object Motion Blur").

import bridge
model = bridge.load("runs/bridge/model")
descriptors = model.embed(images)
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.model.checkpoint import load
    from bridge.model.registry import create_model

    __version__: str

__all__ = ["__version__", "create_model", "load"]


_resolve = names_in(__name__, {"model.checkpoint": ("load",), "model.registry": ("create_model",)})


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("bridge-retrieval")
    return _resolve(name)
