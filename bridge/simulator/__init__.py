"""The simulator: images of moving objects with exact blur labels (paper Sec. 3.2 and 4)."""

from bridge.simulator.background import (
    Background,
    Backgrounds,
    PhotoBackgrounds,
    ProceduralBackgrounds,
)
from bridge.simulator.meshes.load import load_mesh
from bridge.simulator.meshes.mesh import Mesh, MeshError
from bridge.simulator.objects.catalogue import ObjectEntry, procedural_objects, scan_meshes
from bridge.simulator.renderers.choice import RendererName, make_renderer
from bridge.simulator.renderers.protocol import Renderer
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
