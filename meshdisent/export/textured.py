"""A mesh with a picture on it: OBJ with its material and PNG, and GLB, which has everything in one file."""

import os
from dataclasses import replace
from pathlib import Path

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


def _check(mesh: Mesh) -> None:
    if mesh.uv is None or mesh.face_uv is None or not np.array_equal(mesh.face_uv, mesh.faces):
        raise UsageError(
            "The mesh has no texture coordinates of its own vertices; wanted as many as vertices, in their order."
        )
