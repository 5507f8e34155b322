"""A mesh with a picture on it: OBJ with its material and PNG, and GLB, which has everything in one file."""

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from meshdisent.errors import UsageError
from meshdisent.export.gltf import Part, write_glb
from meshdisent.files import writing
from meshdisent.mesh.mesh import Labels, Mesh
from meshdisent.show.pictures import write_png


def write_textured_obj(
    mesh: Mesh, picture: UInt8[np.ndarray, "height width 3"], path: str | os.PathLike, overwrite: bool = False
) -> list[Path]:
    """Write ``NAME.obj``, ``NAME.mtl`` and ``NAME.png`` beside each other; gives their paths.

    Raises
    ------
    UsageError : If the mesh has no texture coordinates, or a file exists and ``overwrite`` is false.
    """
    _check(mesh)
    obj = Path(path).with_suffix(".obj")
    files = [obj, obj.with_suffix(".mtl"), obj.with_suffix(".png")]
    material = obj.stem.replace(" ", "_")  # names of materials end at a space
    write_png(files[2], picture, overwrite)
    with writing(files[1], overwrite) as aside:
        text = f"newmtl {material}\nKa 1 1 1\nKd 1 1 1\nKs 0 0 0\nillum 1\nmap_Kd {files[2].name}\n"
        aside.write_text(text, encoding="utf-8")
    labels = {"material": Labels((material,), np.zeros(mesh.face_count, np.int64))}
    replace(mesh, material_files=(files[1].name,), labels=labels).write(obj, overwrite)
    return files


def write_textured_glb(
    mesh: Mesh, picture: UInt8[np.ndarray, "height width 3"], path: str | os.PathLike, overwrite: bool = False
) -> Path:
    """Write a GLB in meters with a matte material; see :mod:`meshdisent.export.gltf`.

    Raises
    ------
    UsageError : If the mesh has no texture coordinates, or a file exists and ``overwrite`` is false.
    """
    _check(mesh)
    still = np.zeros((0, mesh.vertex_count, 3))
    uv = np.asarray(mesh.uv)[:, :2]
    part = Part(vertices=mesh.vertices, faces=mesh.faces, displacements=still, uv=uv, picture=picture)
    return write_glb(Path(path).with_suffix(".glb"), [part], overwrite=overwrite)


def write_colored_glb(mesh: Mesh, path: str | os.PathLike, overwrite: bool = False) -> Path:
    """Write a GLB in meters with the colors of the vertices, on a matte material.

    Raises
    ------
    UsageError : If the mesh has no colors (``red``, ``green``, ``blue``, 0 to 1), or the file exists.
    """
    import trimesh

    missing = [name for name in ("red", "green", "blue") if name not in mesh.vertex_attributes]
    if missing:
        raise UsageError(f"The mesh has no vertex attribute {missing[0]}; wanted red, green and blue from 0 to 1.")
    colors = np.stack([mesh.vertex_attributes[name] for name in ("red", "green", "blue")], axis=1).clip(0, 1)
    # The format holds colors of vertices in linear light, pictures and meshes here those of a screen.
    linear = np.where(colors <= 0.04045, colors / 12.92, ((colors + 0.055) / 1.055) ** 2.4)
    rgba = np.concatenate([255 * linear, np.full((len(linear), 1), 255.0)], axis=1).round().astype(np.uint8)
    shown = trimesh.Trimesh(mesh.vertices / 1000, mesh.faces, vertex_colors=rgba, process=False)
    glb = Path(path).with_suffix(".glb")
    with writing(glb, overwrite) as aside:
        content = shown.export(file_type="glb", tree_postprocessor=_matte)
        assert isinstance(content, bytes)
        aside.write_bytes(content)
    return glb


def _matte(tree: dict[str, Any]) -> None:
    """Give every mesh of a glTF one matte material; colors of vertices come without any, which is metal."""
    pbr = {"metallicFactor": 0.0, "roughnessFactor": 1.0}
    tree["materials"] = [{"pbrMetallicRoughness": pbr, "doubleSided": True}]
    for mesh in tree["meshes"]:
        for primitive in mesh["primitives"]:
            primitive["material"] = 0


def _check(mesh: Mesh) -> None:
    if mesh.uv is None or mesh.face_uv is None or not np.array_equal(mesh.face_uv, mesh.faces):
        raise UsageError(
            "The mesh has no texture coordinates of its own vertices; wanted as many as vertices, in their order."
        )
