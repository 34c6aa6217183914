"""Small real datasets for tests: drawn pictures instead of rendered ones, so they take no time."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import trimesh
from PIL import Image

from bridge.common.images import encode
from bridge.dataset.manifest import Manifest, ShardResult
from bridge.dataset.schema import image_id, to_table
from bridge.dataset.selections import SELECTIONS, SELECTIONS_SCHEMA
from bridge.dataset.shards import shard_path, write_shard
from bridge.model.config import BridgeConfig

WINDOWS = 11
SMALL_NETWORK = BridgeConfig(
    backbone="resnet18", image_size=(24, 32), cls_dim=16, aux_dim=8, aux_hidden=8, descriptor_dim=16
)
"""Of trainings that take seconds."""


def picture(number: int, level: int, size: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """An image whose colours tell the object and whose noise grows with the blur level."""
    colours = np.random.default_rng(number).integers(0, 256, (4, 3))
    rows = np.linspace(0, 3.99, size[0]).astype(int)
    flat = np.broadcast_to(colours[rows][:, None], (*size, 3)).astype(float)
    noisy = flat + rng.normal(0, 4 * level, flat.shape)
    return noisy.clip(0, 255).astype(np.uint8)


def make_dataset(
    folder: Path,
    objects: dict[str, int],
    *,
    trajectories: int = 12,
    size: tuple[int, int] = (24, 32),
    first: int = 0,
) -> Manifest:
    """Write a complete dataset with one shard per split.

    Args:
        folder: where.
        objects: number of objects by split.
        trajectories: per object.
        size: (H, W) of the images.
        first: number of the first object, to keep datasets apart.
    """
    manifest = Manifest("dataset", {"made_for": "tests"})
    number = first
    for split, count in objects.items():
        rows = []
        for _ in range(count):
            for trajectory in range(trajectories):
                rows += _rows(number, trajectory, size)
            number += 1
        table = to_table(rows)
        record = write_shard(str(folder), shard_path(split, 0, 1), split, table)
        manifest = manifest.with_shards([ShardResult.of(record, table)])
    manifest = manifest.finished()
    manifest.save(str(folder))
    return manifest


def _rows(number: int, trajectory: int, size: tuple[int, int]) -> list[dict]:
    rng = np.random.default_rng([number, trajectory])
    object_id = f"shape{number % 3}/{number:03d}"
    fastest = int(rng.integers(3, 9))
    rows = []
    for window in range(WINDOWS):
        level = 1 + window * fastest // 10 if window else 1
        name = image_id(object_id, trajectory, window)
        rows.append(
            {
                "image": {
                    "bytes": encode(picture(number, level, size, rng)),
                    "path": f"{name}.jpg",
                },
                "image_id": name,
                "object_id": object_id,
                "category": f"shape{number % 3}",
                "trajectory": trajectory,
                "window": window,
                "blur_severity": (level - 0.5) / 10,
                "blur_level": level,
                "mean_opacity": 0.95 - (level - 0.5) / 10,
                "bbox": (0.5, 0.5, 0.2, 0.2 + level / 20),
                "background_id": "test/0",
            }
        )
    return rows


def write_selections(folder: Path, images: Mapping[str, Iterable[str]]) -> None:
    """Write a dataset's selections.parquet: image ids by role."""
    rows = [(name, role) for role, names in images.items() for name in names]
    columns = {"image_id": [name for name, _ in rows], "role": [role for _, role in rows]}
    pq.write_table(pa.table(columns, schema=SELECTIONS_SCHEMA), folder / SELECTIONS)


def rewrite_shard(
    shard: ShardResult, folder: Path, change: Callable[[list[dict[str, Any]]], object]
) -> ShardResult:
    """The shard with changed rows, which the manifest knows of."""
    rows = pq.read_table(folder / shard.record.path).to_pylist()
    change(rows)
    table = to_table(rows)
    record = write_shard(str(folder), shard.record.path, shard.record.split, table)
    return ShardResult.of(record, table)


def make_unlabelled(folder: Path, split: str = "real", objects: int = 3) -> Manifest:
    """Write a complete dataset of which nothing is known but the images, 22 of each object."""
    (shard,) = make_dataset(folder, {split: objects}, trajectories=2).shards.values()

    def forget(rows: list[dict[str, Any]]) -> None:
        for row in rows:
            row |= dict.fromkeys(("object_id", "category", "blur_level", "blur_severity", "bbox"))

    changed = rewrite_shard(shard, folder, forget)
    manifest = Manifest("photos", {}).with_shards([changed]).finished()
    manifest.save(str(folder))
    return manifest


def without_column(shard: ShardResult, folder: Path, column: str) -> ShardResult:
    """The shard without a column, which the manifest knows of."""
    table = pq.read_table(folder / shard.record.path).drop_columns([column])
    return replace(
        shard, record=write_shard(str(folder), shard.record.path, shard.record.split, table)
    )


def write_photos(folder: Path, *names: str, size: tuple[int, int] = (24, 32)) -> None:
    """Write pictures that differ, of the formats that Pillow takes the names for."""
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        number = int.from_bytes(name.encode()[-8:], "little") % 2**31
        drawn = Image.fromarray(picture(number, 1, size, np.random.default_rng(number)))
        kinds = {".png": "PNG", ".gif": "GIF", ".webp": "WEBP"}
        drawn.save(path, kinds.get(path.suffix.lower(), "JPEG"))


def make_meshes(folder: Path, objects: dict[str, int], seed: int = 0) -> None:
    """Write textured boxes as `<category>/<number>.glb`, each with proportions of its own."""
    rng = np.random.default_rng(seed)
    for category, count in objects.items():
        (folder / category).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            textured_box(rng).export(folder / category / f"{number:03d}.glb")


def textured_box(rng: np.random.Generator) -> trimesh.Trimesh:
    """A box with four-coloured faces."""
    corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) / 2
    face = np.column_stack([corners, np.full(4, 0.5)])
    turns = [trimesh.transformations.rotation_matrix(a, [0, 1, 0]) for a in (0, 1.5708, 3.1416)]
    turns += [trimesh.transformations.rotation_matrix(a, [1, 0, 0]) for a in (-1.5708, 1.5708)]
    turns.append(trimesh.transformations.rotation_matrix(-1.5708, [0, 1, 0]))
    vertices = np.concatenate([trimesh.transform_points(face, turn) for turn in turns])
    faces = np.concatenate(
        [[[4 * i, 4 * i + 1, 4 * i + 2], [4 * i, 4 * i + 2, 4 * i + 3]] for i in range(6)]
    )
    texture = rng.integers(0, 256, (2, 2, 3)).astype(np.uint8).repeat(16, 0).repeat(16, 1)
    visual = trimesh.visual.TextureVisuals(
        uv=np.tile(corners + 0.5, (6, 1)), image=Image.fromarray(texture)
    )
    return trimesh.Trimesh(vertices * rng.uniform(0.7, 1.0, 3), faces, visual=visual, process=False)


def dying_blender(folder: Path, deaths: int) -> Path:
    """An interpreter for the cycles renderer that ends at its first `deaths` requests in all.

    Those that follow it answers with images of nothing.
    """
    script, count = folder / "blender", folder / "deaths"
    count.write_text("0")
    script.write_text(
        f"""#!{sys.executable}
import io, os, sys
from multiprocessing.connection import Connection
from dataclasses import replace
from pathlib import Path
import numpy as np

connection, count = Connection(int(sys.argv[3])), Path({str(count)!r})

def send(**arrays):
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    connection.send_bytes(buffer.getvalue())

send(version=np.array("none"))
while True:
    try:
        request = np.load(io.BytesIO(connection.recv_bytes()))
    except EOFError:
        break
    dead = int(count.read_text())
    if dead < {deaths}:
        count.write_text(str(dead + 1))
        os._exit(9)
    send(images=np.zeros((len(request["windows"]), *request["size"], 4), np.float32))
"""
    )
    script.chmod(0o755)
    return script
