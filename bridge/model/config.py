"""Architectures as data: what every method has, and what BRIDGE adds (Sec. 3.1).

Nothing here needs torch, so that commands can read their options before it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal, get_args

from bridge.common.errors import InputError
from bridge.common.record import Count, NonNegative, Positive, WholeNumber, check

Norm = Literal["none", "folded", "frozen", "batch"]
TrainedName = Literal["bridge", "delg", "dolg", "token"]
UntrainedName = Literal["pretrained", "histogram"]
MethodName = TrainedName | UntrainedName
HeadName = Literal["cls", "blur", "loc"]
Prediction = Literal["visibility", "box"]

Precision = Literal["float32", "bfloat16"]

ExportFormat = Literal["onnx", "torchscript", "authors", "safetensors"]
"""In which the backbone computes; pooling, norms and descriptors are float32 in any case."""

HEADS: tuple[HeadName, ...] = get_args(HeadName)
"""All heads of BRIDGE, in the order in which their features are concatenated."""
PREDICTIONS: dict[HeadName, Prediction] = {"blur": "visibility", "loc": "box"}
"""What a head of BRIDGE says about an image besides its share of the descriptor."""


@dataclass(frozen=True)
class ModelConfig:
    """What every method has: an encoder, a descriptor, and a classifier in training.

    Raises:
        InputError: a size that is not positive.
    """

    method: ClassVar[MethodName]
    origin: ClassVar[str] = ""
    """Where the method comes from, for the model card."""

    backbone: str = "resnet50"
    """resnet18 .. resnet152 (torchvision), else the name of a convolutional network of timm."""
    image_size: tuple[Count, Count] = (240, 320)
    """Height and width to which `embed` brings images."""
    norm: Norm = "none"
    """What becomes of BatchNorm: removed (none, the paper's), removed with its effect kept in the
    convolutions (folded), with frozen statistics, or ordinary (batch)."""
    stem_pool: bool = False
    """Keep the max-pooling of torchvision's ResNets: a quarter of the cost, half the resolution."""
    imagenet_norm: bool = False
    """Subtract ImageNet's mean and divide by its standard deviation; the paper only scales."""
    descriptor_dim: Count = 128
    """d."""
    num_classes: WholeNumber = 792
    """N: training objects; 0 leaves the classifier out."""
    classifier: Literal["curricular", "arcface"] = "curricular"
    """CurricularFace (behind the published numbers) or ArcFace (the paper's Eq. 10)."""
    arcface_margin: NonNegative = 0.15
    """m of Eq. 10, radians."""
    arcface_scale: Positive = 30.0
    """gamma of Eq. 9."""

    def __post_init__(self) -> None:
        check(self)

    @property
    def predictions(self) -> frozenset[Prediction]:
        """What the method says about an image besides its descriptor."""
        return frozenset()

    @property
    def batch_statistics(self) -> bool:
        """Whether the images of a batch are normalised together in training."""
        return self.norm == "batch"


@dataclass(frozen=True)
class BridgeConfig(ModelConfig):
    """The network of Fig. 2. The defaults are the paper's.

    Raises:
        InputError: no heads, unknown ones or another order, or a size that is not positive.
    """

    method: ClassVar[MethodName] = "bridge"
    origin: ClassVar[str] = 'Trained as in "Retrieval Robust to Object Motion Blur", ECCV 2024.'

    heads: tuple[HeadName, ...] = HEADS
    """Heads whose features make the descriptor."""
    cls_dim: Count = 2048
    """C_c: features of the classification head."""
    aux_dim: Count = 1024
    """C_b and C_l: features of the blur estimation and localisation heads."""
    aux_hidden: Count = 256
    """Hidden units between those features and the prediction."""

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.heads or self.heads != tuple(h for h in HEADS if h in self.heads):
            raise InputError(
                f"`heads` must be one or more of {' '.join(HEADS)} in this order, not "
                f"{' '.join(self.heads) or 'none'}."
            )

    @property
    def predictions(self) -> frozenset[Prediction]:
        """What the heads are trained on, but for the classification head."""
        return frozenset(PREDICTIONS[head] for head in self.heads if head in PREDICTIONS)


PAPER = BridgeConfig()
QUICK = BridgeConfig(
    backbone="tf_efficientnet_lite0",
    image_size=(60, 80),
    norm="folded",
    imagenet_norm=True,
    cls_dim=512,
    aux_dim=256,
)
"""For two CPU cores; meant to start from ImageNet weights."""
