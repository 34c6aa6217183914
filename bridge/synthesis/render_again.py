"""Whether a DATASET's labels and pixels are right: trajectories rendered again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bridge.common.chance import rng_for
from bridge.common.images import UnreadableImage, decode, encode
from bridge.common.picture_options import ImageFormat
from bridge.dataset.checks import first_of_each
from bridge.dataset.shards import open_shard, read_images
from bridge.simulator import (
    Backgrounds,
    MeshError,
    ObjectEntry,
    ProceduralBackgrounds,
    Sample,
    SimulatorConfig,
    simulate,
)
from bridge.synthesis.shard import renderer_for

SEVERITY_TOLERANCE = 0.002
"""What another graphics driver or processor may change in a blur severity or a mean opacity."""
BOX_TOLERANCE = 1.5
"""The same for a box, in pixels."""
PIXEL_TOLERANCE = 0.5
"""The same for the pixels of an image: mean difference in display values 0..255.

Sub-frames a tenth closer to each other change it by 0.3; neighbouring exposures differ by 0.8 to 5.
"""


@dataclass(frozen=True)
class RenderingReport:
    """What rendering a trajectory of a shard again showed.

    Attributes:
        path: the shard's.
        rendered: False where the object cannot be opened any more.
        compared: the pixels were compared too, not the labels alone.
        problems: what is wrong, a sentence each.
    """

    path: str
    rendered: bool
    compared: bool = False
    problems: tuple[str, ...] = ()


def verify_rendering(
    sample: tuple[ObjectEntry, str],
    dataset: str,
    simulator: SimulatorConfig,
    image_format: ImageFormat,
    backgrounds: Backgrounds | None,
) -> RenderingReport:
    """Render a random trajectory of a shard again and compare its labels and its pixels.

    Args:
        sample: an object, and the path of a shard that holds a trajectory of it.
        dataset: folder of the shard.
        simulator: what the dataset was made with.
        image_format: of the images in the shard.
        backgrounds: what the dataset was made with; None where the photos are gone, so that only
            labels are compared. The same holds for images whose photo is another one now.
    """
    entry, path = sample
    try:
        mesh = entry.load()
    except MeshError:
        return RenderingReport(path, rendered=False)
    number, rows = _random_trajectory(dataset, path, entry.object_id)
    renderer, source = renderer_for(simulator), backgrounds or ProceduralBackgrounds()
    again = {
        image.window: image
        for image in simulate(mesh, entry.object_id, number, simulator, renderer, source)
    }
    problems: list[str] = []
    compared = backgrounds is not None
    for row in rows:
        new = again.get(row["window"])
        if new is None:
            problems.append(f"an image does not come out: {row['image_id']}")
            continue
        problems += _label_differences(row, new, simulator.image_size)
        if new.background_id == row["background_id"]:
            problems += _pixel_differences(row, decode(encode(new.image, image_format)))
        elif backgrounds is None or backgrounds.names:
            compared = False
        else:
            problems.append(f"a background comes out otherwise: that of {row['image_id']}")
    return RenderingReport(path, True, compared, tuple(first_of_each(problems)))


def _random_trajectory(dataset: str, path: str, object_id: str) -> tuple[int, list[dict[str, Any]]]:
    """Number and rows of a trajectory of an object in a shard, with their encoded images."""
    columns = ["image_id", "object_id", "trajectory", "window"]
    columns += ["blur_severity", "mean_opacity", "bbox", "background_id"]
    with open_shard(dataset, path) as shard:
        rows = shard.read(columns=columns).to_pylist()
    numbers = sorted({row["trajectory"] for row in rows if row["object_id"] == object_id})
    number = int(rng_for(0, path, object_id).choice(numbers))
    chosen = [
        i
        for i, row in enumerate(rows)
        if (row["object_id"], row["trajectory"]) == (object_id, number)
    ]
    images = read_images(dataset, path, np.array(chosen))
    return number, [rows[i] | {"image": image} for i, image in zip(chosen, images, strict=True)]


def _label_differences(
    row: Mapping[str, Any], again: Sample, image_size: tuple[int, int]
) -> Iterable[str]:
    name = row["image_id"]
    values = {"blur severity": (row["blur_severity"], again.blur_severity)}
    # Older shards lack this column.
    if "mean_opacity" in row:
        values["mean opacity"] = (row["mean_opacity"], again.mean_opacity)
    for label, (old, new) in values.items():
        if old is None:
            yield f"a {label} is missing: that of {name}"
        elif abs(new - old) > SEVERITY_TOLERANCE:
            yield f"a {label} comes out otherwise: {new:.4f}, not {old:.4f}, of {name}"
    box, tolerance = row["bbox"], BOX_TOLERANCE / min(image_size)
    if box is None:
        yield f"a box is missing: that of {name}"
    elif again.bbox is None or not np.allclose(again.bbox, box, rtol=0, atol=tolerance):
        yield f"a box comes out otherwise: {again.bbox}, not {box}, of {name}"


def _pixel_differences(row: Mapping[str, Any], again: np.ndarray) -> Iterable[str]:
    name = row["image_id"]
    try:
        image = decode(row["image"])
    except UnreadableImage as error:
        yield f"an image does not decode: {name}: {error}"
        return
    if image.shape != again.shape:
        yield f"an image has another size: {name}: {image.shape[0]}x{image.shape[1]}"
        return
    difference = float(np.abs(image.astype(np.int16) - again).mean())
    if difference > PIXEL_TOLERANCE:
        yield f"pixels come out otherwise: by {difference:.1f} of 255 on average in {name}"
