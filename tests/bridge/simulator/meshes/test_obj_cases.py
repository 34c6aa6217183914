"""The OBJ files that came out wrong once, each with what is right."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh

WHOLE_CUBES = (
    *("obj_tabs", "obj_comment_eol", "obj_mixed_uv_nouv", "obj_negative_vt_interleaved"),
    *("mtl_comment_eol", "mtl_blank_newmtl", "mtl_ext_mismatch"),
)


def opened(cases: Path, name: str) -> Mesh:
    return load_mesh(cases / name / "model.obj")


@pytest.mark.parametrize("name", WHOLE_CUBES)
def test_cubes_are_textured_all_around(shared_cases: Path, name: str) -> None:
    mesh = opened(shared_cases, name)
    assert mesh.face_texture.tolist() == [0] * 12
    assert mesh.extents == pytest.approx([3**-0.5] * 3)
    corners = mesh.uv[mesh.faces]
    spans = np.ptp(corners, axis=1)
    # Every side shows the whole texture, but for one that has no coordinates in one file.
    bare = 2 if name == "obj_mixed_uv_nouv" else 0
    assert (spans == 1).all(axis=1).sum() == 12 - bare
    assert mesh.adjusted == ((("missing_uv", "m"),) if bare else ())


@pytest.mark.parametrize("name", ["two_tab", "two_latin1", "two_double_space"])
def test_both_materials_have_their_own_texture(shared_cases: Path, name: str) -> None:
    mesh = opened(shared_cases, name)
    assert np.bincount(mesh.face_texture).tolist() == [6, 6]
    assert mesh.adjusted == ()


def test_a_concave_polygon_keeps_its_notch(shared_cases: Path) -> None:
    mesh = opened(shared_cases, "ngon_L2")
    a, b, c = mesh.vertices[mesh.faces].swapaxes(0, 1)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    # Three squares in a box of two by two.
    assert area == pytest.approx(3 / 8, abs=1e-6)
    centre = mesh.vertices[mesh.faces].mean(axis=1)
    assert not ((centre[:, 0] < 0) & (centre[:, 1] > 0)).any()
