"""Blender's side of the Cycles renderer; `cycles.py` starts this file under Blender's Python.

That Python has bpy and the NumPy that bpy pins, so nothing of `bridge` is imported here. Requests
and answers are the bytes of .npz files on the connection whose number is the first argument.
"""

from __future__ import annotations

import contextlib
import io
import os
import sys
import tempfile
import threading
import time
import traceback
import uuid
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NoReturn

import bpy
import numpy as np

Arrays = dict[str, np.ndarray]


def main() -> None:
    """Answer requests until the connection closes; a failed one is answered by its traceback."""
    connection, parent = Connection(int(sys.argv[1])), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    scene = _make_scene()
    # Nothing here uses Blender's own folder, which would outlive a process that is killed.
    with contextlib.suppress(OSError):
        os.rmdir(bpy.app.tempdir)
    _send(connection, {"version": np.array(bpy.app.version_string)})
    while True:
        try:
            request = _receive(connection)
        except (EOFError, OSError):
            _end()
        try:
            answer = {"images": _answer(scene, request)}
        except Exception:
            answer = {"error": np.array(traceback.format_exc())}
        _send(connection, answer)


def _end_with(parent: int) -> None:
    """End this process soon after its parent, even in the middle of an image."""
    while os.getppid() == parent:
        time.sleep(1)
    _end()


def _end() -> NoReturn:
    # bpy does not come to an end when the interpreter does.
    os._exit(0)


def _send(connection: Connection, arrays: dict[str, Any]) -> None:
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    connection.send_bytes(buffer.getbuffer())


def _receive(connection: Connection) -> Arrays:
    with np.load(io.BytesIO(connection.recv_bytes()), allow_pickle=False) as arrays:
        return dict(arrays)


def _make_scene() -> bpy.types.Scene:
    """An empty scene with the camera, whose pixels are plain means of linear light."""
    bpy.ops.wm.read_factory_settings(use_empty=True)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.camera.data.sensor_fit, scene.camera.data.clip_end = "AUTO", 1000
    scene.collection.objects.link(scene.camera)
    scene.world = bpy.data.worlds.new("world")
    scene.world.use_nodes = True
    # Without it, light from everywhere is sampled by the surface alone, which is exact.
    scene.world.cycles.sampling_method = "NONE"

    render = scene.render
    render.engine = "CYCLES"
    render.film_transparent = True
    render.threads_mode = "FIXED"
    render.resolution_percentage = 100
    render.use_compositing = render.use_sequencer = False
    render.motion_blur_position = "START"
    render.use_border = True
    render.image_settings.file_format = "OPEN_EXR"
    render.image_settings.color_mode = "RGBA"
    render.image_settings.color_depth = "32"
    render.image_settings.exr_codec = "NONE"

    cycles = scene.cycles
    cycles.device = "CPU"
    cycles.pixel_filter_type = "BOX"
    cycles.max_bounces = 0
    cycles.transparent_max_bounces = 64
    cycles.sample_clamp_direct = cycles.sample_clamp_indirect = 0
    cycles.light_sampling_threshold = 0
    cycles.use_adaptive_sampling = cycles.use_denoising = False
    cycles.use_light_tree = cycles.use_auto_tile = False
    return scene


def _answer(scene: bpy.types.Scene, request: Arrays) -> np.ndarray:
    """Images [K, H, W, 4]: float32 linear premultiplied RGBA."""
    if "vertices" in request:
        _load_mesh(scene, request)
    height, width = (int(n) for n in request["size"])
    scene.render.resolution_x, scene.render.resolution_y = width, height
    camera = scene.camera.data
    camera.lens, camera.sensor_width, camera.clip_start = request["camera"].tolist()
    scene.render.threads = int(request["threads"])
    scene.cycles.samples = int(request["samples"])
    scene.cycles.seed = int(request["seed"])
    thing = scene.objects["object"]
    shadows = bool(request["shadows"])
    # Light from everywhere that nothing hides is the same as a surface that glows, without noise
    # and without the loss where a smooth normal leans away from its triangle.
    thing.visible_shadow = thing.visible_diffuse = shadows
    thing["glow"] = 0.0 if shadows else float(request["ambient"])
    _light(scene, float(request["ambient"]) if shadows else 0.0, request["lamps"])
    _animate(thing, request["frames"], request["rotation"], request["translation"])
    images = np.zeros((len(request["windows"]), height, width, 4), np.float32)
    for image, window, border in zip(images, request["windows"], request["borders"], strict=True):
        left, right, bottom, top = border.tolist()
        if left < right and bottom < top:
            scene.render.border_min_x, scene.render.border_max_x = left, right
            scene.render.border_min_y, scene.render.border_max_y = bottom, top
            image[:] = _render(scene, thing, window)
    return images


def _render(scene: bpy.types.Scene, thing: bpy.types.Object, window: np.ndarray) -> np.ndarray:
    """One exposure, float32 [H, W, 4], from the first to the last frame of `window`."""
    first, last = (int(frame) for frame in window)
    scene.frame_set(first)
    scene.render.use_motion_blur = last > first
    scene.render.motion_blur_shutter = last - first
    # Cycles reads the pose at 2 ** steps + 1 instants: at least two in each sub-trajectory.
    thing.cycles.motion_steps = max(1, int(np.ceil(np.log2(max(2 * (last - first), 1)))))
    # It exists from the end of the rendering until it is read: a kill rarely leaves it behind.
    file = Path(tempfile.gettempdir()) / f"bridge-cycles-{uuid.uuid4().hex}.exr"
    scene.render.filepath = str(file)
    try:
        bpy.ops.render.render(write_still=True)
        return _read(file)
    finally:
        file.unlink(missing_ok=True)


def _read(file: Path) -> np.ndarray:
    picture = bpy.data.images.load(str(file))
    picture.colorspace_settings.name = "Non-Color"
    width, height = picture.size
    pixels = np.empty(height * width * 4, np.float32)
    picture.pixels.foreach_get(pixels)
    bpy.data.images.remove(picture)
    return pixels.reshape(height, width, 4)[::-1]


def _light(scene: bpy.types.Scene, ambient: float, lamps: np.ndarray) -> None:
    background = scene.world.node_tree.nodes["Background"]
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    background.inputs["Strength"].default_value = ambient
    for light in list(bpy.data.lights):
        bpy.data.lights.remove(light)
    for x, y, z, watts in lamps.tolist():
        light = bpy.data.lights.new("lamp", "POINT")
        light.energy, light.shadow_soft_size = watts, 0
        lamp = bpy.data.objects.new("lamp", light)
        lamp.location = x, y, z
        scene.collection.objects.link(lamp)


def _animate(
    thing: bpy.types.Object, frames: np.ndarray, rotation: np.ndarray, translation: np.ndarray
) -> None:
    """Give the object its poses as keyframes with straight lines between them."""
    from mathutils import Matrix

    turns = [Matrix(matrix.tolist()).to_quaternion() for matrix in rotation]
    for last, turn in zip(turns, turns[1:], strict=False):
        turn.make_compatible(last)
    thing.animation_data_clear()
    for action in list(bpy.data.actions):
        bpy.data.actions.remove(action)
    action = bpy.data.actions.new("motion")
    thing.animation_data_create().action = action
    for path, values in (("location", translation), ("rotation_quaternion", np.array(turns))):
        for index, column in enumerate(values.T):
            points = action.fcurves.new(path, index=index).keyframe_points
            points.add(len(frames))
            points.foreach_set("co", np.stack([frames, column], 1).astype(np.float32).ravel())
            points.foreach_set("interpolation", np.full(len(frames), 1, np.int32))
    thing.animation_data.action_slot = action.slots[0]


def _load_mesh(scene: bpy.types.Scene, arrays: Arrays) -> None:
    """Replace the object by the mesh of a request."""
    for kept in (bpy.data.meshes, bpy.data.materials, bpy.data.images):
        for block in list(kept):
            kept.remove(block)
    kinds, face_material = np.unique(
        np.stack([arrays["face_texture"], arrays["face_cutout"]], 1), axis=0, return_inverse=True
    )
    images = [_image(arrays["texels"], *row) for row in arrays["textures"].tolist()]
    mesh = bpy.data.meshes.new("mesh")
    gamma = float(arrays["gamma"])
    for texture, cutout in kinds.tolist():
        image = images[texture] if texture >= 0 else None
        mesh.materials.append(_material(image, bool(cutout), gamma))
    _fill(mesh, arrays, face_material.ravel())
    thing = bpy.data.objects.new("object", mesh)
    thing.rotation_mode = "QUATERNION"
    thing.scale = [float(arrays["scale"])] * 3
    thing.cycles.use_deform_motion = False
    scene.collection.objects.link(thing)


def _fill(mesh: bpy.types.Mesh, arrays: Arrays, face_material: np.ndarray) -> None:
    vertices, faces = arrays["vertices"], arrays["faces"].astype(np.int32)
    mesh.vertices.add(len(vertices))
    mesh.loops.add(faces.size)
    mesh.polygons.add(len(faces))
    mesh.vertices.foreach_set("co", vertices.ravel())
    mesh.loops.foreach_set("vertex_index", faces.ravel())
    mesh.polygons.foreach_set("loop_start", np.arange(0, faces.size, 3, dtype=np.int32))
    mesh.polygons.foreach_set("material_index", face_material.astype(np.int32))
    mesh.uv_layers.new(name="uv").uv.foreach_set("vector", arrays["uv"][faces].ravel())
    for name, values in (("tint", arrays["tint"]), ("custom_normal", arrays["normals"])):
        attribute = mesh.attributes.new(name, "FLOAT_VECTOR", "POINT")
        attribute.data.foreach_set("vector", values.ravel())
    mesh.update(calc_edges=True)


def _image(texels: np.ndarray, first: int, height: int, width: int) -> bpy.types.Image:
    image = bpy.data.images.new("texture", width, height, alpha=True, is_data=True)
    image.alpha_mode = "CHANNEL_PACKED"
    rows = texels[first : first + height * width].reshape(height, width, 4)[::-1]
    image.pixels.foreach_set((rows / np.float32(255)).ravel())
    image.update()
    return image


def _material(image: bpy.types.Image | None, cutout: bool, gamma: float) -> bpy.types.Material:
    """Reflects and glows in (texture * tint) ** gamma; holes where the texture is not opaque."""
    material = bpy.data.materials.new("surface")
    material.use_nodes = True
    material.cycles.emission_sampling = "NONE"
    nodes, link = material.node_tree.nodes, material.node_tree.links.new
    nodes.clear()
    tint, colour = nodes.new("ShaderNodeAttribute"), nodes.new("ShaderNodeGamma")
    tint.attribute_name = "tint"
    colour.inputs["Gamma"].default_value = gamma
    if image is None:
        link(tint.outputs["Vector"], colour.inputs["Color"])
    else:
        texture, product = nodes.new("ShaderNodeTexImage"), nodes.new("ShaderNodeVectorMath")
        texture.image, product.operation = image, "MULTIPLY"
        link(texture.outputs["Color"], product.inputs[0])
        link(tint.outputs["Vector"], product.inputs[1])
        link(product.outputs["Vector"], colour.inputs["Color"])
    surface = _lit(material.node_tree, colour.outputs["Color"])
    if cutout:
        surface = _with_holes(material.node_tree, texture.outputs["Alpha"], surface)
    link(surface, nodes.new("ShaderNodeOutputMaterial").inputs["Surface"])
    return material


def _lit(tree: bpy.types.ShaderNodeTree, colour: bpy.types.NodeSocket) -> bpy.types.NodeSocket:
    """The shader of a diffuse surface that also glows as bright as its object's "glow" says."""
    diffuse, emission = (
        tree.nodes.new("ShaderNodeBsdfDiffuse"),
        tree.nodes.new("ShaderNodeEmission"),
    )
    glow, both = tree.nodes.new("ShaderNodeAttribute"), tree.nodes.new("ShaderNodeAddShader")
    glow.attribute_type, glow.attribute_name = "OBJECT", "glow"
    tree.links.new(colour, diffuse.inputs["Color"])
    tree.links.new(colour, emission.inputs["Color"])
    tree.links.new(glow.outputs["Fac"], emission.inputs["Strength"])
    tree.links.new(diffuse.outputs["BSDF"], both.inputs[0])
    tree.links.new(emission.outputs["Emission"], both.inputs[1])
    return both.outputs["Shader"]


def _with_holes(
    tree: bpy.types.ShaderNodeTree, opacity: bpy.types.NodeSocket, surface: bpy.types.NodeSocket
) -> bpy.types.NodeSocket:
    """The shader that is transparent where the opacity of the texture is below 128 of 255."""
    opaque, mix = tree.nodes.new("ShaderNodeMath"), tree.nodes.new("ShaderNodeMixShader")
    opaque.operation = "GREATER_THAN"
    opaque.inputs[1].default_value = 127.5 / 255
    hole = tree.nodes.new("ShaderNodeBsdfTransparent")
    tree.links.new(opacity, opaque.inputs[0])
    tree.links.new(opaque.outputs["Value"], mix.inputs["Fac"])
    tree.links.new(hole.outputs["BSDF"], mix.inputs[1])
    tree.links.new(surface, mix.inputs[2])
    return mix.outputs["Shader"]


if __name__ == "__main__":
    main()
