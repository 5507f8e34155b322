"""The topology that all scans of a dataset share, its template, and what is computed from the faces once.

Scans may be mixed when their topology hashes agree: same vertex count, same faces. Which face comes first in a file,
and at which corner a face starts, does not matter for that. The template hash adds the reference positions and the
order of the faces, because the hierarchy and the spirals depend on them.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components

from meshdisent.errors import MeshError, TopologyError


@dataclass(frozen=True, eq=False)
class Topology:
    """Faces and vertex count shared by all scans, with one mesh of reference.

    Parameters
    ----------
    template : (V, 3) Reference positions in mm.
    faces : (F, 3) Vertex indices, counter-clockwise seen from outside.
    regions : Named sets of vertices, as index arrays.

    Raises
    ------
    MeshError : If a face or a region names a vertex that does not exist, or a position is not finite.

    Examples
    --------
    >>> square = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]])
    >>> topology = Topology(square, np.array([[0, 1, 2], [0, 2, 3]]))
    >>> topology.vertex_count, topology.face_count, len(topology.edges)
    (4, 2, 5)
    """

    template: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    regions: Mapping[str, Int[np.ndarray, " _"]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "template", np.ascontiguousarray(self.template, dtype=np.float64))
        object.__setattr__(self, "faces", np.ascontiguousarray(self.faces, dtype=np.int64))
        regions = {name: np.asarray(members, dtype=np.int64) for name, members in self.regions.items()}
        object.__setattr__(self, "regions", regions)
        if not np.isfinite(self.template).all():
            row = int(np.flatnonzero(~np.isfinite(self.template).all(axis=1))[0])
            raise MeshError(
                f"The template has a position that is not finite, at vertex {row}; wanted finite numbers in mm. "
                "Export the template again."
            )
        for name, members in {"faces": self.faces, **{f"region {n!r}": m for n, m in regions.items()}}.items():
            if members.size and (members.min() < 0 or members.max() >= self.vertex_count):
                wrong = int(members.max()) if members.max() >= self.vertex_count else int(members.min())
                raise MeshError(
                    f"The {name} of the topology name vertex {wrong}; wanted 0 to {self.vertex_count - 1}. "
                    "Faces and vertices must come from the same file."
                )

    @property
    def vertex_count(self) -> int:
        """Number of vertices, V."""
        return len(self.template)

    @property
    def face_count(self) -> int:
        """Number of triangles, F."""
        return len(self.faces)

    @cached_property
    def topology_hash(self) -> str:
        """16 hexadecimal digits of the faces and the vertex count; the order of the faces does not count."""
        return _hash_faces(self.vertex_count, self.faces)

    @cached_property
    def template_hash(self) -> str:
        """16 hexadecimal digits of faces in their order, vertex count and positions rounded to float32."""
        digest = hashlib.sha256(self.topology_hash.encode())
        digest.update(self.faces.astype("<i8").tobytes())
        digest.update((self.template.astype("<f4") + np.float32(0)).tobytes())  # + 0 turns -0 into 0
        return digest.hexdigest()[:16]

    @cached_property
    def edges(self) -> Int[np.ndarray, "edge 2"]:
        """(E, 2) Every edge once, smaller index first, sorted."""
        return edges_of(self.faces, self.vertex_count)[0]

    @cached_property
    def is_border(self) -> Bool[np.ndarray, " vertex"]:
        """(V,) Whether a vertex lies on an edge of only one face."""
        return is_border_vertex(self.faces, self.vertex_count)

    @cached_property
    def adjacency(self) -> sparse.csr_array:
        """(V, V) 1 where two vertices share an edge, 0 elsewhere and on the diagonal."""
        return adjacency_of(self.edges, self.vertex_count)

    @cached_property
    def components(self) -> Int[np.ndarray, " vertex"]:
        """(V,) Number of the connected component of each vertex; an isolated vertex is one of its own."""
        return connected_components(self.adjacency, directed=False)[1].astype(np.int64)

    def rings(self, count: int) -> sparse.csr_array:
        """Which vertices lie within ``count`` edges of each other: (V, V) boolean, the diagonal included."""
        if count < 0:
            raise TopologyError(f"Rings were asked for within {count} edges; wanted 0 or more.")
        step = self.adjacency + sparse.eye_array(self.vertex_count, dtype=np.int8, format="csr")
        reach = sparse.eye_array(self.vertex_count, dtype=np.int8, format="csr")
        for _ in range(count):
            reach = (reach @ step).astype(bool).astype(np.int8)  # back to 0/1: counts of paths would overflow
        reach = sparse.csr_array(reach.astype(bool))
        reach.sort_indices()
        return reach

    def check(self, vertex_count: int, faces: Int[np.ndarray, "face 3"] | None, where: str) -> None:
        """Accept a scan of this topology, or raise.

        Parameters
        ----------
        vertex_count : Number of vertices of the scan.
        faces : (F, 3) Faces of the scan; None for a scan without faces (a point list), where only the count is checked.
        where : File or argument that holds the scan, for the message.

        Raises
        ------
        TopologyError : If the scan has another vertex count or other faces.
        """
        way_out = "Register the scan to the template first, or leave it out."
        if vertex_count != self.vertex_count:
            own = "" if faces is None else f" Its own topology is {_hash_faces(vertex_count, np.asarray(faces))}."
            raise TopologyError(
                f"{where} has {vertex_count} vertices; topology {self.topology_hash} has {self.vertex_count}."
                f"{own} {way_out}"
            )
        if faces is None or np.array_equal(faces, self.faces):
            return
        found = _hash_faces(vertex_count, np.asarray(faces, dtype=np.int64))
        if found != self.topology_hash:
            raise TopologyError(
                f"{where} has the {vertex_count} vertices of the topology but other faces: {len(faces)} with hash "
                f"{found}; wanted {self.face_count} with hash {self.topology_hash}. {way_out}"
            )


def edges_of(
    faces: Int[np.ndarray, "face 3"], vertex_count: int
) -> tuple[Int[np.ndarray, "edge 2"], Int[np.ndarray, " edge"]]:
    """List every edge once, smaller index first, sorted, and the number of faces at it."""
    ends = faces[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    keys = ends.min(axis=1).astype(np.int64) * vertex_count + ends.max(axis=1)
    keys, counts = np.unique(keys[ends[:, 0] != ends[:, 1]], return_counts=True)
    return np.stack([keys // max(vertex_count, 1), keys % max(vertex_count, 1)], axis=1), counts


def is_border_vertex(faces: Int[np.ndarray, "face 3"], vertex_count: int) -> Bool[np.ndarray, " vertex"]:
    """(V,) Whether a vertex lies on an edge of only one face."""
    edges, counts = edges_of(faces, vertex_count)
    border = np.zeros(vertex_count, dtype=bool)
    border[edges[counts == 1]] = True
    return border


def adjacency_of(edges: Int[np.ndarray, "edge 2"], vertex_count: int) -> sparse.csr_array:
    """(V, V) 1 where an edge is."""
    ends = np.concatenate([edges, edges[:, ::-1]])
    ones = np.ones(len(ends), dtype=np.int8)
    return sparse.csr_array((ones, (ends[:, 0], ends[:, 1])), shape=(vertex_count, vertex_count))


def _hash_faces(vertex_count: int, faces: Int[np.ndarray, "face 3"]) -> str:
    start = np.argmin(faces, axis=1)[:, None] if len(faces) else np.zeros((0, 1), dtype=np.int64)
    turned = np.take_along_axis(faces, (start + np.arange(3)) % 3, axis=1)
    turned = turned[np.lexsort(turned.T[::-1])]
    digest = hashlib.sha256(f"{vertex_count} vertices, {len(faces)} triangles:".encode())
    digest.update(turned.astype("<i8").tobytes())
    return digest.hexdigest()[:16]
