from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.surface import MeshError

SQUARE = """v -1 -1 0
v 1 -1 0
v 1 1 0
v -1 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
"""
FACE = "f 1/1 2/2 3/3 4/4\n"
RED, GREEN = (255, 0, 0), (0, 255, 0)


def picture(path: Path, *colour: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGBA" if len(colour) == 4 else "RGB", (4, 4), colour).save(path)


def written(folder: Path, mtl: str, faces: str = "usemtl a\n" + FACE, head: str = SQUARE) -> Path:
    (folder / "a.mtl").write_text(mtl)
    (folder / "a.obj").write_text(f"mtllib a.mtl\n{head}{faces}")
    return folder / "a.obj"


def test_every_material_keeps_its_own_colour(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", *RED)
    picture(tmp_path / "green.png", *GREEN)
    path = written(
        tmp_path,
        "newmtl a\nKd 0 0 0\nmap_Kd red.png\nnewmtl b\nKd 0 0 1\nnewmtl c d\n\tmap_Kd green.png\n",
        "".join(f"usemtl {name}\n{FACE}" for name in ("a", "b", "c d", "a")),
    )
    mesh = load_mesh(path)
    counts = Counter(mesh.face_texture.tolist())
    assert sorted(counts.values()) == [2, 2, 4]
    assert counts[-1] == 2
    for row, n in counts.items():
        colour = [0, 0, 1] if row < 0 else [1, 1, 1]
        assert mesh.tint[mesh.faces[mesh.face_texture == row]] == pytest.approx(
            np.broadcast_to(colour, (n, 3, 3))
        )
        if row >= 0:
            texel = mesh.texels[mesh.mips[row, 0, 0], :3].tolist()
            assert texel == list(RED if n == 4 else GREEN)
    assert mesh.adjusted == ()


def test_textures_of_a_shapenet_model_are_found(tmp_path: Path) -> None:
    models = tmp_path / "models"
    models.mkdir()
    picture(tmp_path / "images" / "texture0.jpg", *RED)
    mesh = load_mesh(written(models, "newmtl a\nmap_Kd ../images/texture0.jpg\n"))
    assert mesh.face_texture.tolist() == [0, 0]


def test_missing_and_damaged_textures_are_recorded(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", *RED)
    (tmp_path / "bad.png").write_bytes(b"not a picture")
    mtl = "newmtl a\nmap_Kd red.png\nnewmtl b\nKd 0 1 0\nmap_Kd gone.png\n"
    mtl += "newmtl c\nmap_Kd bad.png\nnewmtl unused\nmap_Kd other.png\n"
    faces = "".join(f"usemtl {name}\n{FACE}" for name in "abc")
    mesh = load_mesh(written(tmp_path, mtl, faces))
    assert {reason for reason, _ in mesh.adjusted} == {"missing_texture"}
    assert sorted(detail for _, detail in mesh.adjusted) == ["bad.png", "gone.png"]
    plain = mesh.tint[np.unique(mesh.faces[mesh.face_texture < 0])]
    assert sorted(plain.round(3).tolist())[0] == [0, 1, 0]


def test_a_missing_material_file_is_recorded(tmp_path: Path) -> None:
    path = written(tmp_path, "")
    (tmp_path / "a.mtl").unlink()
    with pytest.raises(MeshError, match=r"no_texture: .*missing_material: a\.mtl"):
        load_mesh(path)


def test_several_material_files(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", *RED)
    (tmp_path / "b.mtl").write_text("newmtl b\nmap_Kd red.png\n")
    path = written(tmp_path, "newmtl a\nKd 1 1 1\n", f"usemtl a\n{FACE}usemtl b\n{FACE}")
    for line in ("mtllib a.mtl b.mtl", "mtllib a.mtl\nmtllib b.mtl"):
        path.write_text(path.read_text().replace("mtllib a.mtl", line, 1))
        assert sorted(load_mesh(path).face_texture.tolist()) == [-1, -1, 0, 0]


@pytest.mark.parametrize("kind", ["map_d", "map_d of alpha", "alpha of map_Kd"])
def test_opacity_becomes_holes(tmp_path: Path, kind: str) -> None:
    alpha = np.zeros((8, 8), np.uint8)
    alpha[:4] = 255
    colour = np.full((8, 8, 4), 200, np.uint8)
    colour[..., 3] = alpha if kind.startswith("alpha") else 255
    Image.fromarray(colour).save(tmp_path / "leaf.png")
    mask = Image.fromarray(alpha)
    if kind == "map_d of alpha":
        mask = Image.merge("LA", (Image.new("L", (8, 8), 9), mask))
    mask.save(tmp_path / "mask.png")
    mtl = "newmtl a\nmap_Kd leaf.png\n" + ("map_d mask.png\n" if "map_d" in kind else "")
    mesh = load_mesh(written(tmp_path, mtl))
    assert mesh.face_cutout.all()
    assert not mesh.face_one_sided.any()
    assert mesh.texels[:64, 3].reshape(8, 8).tolist() == alpha.tolist()


def test_options_of_a_map(tmp_path: Path) -> None:
    picture(tmp_path / "dark wood 2.png", *RED)
    mtl = "newmtl a\nmap_Kd -clamp off -s 2 3 1 -o 0.5 -bm 1.0 dark wood 2.png\n"
    mesh = load_mesh(written(tmp_path, mtl))
    assert mesh.face_texture.tolist() == [0, 0]
    assert sorted(mesh.uv.tolist()) == [[0.5, 0], [0.5, 3], [2.5, 0], [2.5, 3]]


def test_polygons_and_coordinates_beyond_the_texture(tmp_path: Path) -> None:
    turns = np.linspace(0, 2 * np.pi, 6, endpoint=False)
    head = "".join(f"v {np.cos(t)} {np.sin(t)} 0\nvt {3 * np.cos(t)} -7.5\n" for t in turns)
    picture(tmp_path / "red.png", *RED)
    faces = "usemtl a\nf " + " ".join(f"{i}/{i}" for i in range(1, 7)) + "\n"
    mesh = load_mesh(written(tmp_path, "newmtl a\nmap_Kd red.png\n", faces, head))
    assert len(mesh.faces) == 4
    assert mesh.uv.min() == -7.5
    assert mesh.uv[:, 0].max() == 3


def test_vertex_colours_are_those_of_the_screen(tmp_path: Path) -> None:
    path = tmp_path / "a.obj"
    path.write_text("v 0 0 0 1 0.5 0\nv 1 0 0 1 0.5 0\nv 0 1 0 1 0.5 0\nf 1 2 3\n")
    assert load_mesh(path).tint == pytest.approx(np.tile([1, 0.5, 0], (3, 1)), abs=1 / 255)


def test_numbers_that_count_back(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", *RED)
    face = "usemtl a\nf -4/-4 -3/-3 -2/-2\n"
    path = written(tmp_path, "newmtl a\nmap_Kd red.png\n", face)
    assert len(load_mesh(path).faces) == 1
    path.write_text(path.read_text() + SQUARE + face)
    with pytest.raises(MeshError, match="count back"):
        load_mesh(path)
