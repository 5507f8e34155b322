"""One mesh: positions, triangles, and what its file said beside them.

Row k of ``vertices`` is vertex k of the file, whatever else the file holds: duplicates, vertices without a face and
seams of the texture change nothing. What has seams (texture coordinates, normals) has a list and indices of its own.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import MeshError
from meshdisent.mesh.polygons import check_fans


@dataclass(frozen=True, eq=False)
class Labels:
    """Names that faces carry: their object, group, material or smoothing group.

    Parameters
    ----------
    names : Each name once.
    of_face : (face,) Row of ``names`` for each triangle, -1 for none.
    """

    names: tuple[str, ...]
    of_face: Int[np.ndarray, " face"]


@dataclass(frozen=True, eq=False)
class Mesh:
    """Vertices and triangles with the extras of a mesh file. Checked when made, and always finite.

    Parameters
    ----------
    vertices : (vertex, 3) Positions in the unit of the file, float64.
    faces : (face, 3) Vertices of each triangle, counter-clockwise from outside, int64. Without: a point cloud.
    polygon_sizes : (polygon,) Corners of each polygon that the triangles are fans of; None: all are triangles.
    uv, face_uv : (texture, 2 or 3) texture coordinates and (face, 3) their rows for each corner, -1 for none.
    normals, face_normals : (normal, 3) normals and (face, 3) their rows for each corner, -1 for none.
    labels : ``"object"``, ``"group"``, ``"material"``, ``"smoothing"``, as far as the file has them.
    material_files : Names of material files, as written; they are never opened.
    vertex_attributes : By name, (vertex,) or (vertex, k) numbers: ``red``, ``nx``, ``weight``, ...
    ignored : What the file states and this class does not hold, with how often: ``{"l": 12}``.

    Raises
    ------
    MeshError : If shapes, types or index ranges do not fit, or a coordinate is not finite.

    Examples
    --------
    >>> square = Mesh(np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]), np.array([[0, 1, 2], [0, 2, 3]]))
    >>> square.face_areas().tolist()
    [0.5, 0.5]
    """

    # Plain arrays, because this is where foreign ones come in: shapes and types are checked below, with messages.
    vertices: np.ndarray
    faces: np.ndarray = field(default_factory=lambda: np.empty((0, 3), dtype=np.int64))
    polygon_sizes: np.ndarray | None = None
    uv: np.ndarray | None = None
    face_uv: np.ndarray | None = None
    normals: np.ndarray | None = None
    face_normals: np.ndarray | None = None
    labels: Mapping[str, Labels] = field(default_factory=dict)
    material_files: tuple[str, ...] = ()
    vertex_attributes: Mapping[str, np.ndarray] = field(default_factory=dict)
    ignored: Mapping[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _set(self, "vertices", _numbers(self.vertices, "vertices", (3,)))
        if not len(self.vertices):
            raise MeshError("The mesh has no vertices; wanted at least one row (x, y, z).")
        wrong = np.flatnonzero(~np.isfinite(self.vertices).all(axis=1))
        if len(wrong):
            raise MeshError(
                f"Vertex {wrong[0]} is {self.vertices[wrong[0]].tolist()} ({len(wrong)} such); wanted finite numbers. "
                "Repair the scan or leave it out."
            )
        _set(self, "faces", _indices(self.faces, "faces", len(self.vertices), lowest=0))
        self._check_corners("uv", "face_uv", (2, 3))
        self._check_corners("normals", "face_normals", (3,))
        self._check_polygons()
        self._check_named()

    def __repr__(self) -> str:
        return f"Mesh({self.vertex_count} vertices, {self.face_count} faces)"

    @property
    def vertex_count(self) -> int:
        """How many vertices there are."""
        return len(self.vertices)

    @property
    def face_count(self) -> int:
        """How many triangles there are."""
        return len(self.faces)

    @property
    def bounds(self) -> Float[np.ndarray, "2 3"]:
        """Smallest and largest coordinates: the corners of the box around the vertices."""
        return np.stack([self.vertices.min(axis=0), self.vertices.max(axis=0)])

    @classmethod
    def read(cls, path: str | os.PathLike) -> "Mesh":
        """Read a mesh file; the extension, in upper or lower case, says the format.

        Raises
        ------
        MeshError : If the file is absent, damaged or of an unknown format.
        """
        from meshdisent.mesh.formats import READERS, by_extension  # readers make Meshes, so they import this file

        return by_extension(READERS, path)(path)

    def write(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write a mesh file; the extension says the format. Reading it back gives the same vertices, bit for bit.

        Raises
        ------
        MeshError : If the format is unknown or cannot hold a name of the mesh.
        UsageError : If the file exists and ``overwrite`` is false.
        """
        from meshdisent.mesh.formats import WRITERS, by_extension

        by_extension(WRITERS, path)(path, self, overwrite)

    def with_vertices(self, vertices: np.ndarray) -> "Mesh":
        """Give the same mesh with other positions.

        Takes (vertex, 3) numbers. Normals that came with the old positions (``normals``, ``nx ny nz``) are left out:
        they would be wrong now.

        Raises
        ------
        MeshError : If the number of vertices differs.
        """
        if np.shape(vertices) != self.vertices.shape:
            raise MeshError(f"The new vertices have shape {np.shape(vertices)}; wanted {self.vertices.shape}.")
        kept = {name: values for name, values in self.vertex_attributes.items() if name not in ("nx", "ny", "nz")}
        return replace(self, vertices=vertices, normals=None, face_normals=None, vertex_attributes=kept)

    def face_areas(self) -> Float[np.ndarray, " face"]:
        """Area of each triangle, in the square of the unit of the vertices."""
        return np.linalg.norm(_face_crosses(self.vertices, self.faces), axis=1) / 2

    def vertex_normals(self) -> Float[np.ndarray, "vertex 3"]:
        """Unit normal of each vertex: the mean over its triangles, weighted by their area; zero without a triangle."""
        largest = np.abs(self.vertices).max() or 1.0  # products of extreme coordinates stay finite
        crosses = _face_crosses(self.vertices / largest, self.faces)
        sums = np.stack(
            [np.bincount(self.faces.ravel(), np.repeat(crosses[:, axis], 3), self.vertex_count) for axis in range(3)],
            axis=1,
        ).astype(np.float64)  # bincount counts in integers when there is nothing to count
        lengths = np.linalg.norm(sums, axis=1, keepdims=True)
        return np.divide(sums, lengths, out=np.zeros_like(sums), where=lengths > 0)

    def _check_corners(self, name: str, face_name: str, widths: tuple[int, ...]) -> None:
        values, rows = getattr(self, name), getattr(self, face_name)
        if values is None and rows is None:
            return
        if values is None or rows is None:
            raise MeshError(f"The mesh has one of {name} and {face_name}; wanted both or neither.")
        _set(self, name, _numbers(values, name, widths))
        _set(self, face_name, _indices(rows, face_name, len(getattr(self, name)), lowest=-1))
        if len(rows) != self.face_count:
            raise MeshError(f"{face_name} has {len(rows)} rows; wanted {self.face_count}, one for each face.")

    def _check_polygons(self) -> None:
        if self.polygon_sizes is None:
            return
        sizes = np.asarray(self.polygon_sizes)
        if sizes.ndim != 1 or sizes.dtype.kind not in "iu":
            raise MeshError(f"polygon_sizes is {sizes.dtype} of shape {sizes.shape}; wanted one integer a polygon.")
        _set(self, "polygon_sizes", np.ascontiguousarray(sizes, dtype=np.int64))
        for rows in (self.faces, self.face_uv, self.face_normals):
            if rows is not None:
                check_fans(rows, self.polygon_sizes)

    def _check_named(self) -> None:
        for kind, labels in self.labels.items():
            rows = np.asarray(labels.of_face)
            if rows.shape != (self.face_count,):
                raise MeshError(f"The {kind} labels have shape {rows.shape}; wanted ({self.face_count},), one a face.")
            if len(rows) and not (rows.min() >= -1 and rows.max() < len(labels.names)):
                raise MeshError(f"A {kind} label is outside -1 ... {len(labels.names) - 1}, the rows of its names.")
            if self.polygon_sizes is not None:
                first = np.cumsum(self.polygon_sizes - 2) - (self.polygon_sizes - 2)
                if not np.array_equal(np.repeat(rows[first], self.polygon_sizes - 2), rows):
                    raise MeshError(f"Triangles of one polygon differ in their {kind} label; wanted one a polygon.")
        for name, values in self.vertex_attributes.items():
            if np.ndim(values) not in (1, 2) or len(values) != self.vertex_count or values.dtype.kind not in "biuf":
                raise MeshError(
                    f"The vertex attribute {name!r} is {np.asarray(values).dtype} of shape {np.shape(values)}; wanted "
                    f"numbers of shape ({self.vertex_count},) or ({self.vertex_count}, k), a row for each vertex."
                )


def _set(mesh: Mesh, name: str, value: object) -> None:
    object.__setattr__(mesh, name, value)  # the class is frozen for everybody else


def _numbers(value: Any, name: str, widths: tuple[int, ...]) -> Float[np.ndarray, "row _"]:
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[1] not in widths or array.dtype.kind not in "iuf":
        wanted = " or ".join(f"(n, {width})" for width in widths)
        raise MeshError(f"{name} is {array.dtype} of shape {array.shape}; wanted numbers of shape {wanted}.")
    with np.errstate(invalid="ignore"):  # a signaling NaN warns when it is converted; what matters is checked later
        return np.ascontiguousarray(array, dtype=np.float64)


def _indices(value: Any, name: str, count: int, lowest: int) -> Int[np.ndarray, "face 3"]:
    array = np.asarray(value)
    if array.ndim != 2 or array.shape[1] != 3 or (array.size and array.dtype.kind not in "iu"):
        raise MeshError(f"{name} is {array.dtype} of shape {array.shape}; wanted integers of shape (n, 3).")
    array = np.ascontiguousarray(array, dtype=np.int64)
    if array.size and not (lowest <= array.min() and array.max() < count):
        row = int(np.flatnonzero(((array < lowest) | (array >= count)).any(axis=1))[0])
        raise MeshError(f"{name}, row {row}, is {array[row].tolist()}; wanted {lowest} ... {count - 1}.")
    return array


def _face_crosses(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Float[np.ndarray, "face 3"]:
    """Cross product of two edges of each triangle: its normal, twice its area long."""
    first, second, third = (vertices[faces[:, corner]] for corner in range(3))
    return np.cross(second - first, third - first)
