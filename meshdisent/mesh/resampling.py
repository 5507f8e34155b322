r"""Scans of one topology on the vertices of another: each new vertex is a fixed mix of three old ones.

The map is found once. The target's template is brought to the source's (:mod:`meshdisent.mesh.template_fit`), and each
of its vertices takes the closest point there: a triangle :math:`(a, b, c)` and barycentric weights. Every scan x of the
source topology then gives

.. math:: y_v = w_{va} x_a + w_{vb} x_b + w_{vc} x_c \; (+ \, o_v n_v),

where the offset :math:`o_v` along the surface's normal is optional: with it the source's template becomes the target's,
which is right for two meshes of one surface and wrong for templates of two different people, whose difference would
then be added to everyone. Templates of different people need landmarks, and even then only what is smooth between them
corresponds; a registration of every scan is better where it can be had.
"""

import json
import os
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import sparse

from meshdisent.errors import DataError, MeshdisentError, TopologyError
from meshdisent.files import writing
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.contents import ARCHIVE_DAMAGE, read_archive
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.template_fit import LandmarkPairs, brought_onto, on_border
from meshdisent.mesh.template_places import TOLERANCE_MM, Places, closest_places, mixed, unit
from meshdisent.mesh.topology import Topology

FORMAT, FORMAT_VERSION = "meshdisent.resampling", 1
#: Share of the target's vertices that may lie where the source has no surface before the map is refused.
MOST_UNCOVERED = 0.01
_LEAST_COVERED, _FEWEST_HELD = 0.25, 3
_SAME_FACE = 1 / 3  # of the tolerance: most that two meshes of one face are apart at most of their vertices


class Coverage(NamedTuple):
    """How well the templates lie on each other: distances of the target's vertices from the source's surface.

    ``uncovered`` vertices are farther away than the tolerance, beyond the border by more than a quarter of it, or on a
    side of the surface that looks the other way; ``vertices`` is the count before any were left out, while distances
    are of those that stay.
    """

    mean_mm: float
    most_mm: float  # 95 % are nearer
    worst_mm: float
    uncovered: int
    vertices: int


@dataclass(frozen=True, eq=False, kw_only=True)
class ResamplingMap:
    """How scans of one topology are brought to another.

    Attributes
    ----------
    source, target : The topologies with their templates.
    corners : (V, 3) Vertices of the source that each target vertex is mixed from.
    weights : (V, 3) Their shares; each row sums to one.
    motion : Rigid, from the frame of the source's scans to that of the target's; size is kept.
    offset : (V,) Distance of a vertex from the source's surface along its normal, in mm; None without.
    coverage : How well the templates lie on each other.
    """

    source: Topology
    target: Topology
    corners: Int[np.ndarray, "vertex 3"]
    weights: Float[np.ndarray, "vertex 3"]
    motion: Similarity
    offset: Float[np.ndarray, " vertex"] | None
    coverage: Coverage

    @cached_property
    def matrix(self) -> sparse.csr_array:
        """(V, source V) The weights as a matrix."""
        rows = np.repeat(np.arange(len(self.corners)), 3)
        shape = (len(self.corners), self.source.vertex_count)
        return sparse.csr_array((self.weights.ravel(), (rows, self.corners.ravel())), shape=shape)

    def apply(self, vertices: Float[np.ndarray, "scan source 3"]) -> Float[np.ndarray, "scan vertex 3"]:
        """Scans on the target topology, in the frame of its template, in mm.

        Parameters
        ----------
        vertices : (N, source V, 3) mm.

        Raises
        ------
        TopologyError : If the scans have another number of vertices than the source.
        """
        if vertices.shape[1] != self.source.vertex_count:
            raise TopologyError(
                f"A resampling map got scans of {vertices.shape[1]} vertices; wanted {self.source.vertex_count}, "
                "those of the topology that it was made for."
            )
        found = np.empty((len(vertices), self.target.vertex_count, 3))
        for scan, brought in zip(vertices.astype(np.float64), found, strict=True):
            brought[:] = self.matrix @ scan
            if self.offset is not None:
                brought += self.offset[:, None] * self._normals(scan)
        return self.motion.apply(found)

    def _normals(self, scan: Float[np.ndarray, "source 3"]) -> Float[np.ndarray, "vertex 3"]:
        return unit(self.matrix @ vertex_normals(scan, self.source.faces))

    def check(self, topology: Topology, where: str) -> None:
        """Raise :class:`TopologyError` if scans are not of the topology that the map was made for."""
        if topology.topology_hash != self.source.topology_hash:
            raise TopologyError(
                f"{where} has topology {topology.topology_hash} ({topology.vertex_count} vertices); the map was made "
                f"for {self.source.topology_hash} ({self.source.vertex_count}). Make one for these scans "
                "(meshdisent resample FACES.H5 --topology T --save-map MAP)."
            )


def resampling_map(
    source: Topology,
    target: Topology,
    *,
    landmarks: LandmarkPairs | None = None,
    tolerance_mm: float = TOLERANCE_MM,
    leave_out: bool = False,
    with_offset: bool = False,
) -> ResamplingMap:
    """Find the map from the closest points of the two templates.

    Parameters
    ----------
    source, target : Topologies with templates in mm that look the same way (y up, z to the viewer).
    landmarks : Corresponding points, needed where the templates are two different faces.
    tolerance_mm : How far a vertex of the target may lie from the source's surface.
    leave_out : Take vertices that the source does not cover out of the target topology instead of refusing the map.
    with_offset : Keep how far each vertex lies from the surface (see the module).

    Raises
    ------
    DataError : If the templates do not lie on each other well enough.

    Examples
    --------
    >>> topology = scans.topology
    >>> found = resampling_map(topology, topology)
    >>> bool(np.allclose(found.apply(scans.vertices()), scans.vertices(), atol=1e-4)), found.coverage.uncovered
    (True, 0)
    """
    if not tolerance_mm > 0:
        raise DataError(f"The tolerance is {tolerance_mm:g} mm; wanted more than 0, such as {TOLERANCE_MM:g}.")
    placed, is_moved = brought_onto(source, target, landmarks)
    places = closest_places(source, target, placed, tolerance_mm)
    if landmarks is None:
        _refuse_different_faces(places.distance[~on_border(source, places.face, places.weights)], tolerance_mm)
    found = _map(source, target, placed, places, is_moved, leave_out, with_offset)
    coverage = found.coverage
    if coverage.uncovered > MOST_UNCOVERED * len(placed) and not leave_out:
        raise _refusal(coverage, tolerance_mm, landmarks is not None)
    return found


def map_of_registration(
    source: Topology, target: Topology, placed: Float[np.ndarray, "vertex 3"], tolerance_mm: float = TOLERANCE_MM
) -> ResamplingMap:
    """The map from a registration of the target's template to the source's, which may be two different faces.

    Parameters
    ----------
    source, target : Topologies with templates in mm.
    placed : (V, 3) The target's vertices where they lie on the source's template, as
        :func:`~meshdisent.mesh.registration.register` gives them.
    tolerance_mm : Farther than this a vertex counts as not covered; it stands on its nearest place.

    Raises
    ------
    TopologyError, DataError : If ``placed`` are not the target's vertices, or too many of them lie off the source.

    Examples
    --------
    >>> topology = scans.topology
    >>> map_of_registration(topology, topology, topology.template).coverage.uncovered
    0
    """
    if placed.shape != target.template.shape:
        raise TopologyError(
            f"The registration has {len(placed)} vertices and its topology {target.vertex_count}; wanted one another's."
        )
    places = closest_places(source, target, placed, tolerance_mm)
    if places.is_covered.mean() < _LEAST_COVERED:
        raise DataError(
            f"The registration covers {places.is_covered.mean():.0%} of the target's vertices; wanted a quarter."
        )
    return _map(source, target, placed, places, is_moved=True, leave_out=False, with_offset=False)


def _map(
    source: Topology, target: Topology, placed: np.ndarray, places: Places, is_moved: bool, leave_out: bool,
    with_offset: bool,
) -> ResamplingMap:  # fmt: skip
    corners, weights, distance = source.faces[places.face], places.weights, places.distance
    kept = np.arange(len(placed))
    if leave_out and not places.is_covered.all():
        target, kept = _cropped(target, places.is_covered)
    coverage = Coverage(
        mean_mm=float(distance[kept].mean()),
        most_mm=float(np.quantile(distance[kept], 0.95)),
        worst_mm=float(distance[kept].max()),
        uncovered=int((~places.is_covered).sum()),
        vertices=len(placed),
    )
    feet = mixed(source.template, corners, weights)
    offset = ((placed - feet) * places.normals).sum(axis=1) if with_offset else None
    seen = feet if offset is None else feet + offset[:, None] * places.normals
    held = places.is_covered[kept]  # what stands on a rim for want of a place says nothing of the motion
    held |= held.sum() < _FEWEST_HELD  # the callers refuse such a map
    motion = align(seen[kept][held], target.template[held]) if is_moved else Similarity.identity()
    return ResamplingMap(
        source=source,
        target=target,
        corners=corners[kept],
        weights=weights[kept],
        motion=motion,
        offset=None if offset is None else offset[kept],
        coverage=coverage,
    )


def _cropped(topology: Topology, is_kept: Bool[np.ndarray, " vertex"]) -> tuple[Topology, Int[np.ndarray, " kept"]]:
    """The faces whose vertices are all kept, and the vertices of those."""
    faces = topology.faces[is_kept[topology.faces].all(axis=1)]
    kept, numbered = np.unique(faces, return_inverse=True)
    if not len(faces):
        raise DataError(
            "No face of the target template lies on the source template; wanted two faces in one place. Give "
            "corresponding points with --landmarks."
        )
    regions = {name: np.flatnonzero(np.isin(kept, members)) for name, members in topology.regions.items()}
    return Topology(topology.template[kept], numbered.reshape(faces.shape), regions), kept


def _refuse_different_faces(inside_mm: Float[np.ndarray, " inside"], tolerance_mm: float) -> None:
    """Two meshes of one face lie on each other wherever both have a surface, and only then do closest points mean it.

    The generic face of ICT-FaceKit and the synthetic head, brought together without landmarks, have a median distance
    of 3 mm, which looks fair, and the eyes of one lie 18 mm above those of the other.
    """
    usual = float(np.median(inside_mm)) if len(inside_mm) else 0.0
    if usual > _SAME_FACE * tolerance_mm:
        raise DataError(
            f"The templates are two different faces: half of the points that both have are {usual:.1f} mm or more "
            f"apart after alignment, wanted at most {_SAME_FACE * tolerance_mm:.1f}, or the closest point is not the "
            "same point of a face. Give corresponding points with --landmarks, or register the scans to the target's "
            "template."
        )


def _refusal(coverage: Coverage, tolerance_mm: float, has_landmarks: bool) -> DataError:
    way = "Correct the landmarks" if has_landmarks else "Give corresponding points with --landmarks"
    return DataError(
        f"The templates do not lie on each other: {coverage.uncovered} of {coverage.vertices} vertices of the target "
        f"({coverage.uncovered / coverage.vertices:.0%}) have no place on the source's surface within {tolerance_mm:g} "
        f"mm (mean distance {coverage.mean_mm:.1f} mm, 95 % below {coverage.most_mm:.1f}, worst "
        f"{coverage.worst_mm:.1f}). {way}, take what is not covered out of the target with --leave-out, or register "
        "the scans to the target's template."
    )


def save_map(found: ResamplingMap, path: str | os.PathLike, overwrite: bool = False) -> None:
    """Write a map as an ``.npz`` of plain arrays, with both topologies, so that it can be replayed without them.

    Raises
    ------
    UsageError : If ``path`` exists and ``overwrite`` is false.
    """
    arrays: dict[str, Any] = {
        "format": np.array(FORMAT),
        "format_version": np.array(FORMAT_VERSION),
        "hashes": np.array([found.source.topology_hash, found.target.topology_hash]),
        "source_template": found.source.template,
        "source_faces": found.source.faces,
        "target_template": found.target.template,
        "target_faces": found.target.faces,
        "corners": found.corners,
        "weights": found.weights,
        "rotation": found.motion.rotation,
        "translation": found.motion.translation,
        "coverage": np.array(json.dumps(found.coverage._asdict())),
        **{f"region/{name}": members for name, members in found.target.regions.items()},
    }
    if found.offset is not None:
        arrays["offset"] = found.offset
    with writing(path, overwrite) as aside, open(aside, "wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def read_map(path: str | os.PathLike) -> ResamplingMap:
    """Read what :func:`save_map` wrote; nothing in a file can run.

    Raises
    ------
    DataError : If the file is absent, damaged, of another kind or of a later version.

    Examples
    --------
    >>> save_map(resampling_map(scans.topology, scans.topology), folder / "map.npz")
    >>> read_map(folder / "map.npz").target.topology_hash == scans.topology.topology_hash
    True
    """
    try:
        with open(path, "rb") as file:
            arrays = {name: array for name, array in read_archive(file).items() if array is not None}
    except FileNotFoundError:
        raise DataError(f"{path} is absent; wanted a map that meshdisent resample --save-map wrote.") from None
    except ARCHIVE_DAMAGE as error:
        raise DataError(f"{path} is no map or is damaged ({error}); make it again, with --save-map.") from error
    if str(arrays.get("format")) != FORMAT:
        raise DataError(f"{path} is an archive of another kind; wanted a map that meshdisent resample wrote.")
    version = arrays.get("format_version")
    if version is None or version.shape or version.dtype.kind not in "iu" or version < 1:
        raise DataError(f"{path} is damaged (format_version {version}); make it again, with --save-map.")
    if version > FORMAT_VERSION:
        raise DataError(f"{path} was written by a later meshdisent; install a newer one, or make the map again.")
    try:
        return _from_arrays(arrays)
    except (KeyError, ValueError, TypeError, IndexError, MeshdisentError) as error:
        raise DataError(f"{path} is damaged ({error}); make it again, with --save-map.") from error


def _from_arrays(arrays: dict[str, np.ndarray]) -> ResamplingMap:
    regions = {name.removeprefix("region/"): value for name, value in arrays.items() if name.startswith("region/")}
    own, other = (Mesh(arrays[f"{side}_template"], arrays[f"{side}_faces"]) for side in ("source", "target"))
    source, target = Topology(own.vertices, own.faces), Topology(other.vertices, other.faces, regions)
    corners, weights = arrays["corners"].astype(np.int64), arrays["weights"].astype(np.float64)
    offset = arrays.get("offset")
    if [source.topology_hash, target.topology_hash] != arrays["hashes"].tolist():
        raise ValueError("the topologies are not those of its hashes")
    if corners.shape != (target.vertex_count, 3) or weights.shape != corners.shape:
        raise ValueError(f"it mixes {len(corners)} vertices for the {target.vertex_count} of its target")
    if corners.min() < 0 or corners.max() >= source.vertex_count:
        raise ValueError(f"it names a vertex that the {source.vertex_count} of its source do not have")
    if not np.allclose(weights.sum(axis=1), 1.0) or (offset is not None and offset.shape != (len(corners),)):
        raise ValueError("its weights do not sum to one, or its offsets are not one a vertex")
    return ResamplingMap(
        source=source,
        target=target,
        corners=corners,
        weights=weights,
        motion=Similarity(1.0, arrays["rotation"].reshape(3, 3), arrays["translation"].reshape(3)),
        offset=offset,
        coverage=Coverage(**json.loads(str(arrays["coverage"]))),
    )
