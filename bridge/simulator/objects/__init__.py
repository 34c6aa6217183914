"""Objects to simulate: the catalogue of a folder of meshes, and the built-in procedural one."""
