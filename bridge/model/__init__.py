"""The MODEL: methods, backbones, weights in and out, and embedding (Sec. 3.1)."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.model.checkpoint import load, save_model
    from bridge.model.config import BridgeConfig, ModelConfig
    from bridge.model.embedding import embed_encoded
    from bridge.model.method import Description, RetrievalModel
    from bridge.model.network import Bridge
    from bridge.model.registry import METHODS, create_model

__all__ = [
    "METHODS",
    "Bridge",
    "BridgeConfig",
    "Description",
    "ModelConfig",
    "RetrievalModel",
    "create_model",
    "embed_encoded",
    "load",
    "save_model",
]

__getattr__ = names_in(
    __name__,
    {
        "checkpoint": ("load", "save_model"),
        "config": ("BridgeConfig", "ModelConfig"),
        "embedding": ("embed_encoded",),
        "method": ("Description", "RetrievalModel"),
        "network": ("Bridge",),
        "registry": ("METHODS", "create_model"),
    },
)
