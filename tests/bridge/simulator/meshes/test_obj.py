from __future__ import annotations

import os
import unicodedata
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


def test_a_clamped_map_goes_on_with_its_edge(tmp_path: Path) -> None:
    halves = Image.new("RGB", (16, 16), RED)
    halves.paste(GREEN, (8, 0, 16, 16))
    halves.save(tmp_path / "halves.png")
    head = SQUARE.replace("vt 0", "vt -1").replace("vt 1", "vt 2")
    # Beyond the left and the right edge: more of the same, or the other half of the next one.
    for clamp, expected in (("on", [RED, GREEN]), ("off", [GREEN, RED])):
        mtl = f"newmtl a\nmap_Kd -clamp {clamp} halves.png\n"
        mesh = load_mesh(written(tmp_path, mtl, head=head))
        _, height, width = mesh.mips[0, 0]
        middle = mesh.texels[: height * width, :3].reshape(height, width, 3)[height // 2]
        low, high = mesh.uv[:, 0].min(), mesh.uv[:, 0].max()
        columns = [int((low + part * (high - low)) % 1 * width) for part in (0.25, 0.75)]
        assert [tuple(middle[column].tolist()) for column in columns] == expected, clamp


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
    # They count from the line that they stand in, not from the end.
    path.write_text(path.read_text() + SQUARE.replace(" 0\nv", " 9\nv") + face)
    mesh = load_mesh(path)
    assert len(mesh.faces) == 2
    assert np.ptp(mesh.vertices[mesh.faces], axis=1).max() < 0.3


CUBE = (
    "".join(f"v {x} {y} {z}\n" for x, y, z in np.ndindex(2, 2, 2))
    + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\n"
)
SIDES = "1 2 4 3", "5 7 8 6", "1 5 6 2", "3 4 8 7", "1 3 7 5", "2 6 8 4"


def sides(places: slice) -> str:
    numbered = (zip(side.split(), "1234", strict=True) for side in SIDES[places])
    return "".join("f " + " ".join(f"{v}/{t}" for v, t in side) + "\n" for side in numbered)


def two_parts(folder: Path, name: str, obj: bytes | None = None, mtl: bytes | None = None) -> Path:
    """A cube, half red by the material `m`, half green by the material `name`."""
    picture(folder / "red.png", *RED)
    picture(folder / "green.png", *GREEN)
    text = f"newmtl m\nmap_Kd red.png\nnewmtl {name}\nmap_Kd green.png\n"
    (folder / "m.mtl").write_bytes(text.encode() if mtl is None else mtl)
    text = f"mtllib m.mtl\n{CUBE}usemtl m\n{sides(slice(3))}usemtl {name}\n{sides(slice(3, 6))}"
    (folder / "a.obj").write_bytes(text.encode() if obj is None else obj)
    return folder / "a.obj"


def colours(path: Path) -> dict[tuple[int, ...], int]:
    """How many triangles show which colour, given that each texture has one; {} is none."""
    mesh = load_mesh(path)
    shown: Counter[tuple[int, ...]] = Counter()
    for row in mesh.face_texture.tolist():
        shown[tuple(mesh.texels[mesh.mips[row, 0, 0], :3].tolist()) if row >= 0 else ()] += 1
    return dict(shown)


BOTH = {RED: 6, GREEN: 6}


def test_a_file_is_the_same_in_every_form(tmp_path: Path) -> None:
    text = two_parts(tmp_path, "b").read_text()
    lines = text.splitlines()
    forms = {
        "tabs": text.replace(" ", "\t").encode(),
        "indented": "".join(f"  \t{line} \n" for line in lines).encode(),
        "comments": "".join(f"{line} # {i}\n" for i, line in enumerate(lines)).encode(),
        "windows": text.replace("\n", "\r\n").encode(),
        "old mac": text.replace("\n", "\r").encode(),
        "mark": text.encode("utf-8-sig"),
        "utf-16": text.encode("utf-16"),
        "continued": text.replace("/3 ", "/3 \\\n ").encode(),
        "capitals": text.replace("mtllib", "MTLLIB")
        .replace("usemtl", "UseMtl")
        .replace("v", "V")
        .replace("f ", "F ")
        .encode(),
        "spaces": text.replace(" ", "   ").encode(),
        "no end of line": text.strip().encode(),
    }
    for form, data in forms.items():
        assert colours(two_parts(tmp_path, "b", data)) == BOTH, form


def test_a_material_file_is_the_same_in_every_form(tmp_path: Path) -> None:
    two_parts(tmp_path, "b")
    text = (tmp_path / "m.mtl").read_text()
    forms = {
        "tabs": text.replace(" ", "\t").encode(),
        "comments": text.replace("\n", " # colour\n").encode(),
        "old mac": text.replace("\n", "\r").encode(),
        "utf-16": text.encode("utf-16"),
        "capitals": text.replace("newmtl", "NewMtl").replace("map_Kd", "MAP_KD").encode(),
        "blank newmtl": b"newmtl\nKd 1 0 0\nnewmtl \n" + text.encode(),
        "quotes": text.replace("red.png", '"red.png"').encode(),
    }
    for form, data in forms.items():
        assert colours(two_parts(tmp_path, "b", mtl=data)) == BOTH, form


@pytest.mark.parametrize(
    ("used", "declared"),
    [
        (b"my  mat", b"my  mat"),
        (b"my mat", b"my  mat"),
        (b"Mat", b"mAT"),
        ("Matériau".encode("latin-1"), "Matériau".encode("latin-1")),
        ("Matériau".encode("latin-1"), "Matériau".encode()),
        ("木头".encode("gbk"), "木头".encode()),
        ("材质".encode(), "材质".encode("gbk")),
        (unicodedata.normalize("NFD", "Café").encode(), "Café".encode()),
        (b"wood#1", b"wood#1"),
    ],
)
def test_names_of_materials_are_found(tmp_path: Path, used: bytes, declared: bytes) -> None:
    obj = two_parts(tmp_path, "b").read_bytes().replace(b"usemtl b", b"usemtl " + used)
    mtl = (tmp_path / "m.mtl").read_bytes().replace(b"newmtl b", b"newmtl " + declared)
    path = two_parts(tmp_path, "b", obj, mtl)
    assert colours(path) == BOTH
    assert load_mesh(path).adjusted == ()


def test_an_exact_name_goes_before_one_that_is_alike(tmp_path: Path) -> None:
    mtl = b"newmtl m\nmap_Kd red.png\nnewmtl M\nmap_Kd green.png\n"
    assert colours(two_parts(tmp_path, "M", mtl=mtl)) == BOTH


def test_an_unknown_material_is_recorded(tmp_path: Path) -> None:
    obj = two_parts(tmp_path, "b").read_bytes().replace(b"usemtl b", b"usemtl nowhere\xe9")
    path = two_parts(tmp_path, "b", obj)
    assert colours(path) == {RED: 6, (): 6}
    assert load_mesh(path).adjusted == (("missing_material", "nowhereé"),)


@pytest.mark.parametrize(
    ("named", "there"),
    [
        ("tex.jpg", "tex.png"),
        ("TEX.JPEG", "tex.jpg"),
        ("tex.tga", "textures/tex.jpeg"),
        ("a%20b.png", "a%20b.png"),
        ("a%20b.png", "a b.png"),
        ("wood#2.png", "wood#2.png"),
        (unicodedata.normalize("NFC", "été.png"), unicodedata.normalize("NFD", "été.png")),
        ("my  tex.png", "my  tex.png"),
    ],
)
def test_textures_are_found_under_almost_their_names(
    tmp_path: Path, named: str, there: str
) -> None:
    picture(tmp_path / there, *RED)
    picture(tmp_path / "else.png", *GREEN)
    path = written(tmp_path, f"newmtl a\nmap_Kd {named}\n")
    mesh = load_mesh(path)
    assert mesh.face_texture.tolist() == [0, 0] and mesh.adjusted == ()
    texel = mesh.texels[0, :3].astype(int)
    assert texel[0] > 250 and texel[1] < 5


def test_a_texture_whose_name_is_in_another_encoding_is_found(tmp_path: Path) -> None:
    picture(tmp_path / "木纹.png", *RED)
    path = written(tmp_path, "")
    (tmp_path / "a.mtl").write_bytes("newmtl a\nmap_Kd 木纹.png\n".encode("gbk"))
    assert load_mesh(path).adjusted == ()
    os.rename(tmp_path / "木纹.png", os.fsencode(tmp_path) + b"/" + "木纹.png".encode("gbk"))
    assert load_mesh(path).adjusted == ()
    (tmp_path / "a.mtl").write_text("newmtl a\nmap_Kd 木纹.png\n")
    assert load_mesh(path).adjusted == ()


def test_textures_lie_beside_their_material_file(tmp_path: Path) -> None:
    picture(tmp_path / "look" / "red.png", *RED)
    path = written(tmp_path, "")
    path.write_text(path.read_text().replace("a.mtl", "look/b.mtl"))
    (tmp_path / "look" / "b.mtl").write_text("newmtl a\nmap_Kd red.png\n")
    assert load_mesh(path).face_texture.tolist() == [0, 0]


def test_faces_without_coordinates_leave_the_others_theirs(tmp_path: Path) -> None:
    picture(tmp_path / "red.png", *RED)
    faces = "usemtl a\n" + FACE + "f 4 3 2 1\n"
    mesh = load_mesh(written(tmp_path, "newmtl a\nmap_Kd red.png\n", faces))
    assert mesh.face_texture.tolist() == [0, 0, 0, 0]
    assert mesh.adjusted == (("missing_uv", "a"),)
    uv = mesh.uv[mesh.faces]
    assert sorted(np.unique(uv[:2].reshape(-1, 2), axis=0).tolist()) == [
        [0, 0],
        [0, 1],
        [1, 0],
        [1, 1],
    ]
    assert not uv[2:].any()


def test_concave_faces_keep_their_notch(tmp_path: Path) -> None:
    corners = [(0, 0), (2, 0), (2, 2), (1, 2), (1, 1), (0, 1)]
    head = "".join(f"v {x} {y} 0\nvt {x / 2} {y / 2}\n" for x, y in corners)
    picture(tmp_path / "red.png", *RED)
    face = "usemtl a\nf 6/6 1/1 2/2 3/3 4/4 5/5\n"
    mesh = load_mesh(written(tmp_path, "newmtl a\nmap_Kd red.png\n", face, head))
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    assert area == pytest.approx(3 / 8, abs=1e-6)


def test_what_cannot_be_seen_hides_nothing(tmp_path: Path) -> None:
    mtl = b"newmtl m\nmap_Kd red.png\nnewmtl b\nd 0.0\nTr 1\nmap_Kd green.png\n"
    assert colours(two_parts(tmp_path, "b", mtl=mtl)) == {RED: 6}
    # Where nothing were left, the file does not mean it.
    assert colours(two_parts(tmp_path, "b", mtl=mtl.replace(b"m\n", b"m\nd 0\n", 1))) == BOTH
    # Half of all programs write this of what is opaque.
    assert colours(two_parts(tmp_path, "b", mtl=mtl.replace(b"d 0.0\n", b""))) == BOTH


def test_written_normals_are_kept_where_a_face_has_them(tmp_path: Path) -> None:
    tilted = np.array([0.6, 0, 0.8])
    head = SQUARE + "vn 3 0 4\n"
    picture(tmp_path / "red.png", *RED)
    faces = "usemtl a\nf 1/1/1 2/2/1 3/3/1\nf 1/1 3/3 4/4\n"
    mesh = load_mesh(written(tmp_path, "newmtl a\nmap_Kd red.png\n", faces, head))
    normals = mesh.normals[mesh.faces]
    found = sorted(np.round(normals[:, 0], 5).tolist())
    assert found == [pytest.approx([0, 0, 1]), pytest.approx(tilted)]


def test_numbers_of_vertices_that_do_not_exist_are_refused(tmp_path: Path) -> None:
    for face in ("f 1 2 9", "f 1 2 0", "f -9 1 2"):
        path = written(tmp_path, "newmtl a\n", face)
        with pytest.raises(MeshError, match=r"bad_geometry: .*does not exist"):
            load_mesh(path)
