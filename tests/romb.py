"""Small sets of the published layout, drawn by the simulator, with the truth of every picture."""

from __future__ import annotations

import io
import json
import zipfile
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
from PIL import Image

from bridge.common.images import encode
from bridge.dataset.schema import image_id
from bridge.simulator import (
    ProceduralBackgrounds,
    Sample,
    SimulatorConfig,
    make_renderer,
    procedural_objects,
    simulate,
)

Generation = Literal["later", "earlier"]
SIZE = (24, 32)
CATEGORIES = ("02691156", "02958343")

BLUR_FILES: Mapping[Generation, tuple[str, str]] = {
    "later": (
        "blur_stats/img_paths_by_blurlevel.json",
        "blur_stats/blur_values_by_blurlevel.npz",
    ),
    "earlier": (
        "erosion/img_paths_erosion_by_blurlevel.json",
        "erosion/avg_alphas_erosion_by_blurlevel.npz",
    ),
}
DISTRACTOR_FILES: Mapping[Generation, tuple[str, str, str]] = {
    "later": ("img_paths.json", "blur_levels.npy", "blur_vals.npy"),
    "earlier": (
        "erosion/img_paths.json",
        "erosion/blur_levels.npy",
        "erosion/alphas_erosion.npy",
    ),
}
TEST_FOLDER: Mapping[Generation, str] = {
    "later": "loader/test",
    "earlier": "loader/test/BL_0_1_2_3_4_5_with_dbv2",
}
PER_LEVEL: Mapping[Generation, str] = {
    "later": "instance_images_perBL_db.npy",
    "earlier": "instance_images_db_v2_mixed.npy",
}


@dataclass(frozen=True)
class Drawn:
    """A picture as the simulator drew it."""

    object_id: str
    trajectory: int
    sample: Sample
    rendered: bytes
    blurred: bytes

    @property
    def image_id(self) -> str:
        return image_id(self.object_id, self.trajectory, self.sample.window)


class _Recorder:
    """A renderer that keeps what it drew last, which the simulator hands on without opacity."""

    def __init__(self, renderer: Any) -> None:
        self._renderer = renderer
        self.layers = np.zeros(0)

    def expose(self, *arguments: Any, **options: Any) -> np.ndarray:
        self.layers = self._renderer.expose(*arguments, **options)
        return self.layers


@cache
def draw(
    objects: int, trajectories: int, *, first: int = 0, categories: tuple[str, ...] = CATEGORIES
) -> dict[str, Drawn]:
    """Pictures by their ids, of `objects` of each category; not to be changed."""
    config = SimulatorConfig(image_size=SIZE, subframe_step=4.0)
    recorder = _Recorder(make_renderer("raster", SIZE, 4.0))
    entries = procedural_objects(objects, 0, first)
    names = sorted({entry.category for entry in entries})
    renamed = dict(zip(names, categories, strict=False))
    found = {}
    for entry in entries:
        if entry.category not in renamed:
            continue
        object_id = f"{renamed[entry.category]}/{entry.object_id.partition('/')[2]}a1f"
        mesh = entry.load()
        for number in range(trajectories):
            samples = simulate(mesh, object_id, number, config, recorder, ProceduralBackgrounds())
            for sample, layer in zip(samples, recorder.layers, strict=False):
                rendered = encode(sample.image, "png")
                drawn = Drawn(object_id, number, sample, rendered, _straight(layer))
                found[drawn.image_id] = drawn
    return found


def _straight(layer: np.ndarray) -> bytes:
    """Straight alpha, 8 bits, as `k_blurred.png` has it."""
    alpha = layer[..., 3:]
    rgb = np.divide(layer[..., :3], alpha, out=np.zeros_like(layer[..., :3]), where=alpha > 0)
    pixels = np.rint(np.concatenate([rgb, alpha], axis=-1).clip(0, 1) * 255).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def write_tree(root: Path, pictures: Iterable[Drawn], *, alpha: bool = True) -> None:
    """The pictures of a synthetic set as loose files."""
    for drawn in pictures:
        folder = root / drawn.object_id / f"{drawn.trajectory:03d}"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{drawn.sample.window}_rendered.png").write_bytes(drawn.rendered)
        if alpha:
            (folder / f"{drawn.sample.window}_blurred.png").write_bytes(drawn.blurred)


def value_of(drawn: Drawn) -> float:
    """The published blur value."""
    return 1 - drawn.sample.blur_severity


def blurred_path(drawn: Drawn, prefix: str = "") -> str:
    return f"{prefix}{drawn.object_id}/{drawn.trajectory:03d}/{drawn.sample.window}_blurred.png"


def rendered_path(name: str, prefix: str) -> str:
    return f"{prefix}{name}_rendered.png"


def write_statistics(
    root: Path, pictures: Iterable[Drawn], generation: Generation = "later", prefix: str = ""
) -> None:
    """Levels and values of a synthetic set as that generation has them, levels from 0."""
    lists: dict[int, list[Drawn]] = defaultdict(list)
    for drawn in pictures:
        lists[drawn.sample.blur_level - 1].append(drawn)
    paths, values = BLUR_FILES[generation]
    by_level = [sorted(lists[level], key=value_of) for level in range(10)]
    write_json(root / "stats" / paths, [[blurred_path(d, prefix) for d in b] for b in by_level])
    target = root / "stats" / values
    np.savez(target, *[np.array([value_of(d) for d in level]) for level in by_level])


def write_distractor_statistics(
    root: Path, pictures: Sequence[Drawn], generation: Generation = "later"
) -> None:
    """Levels and values of distractors."""
    paths, levels, values = (root / "stats" / name for name in DISTRACTOR_FILES[generation])
    write_json(paths, [blurred_path(drawn) for drawn in pictures])
    np.save(levels, np.array([drawn.sample.blur_level - 1 for drawn in pictures]))
    np.save(values, np.array([value_of(drawn) for drawn in pictures]))


def write_split_info(root: Path, splits: Mapping[str, str], prefix: str) -> None:
    """Which objects are in which split."""
    keys = {"train": "train", "validation": "val", "test": "test"}
    info: dict[str, Any] = {"cls_ids": list(CATEGORIES), "num_cls": len(CATEGORIES)}
    for split, key in keys.items():
        names = [f"{prefix}{name}" for name, found in splits.items() if found == split]
        info[f"{key}_instance_folders"] = names
    write_json(root / "stats/loader/data_split_info.json", info)


def write_selection(
    path: Path, pictures: Mapping[str, Drawn], names: Iterable[str], prefix: str, *, plain: bool
) -> None:
    """A pickled dictionary: paths by model, alone or with value, level and class."""
    chosen: dict[str, list[Any]] = defaultdict(list)
    for name in names:
        drawn = pictures[name]
        picture: Any = rendered_path(name, prefix)
        if not plain:
            one_hot = np.zeros(4)
            one_hot[1] = 1
            picture = (picture, value_of(drawn), drawn.sample.blur_level - 1, one_hot)
        chosen[drawn.object_id.rpartition("/")[2]].append(picture)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.array(dict(chosen), dtype=object), allow_pickle=True)


def write_json(path: Path, value: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(value))


def zipped(root: Path, archive: Path, *, method: int = zipfile.ZIP_DEFLATED) -> Path:
    """A tree as an archive that holds the folder itself."""
    with zipfile.ZipFile(archive, "w", method) as file:
        for path in sorted(root.rglob("*")):
            file.write(path, f"{root.name}/{path.relative_to(root)}")
    return archive


def tiny_png(shade: int) -> bytes:
    """A picture of one pixel."""
    return encode(np.full((1, 1, 3), shade % 256, np.uint8), "png")
