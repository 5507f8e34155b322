"""GLB files (glTF 2.0) of a face: parts with named morph targets, a picture or colors on them, and animations.

One file with everything inside that Blender, Unity, three.js and every browser open. glTF is in meters, y up, z towards
the viewer: our axes, a thousandth of our millimeters. Row k of the first part is vertex k of the face.

The material is matte: a metallic one, the default of the format, shows black where nothing is mirrored. Colors of
vertices and factors are linear in glTF, those of pictures are not; ours are as a screen shows them (sRGB).

The container is written by hand, 12 bytes and two chunks around a JSON object, so that a rig needs no further package.
Source: glTF 2.0 specification, Khronos, ISO/IEC 12113:2022.
"""

import json
import os
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent import __version__
from meshdisent.errors import UsageError
from meshdisent.files import writing
from meshdisent.mesh.normals import vertex_normals
from meshdisent.show.pictures import encode_png
from meshdisent.show.shading import SKIN

MM_PER_METER = 1000.0
ROUGHNESS = 0.7
#: OpenGL's numbers for types and uses of what lies in the buffer.
_FLOAT, _UINT16, _UINT32 = 5126, 5123, 5125
_VERTEX_DATA, _INDEX_DATA = 34962, 34963
_WIDTHS = {1: "SCALAR", 2: "VEC2", 3: "VEC3"}


@dataclass(frozen=True, kw_only=True)
class Part:
    """A surface with one material.

    Attributes
    ----------
    vertices : (V, 3) mm.
    faces : (F, 3) Counter-clockwise from outside.
    displacements : (K, V, 3) What each morph target adds, mm; all parts of a file have the same targets.
    color : Red, green, blue of the whole part, 0 to 1.
    colors : (V, 3) The same for each vertex, instead.
    uv, picture : (V, 2) Texture coordinates, (0, 0) at the lower left, and (H, W, 3) what they show, instead.
    """

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    displacements: Float[np.ndarray, "target vertex 3"]
    color: tuple[float, float, float] = SKIN
    colors: Float[np.ndarray, "vertex 3"] | None = None
    uv: Float[np.ndarray, "vertex 2"] | None = None
    picture: UInt8[np.ndarray, "height width 3"] | None = None


@dataclass(frozen=True, kw_only=True)
class Clip:
    """An animation: the weight of each morph target over time, straight lines between.

    Attributes
    ----------
    name : As programs list it.
    seconds : (T,) Rising from 0 or later.
    weights : (T, K)
    """

    name: str
    seconds: Float[np.ndarray, " time"]
    weights: Float[np.ndarray, "time target"]


def write_glb(
    path: str | os.PathLike,
    parts: Sequence[Part],
    target_names: Sequence[str] = (),
    clips: Sequence[Clip] = (),
    overwrite: bool = False,
) -> Path:
    """Write a GLB; gives its path.

    Parameters
    ----------
    target_names : Of the morph targets, K different ones; in ``mesh.extras.targetNames``, where all programs look.

    Raises
    ------
    UsageError : If numbers of targets differ, two have one name, times do not rise, or the file exists.
    """
    path = Path(path)
    content = encode_glb(path.stem, parts, target_names, clips)
    with writing(path, overwrite) as aside:
        aside.write_bytes(content)
    return path


def encode_glb(name: str, parts: Sequence[Part], target_names: Sequence[str] = (), clips: Sequence[Clip] = ()) -> bytes:
    """The bytes of a GLB; parameters and errors as in :func:`write_glb`."""
    _check(parts, target_names, clips)
    buffer = _Buffer()
    head: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": f"meshdisent {__version__}"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": name, "mesh": 0}],
        "materials": [_material(buffer, number, part) for number, part in enumerate(parts)],
        "meshes": [{"name": name, "primitives": [_primitive(buffer, k, part) for k, part in enumerate(parts)]}],
    }
    if target_names:
        head["meshes"][0] |= {"weights": [0.0] * len(target_names), "extras": {"targetNames": list(target_names)}}
    if clips:
        head["animations"] = [_animation(buffer, clip) for clip in clips]
    return _container(head | buffer.described(), bytes(buffer.content))


class _Buffer:
    """The bytes behind the JSON, and the views, accessors, images and textures that say what they are."""

    def __init__(self) -> None:
        self.content = bytearray()
        self.views: list[dict[str, Any]] = []
        self.accessors: list[dict[str, Any]] = []
        self.images: list[dict[str, Any]] = []

    def add_bytes(self, content: bytes, use: int | None = None) -> int:
        """Append bytes; gives the number of their view."""
        view = {"buffer": 0, "byteOffset": len(self.content), "byteLength": len(content)}
        self.views.append(view | ({} if use is None else {"target": use}))
        self.content += content + b"\0" * (-len(content) % 4)
        return len(self.views) - 1

    def add(self, values: np.ndarray, use: int | None = None, has_limits: bool = False) -> int:
        """Append float32 rows or unsigned integers; gives the number of their accessor."""
        kind = {"f": _FLOAT, "u": _UINT16 if values.itemsize == 2 else _UINT32}[values.dtype.kind]
        rows = values if values.ndim == 2 else values[:, None]
        accessor = {
            "bufferView": self.add_bytes(np.ascontiguousarray(values).tobytes(), use),
            "componentType": kind,
            "count": len(rows),
            "type": _WIDTHS[rows.shape[1]],
        }
        if has_limits:
            accessor |= {"min": rows.min(axis=0).tolist(), "max": rows.max(axis=0).tolist()}
        self.accessors.append(accessor)
        return len(self.accessors) - 1

    def described(self) -> dict[str, Any]:
        """What the JSON says about the bytes."""
        found: dict[str, Any] = {
            "accessors": self.accessors,
            "bufferViews": self.views,
            "buffers": [{"byteLength": len(self.content)}],
        }
        if self.images:
            textures = [{"source": number, "sampler": 0} for number in range(len(self.images))]
            # Smooth at any distance, repeated beyond the edges: what every program does unless told otherwise.
            sampler = {"magFilter": 9729, "minFilter": 9987, "wrapS": 10497, "wrapT": 10497}
            found |= {"images": self.images, "textures": textures, "samplers": [sampler]}
        return found


def _material(buffer: _Buffer, number: int, part: Part) -> dict[str, Any]:
    surface: dict[str, Any] = {"metallicFactor": 0.0, "roughnessFactor": ROUGHNESS}
    if part.picture is not None:
        view = buffer.add_bytes(encode_png(part.picture))
        buffer.images.append({"bufferView": view, "mimeType": "image/png"})
        surface["baseColorTexture"] = {"index": len(buffer.images) - 1}
    elif part.colors is None:
        surface["baseColorFactor"] = [*_linear(np.asarray(part.color)).tolist(), 1.0]
    return {"name": f"material {number + 1}", "pbrMetallicRoughness": surface, "doubleSided": True}


def _primitive(buffer: _Buffer, number: int, part: Part) -> dict[str, Any]:
    normals = _normals(part.vertices, part.faces)
    attributes = {
        "POSITION": buffer.add(_meters(part.vertices), _VERTEX_DATA, has_limits=True),
        "NORMAL": buffer.add(normals.astype(np.float32), _VERTEX_DATA),
    }
    if part.uv is not None:
        # glTF counts rows of a picture from above.
        attributes["TEXCOORD_0"] = buffer.add((part.uv * [1, -1] + [0, 1]).astype(np.float32), _VERTEX_DATA)
    elif part.colors is not None:
        attributes["COLOR_0"] = buffer.add(_linear(part.colors).astype(np.float32), _VERTEX_DATA)
    size = np.uint16 if len(part.vertices) < 2**16 - 1 else np.uint32
    primitive = {
        "attributes": attributes,
        "indices": buffer.add(part.faces.ravel().astype(size), _INDEX_DATA),
        "material": number,
    }
    targets = []
    for moved in part.displacements:
        turned = _normals(part.vertices + moved, part.faces) - normals
        targets.append(
            {
                "POSITION": buffer.add(_meters(moved), _VERTEX_DATA, has_limits=True),
                "NORMAL": buffer.add(turned.astype(np.float32), _VERTEX_DATA),
            }
        )
    return primitive | ({"targets": targets} if targets else {})


def _animation(buffer: _Buffer, clip: Clip) -> dict[str, Any]:
    times = buffer.add(clip.seconds.astype(np.float32), has_limits=True)
    weights = buffer.add(clip.weights.astype(np.float32).ravel())
    return {
        "name": clip.name,
        "samplers": [{"input": times, "output": weights, "interpolation": "LINEAR"}],
        "channels": [{"sampler": 0, "target": {"node": 0, "path": "weights"}}],
    }


def _container(head: dict[str, Any], content: bytes) -> bytes:
    text = json.dumps(head, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-len(text) % 4)
    chunks = struct.pack("<I4s", len(text), b"JSON") + text + struct.pack("<I4s", len(content), b"BIN\0") + content
    return struct.pack("<4sII", b"glTF", 2, 12 + len(chunks)) + chunks


def _meters(vertices: np.ndarray) -> np.ndarray:
    return (np.asarray(vertices, np.float64) / MM_PER_METER).astype(np.float32)


def _normals(vertices: np.ndarray, faces: np.ndarray) -> np.ndarray:
    """Unit normals; towards the viewer where no face says otherwise, because the format wants a length of 1."""
    normals = vertex_normals(np.asarray(vertices, np.float64), faces)
    normals[~normals.any(axis=1)] = [0.0, 0.0, 1.0]
    return normals


def _linear(color: np.ndarray) -> np.ndarray:
    """Light of a color of the screen (sRGB, IEC 61966-2-1), both 0 to 1."""
    return np.where(color <= 0.04045, color / 12.92, ((color + 0.055) / 1.055) ** 2.4)


def _check(parts: Sequence[Part], target_names: Sequence[str], clips: Sequence[Clip]) -> None:
    counts = [len(part.displacements) for part in parts]
    if not parts or any(count != len(target_names) for count in counts):
        raise UsageError(
            f"A GLB got parts with {counts} morph targets and {len(target_names)} names; wanted at least one part, and "
            "a displacement in each part for every name. A part that a target leaves alone gets zeros."
        )
    if len(set(target_names)) != len(target_names):
        twice = sorted({name for name in target_names if list(target_names).count(name) > 1})
        raise UsageError(f"A GLB got several morph targets of the name {twice[0]!r}; wanted different names.")
    for clip in clips:
        if clip.weights.shape != (len(clip.seconds), len(target_names)) or not target_names or not len(clip.seconds):
            raise UsageError(
                f"The animation {clip.name!r} has weights of shape {clip.weights.shape} at {len(clip.seconds)} times; "
                f"wanted ({len(clip.seconds)}, {len(target_names)}), at least one time and one target."
            )
        if not (np.isfinite(clip.weights).all() and clip.seconds[0] >= 0 and (np.diff(clip.seconds) > 0).all()):
            raise UsageError(f"The animation {clip.name!r} has times that do not rise from 0, or weights not finite.")
