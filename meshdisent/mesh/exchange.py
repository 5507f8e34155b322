"""Meshes of other libraries, taken and given: trimesh, pyvista, psbody, plain arrays.

psbody-mesh is on no package index, so its meshes are known by their shape: an object with ``v`` (vertex, 3) and
perhaps ``f`` (face, 3). :func:`to_psbody` gives such an object, which code written for ``psbody.mesh.Mesh`` reads;
where psbody is installed, ``psbody.mesh.Mesh(v=it.v, f=it.f)`` makes a real one. The other libraries are imported only
when they are asked for.
"""

import os
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, UInt32

from meshdisent.errors import MeshError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.polygons import fan, polygon_corners

if TYPE_CHECKING:
    import pyvista
    import trimesh

WANTED = (
    "a Mesh, the path of a mesh file, an array of vertices (vertex, 3), a tuple (vertices, faces), a "
    "trimesh.Trimesh, a pyvista.PolyData, or an object with v and f as psbody has"
)


@dataclass(frozen=True, eq=False)
class PsbodyMesh:
    """What code for psbody meshes reads of one.

    Parameters
    ----------
    v : (vertex, 3) Positions, float64.
    f : (face, 3) Triangles, uint32.
    """

    v: Float[np.ndarray, "vertex 3"]
    f: UInt32[np.ndarray, "face 3"]


def as_mesh(scan: Any) -> Mesh:
    """Give the :class:`Mesh` of anything that is one; vertex k stays vertex k.

    Takes positions and faces (polygons of pyvista too), copied; of a :class:`Mesh` or a file, everything.

    Parameters
    ----------
    scan : A :class:`Mesh`, the path of a mesh file, vertices (vertex, 3), a tuple (vertices, faces), a
        ``trimesh.Trimesh``, a ``pyvista.PolyData``, or an object with ``v`` and perhaps ``f`` as psbody has.

    Raises
    ------
    MeshError : If it is none of these, or no mesh.

    Examples
    --------
    >>> as_mesh((np.eye(3), np.array([[0, 1, 2]]))).face_count
    1
    """
    if isinstance(scan, Mesh):
        return scan
    if isinstance(scan, str | os.PathLike):
        return Mesh.read(scan)
    if _is_of(scan, "trimesh", "Trimesh"):
        return _from_arrays(scan.vertices, scan.faces, scan)
    if _is_of(scan, "pyvista", "PolyData"):
        return _from_pyvista(scan)
    if isinstance(scan, tuple) and len(scan) == 2:
        return _from_arrays(scan[0], scan[1], scan)
    if hasattr(scan, "v"):
        return _from_arrays(scan.v, getattr(scan, "f", None), scan)
    if hasattr(scan, "__array__"):
        return _from_arrays(scan, None, scan)
    hint = "a scene; put it together with scene.to_mesh() first" if _is_of(scan, "trimesh", "Scene") else "no mesh"
    raise MeshError(f"A scan is {_type_name(scan)}, {hint}; wanted {WANTED}.")


def to_trimesh(mesh: Mesh) -> "trimesh.Trimesh":
    """Give a ``trimesh.Trimesh`` with the same vertices in the same order (``process=False``), and the triangles."""
    import trimesh

    return trimesh.Trimesh(mesh.vertices.copy(), mesh.faces.copy(), process=False)


def to_pyvista(mesh: Mesh) -> "pyvista.PolyData":
    """Give a ``pyvista.PolyData`` with the same vertices in the same order, and the polygons; points if it has none."""
    import pyvista

    if not mesh.face_count:
        return pyvista.PolyData(mesh.vertices.copy())
    sizes = np.full(mesh.face_count, 3) if mesh.polygon_sizes is None else mesh.polygon_sizes
    corners = polygon_corners(mesh.faces, sizes)
    first = np.cumsum(sizes) - sizes
    return pyvista.PolyData(mesh.vertices.copy(), np.insert(corners, first, sizes))


def to_psbody(mesh: Mesh) -> PsbodyMesh:
    """Give an object with ``v`` and ``f``, as code for psbody meshes reads them."""
    return PsbodyMesh(mesh.vertices.copy(), mesh.faces.astype(np.uint32))


def _is_of(scan: Any, module: str, name: str) -> bool:
    """Tell whether it is of a class of a library, without importing the library: who has such an object has done so."""
    known = getattr(sys.modules.get(module), name, None)
    return isinstance(known, type) and isinstance(scan, known)


def _from_pyvista(scan: "pyvista.PolyData") -> Mesh:
    if scan.n_strips:
        raise MeshError(
            f"A pyvista.PolyData has {scan.n_strips} triangle strips; wanted faces. Call triangulate() first."
        )
    polygons = scan.GetPolys()
    if not polygons.GetNumberOfCells():
        return _from_arrays(scan.points, None, scan)
    flat = np.ascontiguousarray(scan.faces, dtype=np.int64)  # size, corners, size, corners, ...
    first = _polygon_starts(flat, polygons.GetNumberOfCells())
    sizes = flat[first]
    if sizes.min() < 3:
        raise MeshError(
            f"A pyvista.PolyData has a face of {sizes.min()} corners (face {np.argmin(sizes)}); wanted 3 or more. "
            "Call its clean() first."
        )
    faces = np.delete(flat, first)[fan(sizes)]
    mesh = _from_arrays(scan.points, faces, scan)
    return mesh if (sizes == 3).all() else Mesh(mesh.vertices, mesh.faces, polygon_sizes=sizes)


def _polygon_starts(flat: np.ndarray, count: int) -> np.ndarray:
    """Where each polygon begins in a list of sizes and corners."""
    if len(flat) % count == 0 and (flat[:: len(flat) // count] == len(flat) // count - 1).all():
        return np.arange(0, len(flat), len(flat) // count)
    starts, place = [], 0
    for _ in range(count):
        starts.append(place)
        place += 1 + int(flat[place])
    return np.array(starts)


def _from_arrays(vertices: Any, faces: Any, scan: Any) -> Mesh:
    try:
        # Without faces, psbody and others have None, an empty array of any shape, or no attribute.
        # Two steps each, since torch tensors answer a request for a copy with a warning.
        copied = np.array(np.asarray(vertices)), np.array(np.asarray([] if faces is None else faces))
    except Exception as error:  # whatever a foreign object raises when it is asked for its numbers
        raise MeshError(f"A scan is {_type_name(scan)} that cannot be read: {error}. Wanted {WANTED}.") from error
    try:
        return Mesh(*copied) if copied[1].size else Mesh(copied[0])
    except MeshError as error:
        raise MeshError(f"A scan is {_type_name(scan)} that is no mesh. {error}") from error


def _type_name(scan: Any) -> str:
    return f"a {type(scan).__module__}.{type(scan).__qualname__}".replace("builtins.", "")
