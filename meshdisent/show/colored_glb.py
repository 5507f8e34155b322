"""A mesh with a color at each vertex as the bytes of a binary glTF: the least that a browser needs to show it."""

import json

import numpy as np
from jaxtyping import Float, Int

from meshdisent.mesh.normals import vertex_normals

_FLOAT, _UNSIGNED = 5126, 5125


def colored_glb(
    vertices: Float[np.ndarray, "vertex 3"],
    faces: Int[np.ndarray, "face 3"],
    colors: Float[np.ndarray, "vertex 3"],
) -> bytes:
    """Encode a matte mesh, seen from both sides.

    Colors are sRGB, 0 to 1, as everywhere else; the file has them linear, as glTF 2.0 wants (section 3.9.2).

    Examples
    --------
    >>> colored_glb(np.eye(3), np.array([[0, 1, 2]]), np.ones((3, 3)))[:4]
    b'glTF'
    """
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    normals = vertex_normals(vertices, faces)
    normals[~normals.any(axis=1)] = (0.0, 0.0, 1.0)  # a vertex of no face: the format wants unit normals
    parts = [np.ascontiguousarray(part, dtype="<f4") for part in (vertices, normals, linear)]
    parts.append(np.ascontiguousarray(faces.ravel(), dtype="<u4"))
    offsets = np.cumsum([0, *(part.nbytes for part in parts)]).tolist()
    position = {"min": parts[0].min(axis=0).tolist(), "max": parts[0].max(axis=0).tolist()}
    accessors = [
        {"bufferView": k, "componentType": _FLOAT, "count": len(vertices), "type": "VEC3"}
        | (position if k == 0 else {})
        for k in range(3)
    ]
    accessors.append({"bufferView": 3, "componentType": _UNSIGNED, "count": faces.size, "type": "SCALAR"})
    attributes = {"POSITION": 0, "NORMAL": 1, "COLOR_0": 2}
    document = {
        "asset": {"version": "2.0"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": 3, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 1.0}, "doubleSided": True}],
        "buffers": [{"byteLength": offsets[-1]}],
        "bufferViews": [
            {"buffer": 0, "byteOffset": offset, "byteLength": part.nbytes}
            for offset, part in zip(offsets, parts, strict=False)
        ],
        "accessors": accessors,
    }
    return _container(json.dumps(document).encode(), b"".join(part.tobytes() for part in parts))


def _container(document: bytes, data: bytes) -> bytes:
    """Header and two chunks, each padded to four bytes."""
    document += b" " * (-len(document) % 4)
    chunks = b"".join(
        len(content).to_bytes(4, "little") + kind + content for kind, content in ((b"JSON", document), (b"BIN\0", data))
    )
    return b"glTF" + (2).to_bytes(4, "little") + (12 + len(chunks)).to_bytes(4, "little") + chunks
