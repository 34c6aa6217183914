"""The simulator: images of moving objects with exact blur labels (paper Sec. 3.1 and 4)."""

from bridge.simulator.background import (
    Background,
    Backgrounds,
    PhotoBackgrounds,
    ProceduralBackgrounds,
)
from bridge.simulator.catalogue import ObjectEntry, procedural_objects, scan_meshes
from bridge.simulator.mesh import Mesh, MeshError
from bridge.simulator.mesh_file import load_mesh
from bridge.simulator.renderers import Renderer, RendererName, make_renderer
from bridge.simulator.scene import Sample, SimulatorConfig, simulate
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
