"""A part of a topology with its way back: a result on the cropped face goes onto the whole head again.

``rows`` says which vertex of the whole each vertex of the part is, ``places`` the other way round. To put a part back,
the whole is first brought to it by a similarity. What the part still moves is carried on along the surface by the
displacement that bends least (:mod:`meshdisent.mesh.thin_plate`), times a weight that falls smoothly from 1 at the part
to 0. Vertices that decimation took out of the part come back the same way. Pieces that hang on nothing (eyeballs,
teeth) move as solid bodies.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from meshdisent.errors import DataError, TopologyError
from meshdisent.mesh.alignment import align
from meshdisent.mesh.thin_plate import ThinPlate
from meshdisent.mesh.topology import Topology

FADE_MM = 150.0
#: Over this distance a displacement goes on as a slope, beyond it as a constant. Of 5, 10, 20 and 40 mm only with the
#: first does the inside of ICT-FaceKit's mouth stay inside when the mouth is open.
_SLOPE_MM = 5.0
_NEIGHBORS_MM = 2.0  # loose pieces nearer than this move together: teeth with gums, lashes with an eye


@dataclass(frozen=True, eq=False, kw_only=True)
class Crop:
    """A part of a topology.

    Attributes
    ----------
    full, part : Topologies; the template of the part is cut out of that of the whole.
    rows : (K,) The vertex of the whole that each vertex of the part is, increasing.
    """

    full: Topology
    part: Topology
    rows: Int[np.ndarray, " part"]

    @cached_property
    def places(self) -> Int[np.ndarray, " vertex"]:
        """(V,) The vertex of the part that each vertex of the whole is; -1 where it is not in the part."""
        places = np.full(self.full.vertex_count, -1)
        places[self.rows] = np.arange(len(self.rows))
        return places

    def take(self, scans: Float[np.ndarray, "*batch vertex 3"]) -> Float[np.ndarray, "*batch part 3"]:
        """Cut the part out of scans of the whole topology."""
        return scans[..., self.rows, :]

    def put_back(
        self,
        part: Float[np.ndarray, "part 3"],
        full: Float[np.ndarray, "vertex 3"] | None = None,
        fade_mm: float = FADE_MM,
    ) -> Float[np.ndarray, "vertex 3"]:
        """The whole with a result for the part: inside exactly that, outside what is smooth beside it.

        Parameters
        ----------
        part : (K, 3) mm, in any frame: the whole is brought there.
        full : (V, 3) mm, the head that it goes onto; the template of the whole if not given.
        fade_mm : Over which distance from the part the whole becomes its own shape again.

        Raises
        ------
        TopologyError : If either has another number of vertices.
        DataError : If the distance is not above 0.

        Examples
        --------
        >>> found = crop(model.topology, np.arange(100))
        >>> bool(np.allclose(found.put_back(found.part.template + 5.0), model.topology.template + 5.0))
        True
        """
        full = self.full.template if full is None else np.asarray(full, np.float64)
        for name, given, wanted in (("part", part, len(self.rows)), ("whole", full, self.full.vertex_count)):
            if given.shape != (wanted, 3):
                raise TopologyError(f"The {name} has the shape {given.shape}; wanted ({wanted}, 3) vertices in mm.")
        if not fade_mm > 0:
            raise DataError(f"The displacement would fade over {fade_mm:g} mm; wanted more than 0, such as {FADE_MM}.")
        moved = align(full[self.rows], part, with_scale=True).apply(full)
        outside = np.flatnonzero(self.places < 0)
        if len(outside):
            field = self._extension(np.asarray(part, np.float64) - moved[self.rows])[outside]
            share = np.clip(cKDTree(moved[self.rows]).query(moved[outside])[0] / fade_mm, 0, 1)
            field *= (1 - share**3 * (share * (6 * share - 15) + 10))[:, None]
            moved[outside] = self._with_solid_pieces(moved[outside], field, outside)
        moved[self.rows] = part
        return moved

    @cached_property
    def _extension(self) -> Callable[[np.ndarray], np.ndarray]:
        return ThinPlate(self.full, _SLOPE_MM).extension(self.rows)

    def _with_solid_pieces(self, points: np.ndarray, field: np.ndarray, outside: np.ndarray) -> np.ndarray:
        result = points + field
        for piece in self._loose_pieces(points, outside):
            if len(piece) > 3:
                result[piece] = align(points[piece], result[piece], with_scale=True).apply(points[piece])
        return result

    def _loose_pieces(self, points: np.ndarray, outside: np.ndarray) -> Iterator[np.ndarray]:
        """Places in ``outside`` of pieces that no edge joins to the part; near ones together."""
        components = self.full.components
        loose = np.flatnonzero(~np.isin(components[outside], components[self.rows]))
        if not len(loose):
            return
        number = np.unique(components[outside[loose]], return_inverse=True)[1]
        near = cKDTree(points[loose]).query_pairs(_NEIGHBORS_MM, output_type="ndarray")
        joined = sparse.coo_array(
            (np.ones(len(near)), (number[near[:, 0]], number[near[:, 1]])), (number.max() + 1,) * 2
        )
        group = connected_components(joined, directed=False)[1][number]
        for k in range(group.max() + 1):
            yield loose[group == k]


def crop(topology: Topology, members: Int[np.ndarray, " member"]) -> Crop:
    """Cut a region out of a topology; its faces are those whose corners are all in it.

    Raises
    ------
    TopologyError : If a vertex does not exist, or no face is left.
    """
    rows = np.unique(np.asarray(members, np.int64))
    if not len(rows) or rows[0] < 0 or rows[-1] >= topology.vertex_count:
        raise TopologyError(
            f"A region of {len(rows)} vertices was asked for out of a topology of {topology.vertex_count}; wanted "
            f"numbers from 0 to {topology.vertex_count - 1}."
        )
    places = np.full(topology.vertex_count, -1)
    places[rows] = np.arange(len(rows))
    faces = places[topology.faces]
    faces = faces[(faces >= 0).all(axis=1)]
    if not len(faces):
        raise TopologyError(f"No face has all of its corners in the region of {len(rows)} vertices; wanted a surface.")
    regions = {name: places[inside][places[inside] >= 0] for name, inside in topology.regions.items()}
    regions = {name: inside for name, inside in regions.items() if len(inside)}
    return Crop(full=topology, part=Topology(topology.template[rows], faces, regions), rows=rows)
