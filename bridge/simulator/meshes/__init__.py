"""Meshes: from files of 3D models to closed, textured, welded surfaces of one size."""
