"""The options of `synthesize.py`: their defaults and their ranges."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import tyro

from bridge.common import cli, storage
from bridge.common.errors import InputError
from bridge.common.picture_options import ImageFormat
from bridge.common.record import Count, Share, WholeNumber, check, from_json, to_json
from bridge.common.watch_options import WatchOptions
from bridge.simulator.config import (
    FilterName,
    ImageSide,
    Kind,
    ObjectRule,
    Realism,
    RendererName,
    SimulatorConfig,
    SubframeStep,
)


@dataclass(frozen=True)
class SynthesizeConfig:
    """What to simulate.

    Raises:
        InputError: an option out of its range.
    """

    preset: Literal["paper", "demo"] = "demo"
    """paper: the paper's dataset or distractors. demo: a dataset for two cores."""
    out: str | None = None
    """Folder of the dataset; data/synthetic or data/distractors by default."""
    kind: Kind = "dataset"
    """A dataset (split into train, validation and test) or distractors."""
    meshes: str | None = None
    """Folder of a mesh collection; built-in textured objects by default."""
    objects: ObjectRule = "textured"
    """Which meshes are used: textured (those with textures or vertex colours, as in the paper),
    coloured (also those with materials of visibly different colours) or any."""
    backgrounds: str | None = None
    """Folder of photos, searched recursively; generated backgrounds by default."""
    background_crop: Literal["aspect", "cell"] = "aspect"
    """What is shown of a photo: the largest part that needs no stretching, or one of 3x3 cells,
    stretched, as in the published data."""
    exclude: str | None = None
    """A dataset whose objects are not to be used."""
    categories: Count | None = None
    """Use so many categories, those with the most objects; default: all."""
    objects_per_category: Count | None = None
    """At most so many objects per category; default: 10 built-in ones, or all of a mesh folder."""
    trajectories: Count = 12
    """Trajectories per object, 11 images each."""
    image_size: tuple[ImageSide, ImageSide] = (120, 160)
    """Height and width in pixels."""
    image_format: ImageFormat = "jpeg"
    """Encoding: jpeg (quality 95, full colour resolution), png or webp (both lossless)."""
    renderer: RendererName = "raster"
    """What draws the objects: raster (CPU), gl (OpenGL) or cycles (Blender, as in the paper)."""
    subframe_step: SubframeStep = 1.0
    """Pixels that the fastest point of the object moves between two sub-frames, 0.05 to 4."""
    filter: FilterName = "coverage"
    """Which motions are kept: coverage (the object covers enough of six frames, and similar shares
    of them, as in the published code) or endpoint-iou (its silhouettes at both ends, laid over each
    other, overlap by 20 %, as in the paper's text)."""
    erosion_pixels: Count = 1
    """Pixels that the silhouette loses on each side before blur severity is measured: 1 as in the
    published code, 3 as in the paper's text."""
    realism: tyro.conf.OmitArgPrefixes[Realism] = field(default_factory=Realism)
    seed: WholeNumber = 0
    """Of everything random."""
    trajectories_per_shard: Count = 90
    """Size of a shard; 90 trajectories are 990 images, 25 to 40 MB at 240x320."""
    max_rejected: Share = 0.5
    """Give up when more than this share of the objects or trajectories is unusable."""
    num_cpus: Count | None = None
    """CPUs of the local cluster that is started where none is running; default: all."""
    dry_run: bool = False
    """Only print what would be made and what it would cost."""
    preview: Count | None = None
    """Only draw so many trajectories on a contact sheet, <out>/preview.png."""
    verify: str | None = None
    """Only check this dataset: files, labels, and a sample of it simulated again."""
    watch: tyro.conf.OmitArgPrefixes[WatchOptions] = field(default_factory=WatchOptions)

    def __post_init__(self) -> None:
        check(self)

    @property
    def folder(self) -> str:
        """Absolute path of the dataset."""
        default = "data/synthetic" if self.kind == "dataset" else "data/distractors"
        return storage.absolute(self.out or default)

    @property
    def simulator(self) -> SimulatorConfig:
        """What the simulator has to know."""
        return SimulatorConfig(
            image_size=self.image_size,
            renderer=self.renderer,
            subframe_step=self.subframe_step,
            seed=self.seed,
            background_per_image=self.kind == "distractors",
            filter=self.filter,
            erosion_pixels=self.erosion_pixels,
            realism=self.realism,
        )

    def identity(self) -> dict[str, Any]:
        """The options that decide the rows, as they are read back from a manifest."""
        options = {name: value for name, value in to_json(self).items() if name not in _NO_ROWS}
        for name in ("meshes", "backgrounds", "exclude"):
            options[name] = options[name] and storage.absolute(options[name])
        return options


LATER_OPTIONS: Mapping[str, Any] = {
    "filter": "coverage",
    "erosion_pixels": 1,
    "objects": "textured",
}
"""Options that manifests made before them lack, with what they were then."""

_NO_ROWS = {"preset", "out", "max_rejected", "num_cpus", "dry_run", "preview", "verify", "watch"}
"""Options that change no row."""

PRESETS: dict[str, dict[str, SynthesizeConfig]] = {
    "dataset": {
        "demo": SynthesizeConfig(),
        "paper": SynthesizeConfig(
            preset="paper",
            categories=39,
            objects_per_category=30,
            trajectories=120,
            image_size=(240, 320),
        ),
    },
    "distractors": {
        "demo": SynthesizeConfig(kind="distractors"),
        "paper": SynthesizeConfig(
            preset="paper",
            kind="distractors",
            categories=39,
            objects_per_category=40,
            trajectories=70,
            image_size=(240, 320),
        ),
    },
}


def parse(argv: Sequence[str], description: str | None) -> SynthesizeConfig:
    """Read a command line; `--kind` and `--preset` decide the defaults."""
    kind = cli.given_option("--kind", argv) or "dataset"
    # An unknown kind is for the parser to refuse.
    presets = PRESETS.get(kind, PRESETS["dataset"])
    return cli.parse_with_preset(presets, "demo", description=description, argv=argv)


def from_identity(options: Any) -> SynthesizeConfig | None:
    """The options that a manifest records; None where another command made the dataset."""
    # A damaged manifest may hold anything.
    try:
        recorded = {**LATER_OPTIONS, **options}
        known = {name: recorded[name] for name in SynthesizeConfig().identity()}
        config = from_json(SynthesizeConfig, known, "the manifest")
        check_options(config)
    except (KeyError, TypeError, InputError):
        return None
    return config if config.identity() == known else None


def check_options(config: SynthesizeConfig) -> None:
    """Raise InputError for options that do not go together."""
    if config.preset == "paper" and config.meshes is None and config.verify is None:
        raise InputError("--preset paper needs --meshes: the built-in objects are too few for it.")
