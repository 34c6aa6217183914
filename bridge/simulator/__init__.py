"""The simulator: images of moving objects with exact blur labels (paper Sec. 3.2 and 4)."""

from typing import TYPE_CHECKING

from bridge.common.lazy import names_in

if TYPE_CHECKING:
    from bridge.simulator.background import (
        Background,
        Backgrounds,
        PhotoBackgrounds,
        ProceduralBackgrounds,
    )
    from bridge.simulator.config import RendererName, SimulatorConfig
    from bridge.simulator.meshes.load import load_mesh
    from bridge.simulator.meshes.mesh import Mesh, MeshError
    from bridge.simulator.objects.catalogue import ObjectEntry, procedural_objects, scan_meshes
    from bridge.simulator.renderers.choice import make_renderer
    from bridge.simulator.renderers.protocol import Renderer
    from bridge.simulator.scene import Sample, simulate
    from bridge.simulator.trajectory import Trajectory, sample_trajectory

__all__ = [
    "Background",
    "Backgrounds",
    "Mesh",
    "MeshError",
    "ObjectEntry",
    "PhotoBackgrounds",
    "ProceduralBackgrounds",
    "Renderer",
    "RendererName",
    "Sample",
    "SimulatorConfig",
    "Trajectory",
    "load_mesh",
    "make_renderer",
    "procedural_objects",
    "sample_trajectory",
    "scan_meshes",
    "simulate",
]

__getattr__ = names_in(
    __name__,
    {
        "background": ("Background", "Backgrounds", "PhotoBackgrounds", "ProceduralBackgrounds"),
        "config": ("RendererName", "SimulatorConfig"),
        "meshes.load": ("load_mesh",),
        "meshes.mesh": ("Mesh", "MeshError"),
        "objects.catalogue": ("ObjectEntry", "procedural_objects", "scan_meshes"),
        "renderers.choice": ("make_renderer",),
        "renderers.protocol": ("Renderer",),
        "scene": ("Sample", "simulate"),
        "trajectory": ("Trajectory", "sample_trajectory"),
    },
)
