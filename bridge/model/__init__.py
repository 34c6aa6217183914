"""The MODEL: network, backbones, weights in and out, and embedding (Sec. 3.1)."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.model.checkpoint import load, save_model
    from bridge.model.embedding import embed_encoded
    from bridge.model.network import Bridge, ModelConfig

__all__ = ["Bridge", "ModelConfig", "embed_encoded", "load", "save_model"]

__getattr__ = names_in(
    __name__,
    {
        "checkpoint": ("load", "save_model"),
        "embedding": ("embed_encoded",),
        "network": ("Bridge", "ModelConfig"),
    },
)
