"""Materials of glTF files: base colour, its texture, and opacity."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from dataclasses import field as attribute
from io import BytesIO
from urllib.parse import unquote

import numpy as np
from PIL import Image

from bridge.common.errors import StoreError
from bridge.simulator.meshes.gltf_file import GltfFile, Record, extension, field, numbers
from bridge.simulator.meshes.materials import cut_out, display, read_picture
from bridge.simulator.meshes.surface import MeshError, Remark
from bridge.simulator.meshes.wrap import Wrap, WrappedTexture

_SPECULAR = "KHR_materials_pbrSpecularGlossiness"
_TRANSFORM = "KHR_texture_transform"
_PICTURES = ("EXT_texture_avif", "EXT_texture_webp")
_BASIS = "KHR_texture_basisu"
_WRAPS: dict[int, Wrap] = {10497: "repeat", 33071: "clamp", 33648: "mirror"}

_FAINTEST = 0.5 / 255
"""Opacity that is none in eight bits."""


@dataclass(frozen=True)
class GltfMaterial:
    """What a material says about the colour of its parts.

    Attributes:
        tint: display-space RGB in 0..1, a factor of the texture.
        texture: of the base colour, with holes where it is transparent, or None.
        coordinates: the attribute with the texture's coordinates.
        uv_transform: [2, 3], applied to (u, v, 1) with v pointing up; None changes nothing.
        least_opacity: of a vertex; triangles whose corners all have less are not drawn. Above 1
            nothing is.
        remarks: what of it could not be had.
    """

    tint: np.ndarray = attribute(default_factory=lambda: np.ones(3))
    texture: WrappedTexture | None = None
    coordinates: str = ""
    uv_transform: np.ndarray | None = None
    least_opacity: float = 0.0
    remarks: tuple[Remark, ...] = ()


def read_material(file: GltfFile, number: int) -> GltfMaterial:
    """A material by its number.

    Raises:
        MeshError: it is damaged.
    """
    record = file.row("materials", number)
    factor, reference = _base_colour(record)
    tint = display(factor[:3])
    if reference is None:
        return GltfMaterial(tint, least_opacity=_least_opacity(record, factor[3], 1.0))
    options = extension(reference, _TRANSFORM) or {}
    row = file.row("textures", field(reference, "index", int))
    picture, name = _picture(file, row, field(reference, "index", int))
    if picture is None:
        least = _least_opacity(record, factor[3], 1.0)
        return GltfMaterial(tint, least_opacity=least, remarks=(("missing_texture", name),))
    most = picture[..., 3].max() / 255 if picture.shape[2] == 4 else 1.0
    set_number = field(options, "texCoord", int, field(reference, "texCoord", int, 0))
    return GltfMaterial(
        tint=tint,
        texture=WrappedTexture(_with_holes(picture, record, factor[3]), _wraps(file, row)),
        coordinates=f"TEXCOORD_{set_number}",
        uv_transform=_uv_transform(options) if options else None,
        least_opacity=_least_opacity(record, factor[3], most),
    )


def _base_colour(material: Record) -> tuple[np.ndarray, Record | None]:
    """The factor RGBA of the base colour, and the reference to its texture."""
    colour = field(material, "pbrMetallicRoughness", dict, {})
    factor, texture = "baseColorFactor", "baseColorTexture"
    specular = extension(material, _SPECULAR)
    if specular is not None:
        colour, factor, texture = specular, "diffuseFactor", "diffuseTexture"
    reference = field(colour, texture, dict) if texture in colour else None
    return numbers(colour, factor, [1.0, 1, 1, 1]), reference


def _picture(file: GltfFile, texture: Record, number: int) -> tuple[np.ndarray | None, str]:
    """The first picture of a texture that can be read, and a name for it."""
    extended = (extension(texture, name) for name in _PICTURES)
    choices = [field(row, "source", int) for row in extended if row is not None]
    choices += [field(texture, "source", int)] if "source" in texture else []
    for source in choices:
        try:
            with warnings.catch_warnings(), Image.open(BytesIO(file.picture(source))) as picture:
                warnings.simplefilter("ignore", Image.DecompressionBombWarning)
                return read_picture(picture), ""
        except StoreError:
            raise
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
            continue
    name = _picture_name(file, choices[0]) if choices else ""
    kind = f" ({_BASIS})" if not choices and extension(texture, _BASIS) is not None else ""
    return None, (name or f"texture {number}") + kind


def _picture_name(file: GltfFile, source: int) -> str:
    image = file.row("images", source)
    uri = field(image, "uri", str, "")
    if uri and not uri.startswith("data:"):
        return unquote(uri)
    return str(field(image, "name", str, ""))


def _wraps(file: GltfFile, texture: Record) -> tuple[Wrap, Wrap]:
    if "sampler" not in texture:
        return "repeat", "repeat"
    sampler = file.row("samplers", field(texture, "sampler", int))
    codes = [field(sampler, name, int, 10497) for name in ("wrapS", "wrapT")]
    unknown = [code for code in codes if code not in _WRAPS]
    if unknown:
        raise MeshError("unreadable", f"{unknown[0]} is no wrapping mode in glTF")
    return _WRAPS[codes[0]], _WRAPS[codes[1]]


def _with_holes(picture: np.ndarray, material: Record, opacity: float) -> np.ndarray:
    mode = field(material, "alphaMode", str, "OPAQUE")
    if mode == "OPAQUE":
        return np.ascontiguousarray(picture[..., :3])
    if mode == "MASK":
        return cut_out(picture, _cutoff(material) / max(opacity, 1e-6))
    return cut_out(picture)


def _cutoff(material: Record) -> float:
    return float(field(material, "alphaCutoff", float, 0.5))


def _least_opacity(material: Record, opacity: float, most: float) -> float:
    """See `GltfMaterial`; `most` is the largest opacity in the texture."""
    mode = field(material, "alphaMode", str, "OPAQUE")
    if mode == "OPAQUE":
        return 0.0
    needed = _cutoff(material) if mode == "MASK" else _FAINTEST
    total = max(opacity * most, 0.0)
    if needed <= 0:
        return 0.0
    return needed / total if total > 0 else np.inf


def _uv_transform(options: Record) -> np.ndarray:
    """The texture's offset, rotation and scale, which are given for v pointing down."""
    x, y = numbers(options, "offset", [0.0, 0])
    wide, high = numbers(options, "scale", [1.0, 1])
    angle = field(options, "rotation", float, 0.0)
    cosine, sine = np.cos(angle), np.sin(angle)
    down = np.array([[wide * cosine, high * sine, x], [-wide * sine, high * cosine, y], [0, 0, 1]])
    flip = np.array([[1.0, 0, 0], [0, -1, 1], [0, 0, 1]])
    return (flip @ down @ flip)[:2]
