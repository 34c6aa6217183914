"""Three renderers behind one protocol: raster (CPU), gl (OpenGL) and cycles (Blender)."""
