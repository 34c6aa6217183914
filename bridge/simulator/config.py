"""What can be chosen of a simulation, as data.

Nothing here needs NumPy, so that commands can read their options before it is imported.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Le

from bridge.common.record import Count, WholeNumber, check

Kind = Literal["dataset", "distractors"]
RendererName = Literal["raster", "gl", "cycles"]
FilterName = Literal["coverage", "endpoint-iou"]
ObjectRule = Literal["textured", "coloured", "any"]
"""What the colours of an object must be for it to be used: see `load_mesh`."""

ImageSide = Annotated[int, Ge(16), Le(4096)]
"""Pixels along one side of an image."""
SubframeStep = Annotated[float, Ge(0.05), Le(4)]
"""Pixels that the fastest point of the object moves between two sub-frames."""


@dataclass(frozen=True)
class Realism:
    """Deviations from the published generator, towards real photos.

    Raises:
        InputError: one is out of its range.
    """

    curved: bool = False
    """Objects move along curves, with acceleration and uneven turns, instead of straight lines."""
    varied_light: bool = False
    """Ambient light, main lamp and a second lamp are drawn for each trajectory."""
    linear_blur: bool = False
    """Average over the exposure, and mix with the background, in linear light (Eq. 3 with
    intensities), as sensors do, instead of in display values."""
    sensor_noise: Annotated[float, Ge(0), Le(50)] = 0.0
    """Shot and read noise: its standard deviation at mid-grey in display values 0..255, at
    most 50."""
    jpeg_artefacts: bool = False
    """Each image has been through JPEG at a random quality of 25..85 before it is stored."""

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class SimulatorConfig:
    """Everything besides object and background that decides the pixels.

    Attributes:
        image_size: (H, W) in pixels.
        renderer: a name that `make_renderer` knows.
        subframe_step: pixels that the fastest point of the object moves between two sub-frames.
        tries: motions drawn for a trajectory before it is given up.
        seed: of the whole dataset.
        background_per_image: one background per image instead of one per trajectory.
        filter: which motions are kept, by the rule of the published code ("coverage") or of the
            paper's text ("endpoint-iou"); see `filters`.
        erosion_pixels: what the silhouette loses on each side before blur severity is the mean
            over it (`blur.blur_value`): 1 in the published code, 3 in the paper's text. Where it
            loses everything, as thin objects do in small images, blur severity is 1.
        realism: what differs from the published generator.

    Raises:
        InputError: one is out of its range.
    """

    image_size: tuple[ImageSide, ImageSide] = (240, 320)
    renderer: RendererName = "raster"
    subframe_step: SubframeStep = 1.0
    tries: Count = 5
    seed: WholeNumber = 0
    background_per_image: bool = False
    filter: FilterName = "coverage"
    erosion_pixels: Count = 1
    realism: Realism = field(default_factory=Realism)

    def __post_init__(self) -> None:
        check(self)
