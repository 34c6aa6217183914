"""The baselines as data. Nothing here needs torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from annotated_types import Ge, Lt

from bridge.common.errors import InputError
from bridge.common.record import Count, WholeNumber
from bridge.model.config import MethodName, ModelConfig, Norm

Rate = Annotated[float, Ge(0), Lt(1)]
"""Probability with which something is dropped in training."""


@dataclass(frozen=True)
class BaselineConfig(ModelConfig):
    """What the three share: an ordinary pretrained backbone, and ArcFace as in the comparison.

    Raises:
        InputError: a size that is not positive.
    """

    norm: Norm = "batch"
    """What becomes of BatchNorm: ordinary (batch, the baselines' own), with frozen statistics, or
    removed as in BRIDGE (none, folded)."""
    stem_pool: bool = True
    """Keep the max-pooling of torchvision's ResNets; BRIDGE removes it."""
    imagenet_norm: bool = True
    """Subtract ImageNet's mean and divide by its standard deviation."""
    classifier: Literal["curricular", "arcface"] = "arcface"
    """ArcFace (Eq. 10), or CurricularFace, which the public code of DOLG has."""


@dataclass(frozen=True)
class DelgConfig(BaselineConfig):
    """DELG's global descriptor: GeM and one linear layer.

    Raises:
        InputError: a size that is not positive.
    """

    method: ClassVar[MethodName] = "delg"
    origin: ClassVar[str] = (
        'The global descriptor of "Unifying Deep Local and Global Features for Image Search", '
        "ECCV 2020, trained on single images."
    )

    gem_learned: bool = False
    """Learn the power of GeM, which starts at 3; ArcFace tends to drive it to 1."""
    deblur: bool = False
    """Deblur pictures, by a classical method, before they are described; not those that train."""


@dataclass(frozen=True)
class DolgConfig(BaselineConfig):
    """DOLG: the part of local features that is orthogonal to the global one, beside the latter.

    Raises:
        InputError: a size that is not positive.
    """

    method: ClassVar[MethodName] = "dolg"
    origin: ClassVar[str] = (
        'The network of "DOLG: Single-Stage Image Retrieval with Deep Orthogonal Fusion of Local '
        'and Global Features", ICCV 2021, trained on single images.'
    )

    gem_learned: bool = False
    """Learn the power of GeM, which starts at 3; ArcFace tends to drive it to 1."""
    multi_atrous: bool = True
    """The dilated convolutions of the paper; the released code and weights come without."""
    dilation: WholeNumber = 0
    """Of the first dilated convolution; the others have twice and three times as much. 6: the
    paper's, for a local map of 32x32; 0: as much of it as the map has of 32."""
    local_dim: WholeNumber = 0
    """Numbers of each half, local and global; 0: as many as the local map has channels."""

    @property
    def batch_statistics(self) -> bool:
        """The attention has a BatchNorm of its own."""
        return True


@dataclass(frozen=True)
class TokenConfig(BaselineConfig):
    """Token: a few learned queries that gather what the places of the map show.

    Raises:
        InputError: a size that is not positive, or a width that does not divide into heads.
    """

    method: ClassVar[MethodName] = "token"
    origin: ClassVar[str] = (
        'The network of "Learning Token-Based Representation for Image Retrieval", AAAI 2022, '
        "trained on single images."
    )

    width: Count = 1024
    """Numbers of a token."""
    tokens: Count = 4
    """Tokens; the descriptor is a linear map of all of them."""
    attention_heads: Count = 8
    """Of every attention; their number divides the width."""
    encoder_blocks: WholeNumber = 1
    """Blocks of attention among the places of the map."""
    refinements: WholeNumber = 2
    """Blocks in which the tokens attend to the map and to each other."""
    tokeniser: Literal["query", "scaled", "conv"] = "query"
    """query: learned queries, a softmax over the tokens, a sum over the places (the released code).
    scaled: the same with logits divided by the root of the width. conv: logits by a convolution
    and a weighted mean over the places, whose size does not matter then (the paper)."""
    dropout: Rate = 0.1
    """Of attention, of hidden units, and of whole branches; 0 for trainings of under 5 epochs."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.width % self.attention_heads:
            raise InputError(
                f"The `width` {self.width} does not divide into {self.attention_heads} "
                "`attention_heads`."
            )

    @property
    def batch_statistics(self) -> bool:
        """Map, encoder and descriptor have BatchNorms of their own."""
        return True


@dataclass(frozen=True)
class PretrainedConfig(ModelConfig):
    """GeM over the map of a pretrained backbone, and nothing that is trained.

    Raises:
        InputError: a classifier is asked for.
    """

    method: ClassVar[MethodName] = "pretrained"
    origin: ClassVar[str] = "GeM pooling of a pretrained backbone, without any training."

    norm: Norm = "frozen"
    """What becomes of BatchNorm; its pretrained statistics (frozen) are part of the features."""
    stem_pool: bool = True
    """Keep the max-pooling of torchvision's ResNets, with which they were pretrained."""
    imagenet_norm: bool = True
    """Subtract ImageNet's mean and divide by its standard deviation."""
    descriptor_dim: WholeNumber = 0  # type: ignore[assignment]
    """d: the channels of the backbone's map, which 0 stands for."""
    num_classes: WholeNumber = 0
    """0: there is nothing to train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_classes(self)


@dataclass(frozen=True)
class HistogramConfig(ModelConfig):
    """How often each colour occurs, and nothing that is trained.

    Raises:
        InputError: a classifier or another backbone is asked for, or another size than the bins
            give.
    """

    method: ClassVar[MethodName] = "histogram"
    origin: ClassVar[str] = "A histogram of colours, without any training."

    backbone: str = "pixels"
    """The picture as it is."""
    bins: Annotated[int, Ge(2)] = 8
    """Of red, green and blue each."""
    descriptor_dim: WholeNumber = 0  # type: ignore[assignment]
    """d: the bins of all three together, their number to the third, which 0 stands for."""
    num_classes: WholeNumber = 0
    """0: there is nothing to train."""

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_classes(self)
        if self.backbone != "pixels":
            raise InputError(
                f"The method histogram has the `backbone` pixels, not {self.backbone}."
            )
        if self.imagenet_norm:
            raise InputError("The method histogram has no `imagenet_norm`: bins divide 0..1.")


def _refuse_classes(config: ModelConfig) -> None:
    if config.num_classes:
        raise InputError(f"The method {config.method} has nothing to train: `num_classes` is 0.")
