"""Landmark sets: named points on the surface of a topology, so that every scan of it knows where they are.

A point lies in a triangle of vertices (a, b, c) with barycentric weights; on scan x it is at
:math:`w_a x_a + w_b x_b + w_c x_c`. A point that is a vertex has the weights (1, 0, 0).
"""

import difflib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.landmark_files import MOST_BYTES, read_landmark_file
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.topology import Topology

if TYPE_CHECKING:
    from meshdisent.mesh.resampling import ResamplingMap

#: A point farther from a surface than this is not on it: that part of the face was cut away.
FARTHEST_MM = 3.0


@dataclass(frozen=True, eq=False, kw_only=True)
class LandmarkSet:
    """Named points of one topology.

    Attributes
    ----------
    names : (L,) Each once; for iBUG's points those of :data:`meshdisent.mesh.landmark_files.IBUG_68`.
    corners : (L, 3) Vertices that each point is mixed from.
    weights : (L, 3) Their shares; each row sums to one.
    source : Where the set comes from, in words.

    Raises
    ------
    DataError : If a name occurs twice.

    Examples
    --------
    >>> chin = LandmarkSet.of_vertices(["chin"], [1])
    >>> chin.positions(np.array([[0.0, 0, 0], [0, -90, 20]])).tolist()
    [[0.0, -90.0, 20.0]]
    """

    names: tuple[str, ...]
    corners: Int[np.ndarray, "landmark 3"]
    weights: Float[np.ndarray, "landmark 3"]
    source: str = "given"

    def __post_init__(self) -> None:
        twice = [name for name in self.names if self.names.count(name) > 1]
        if twice:
            raise DataError(f"The landmark {twice[0]!r} is named twice; wanted a name of its own for each point.")

    def __len__(self) -> int:
        return len(self.names)

    @classmethod
    def of_vertices(
        cls, names: Sequence[str], vertices: Sequence[int] | Int[np.ndarray, " landmark"], source: str = "given"
    ) -> "LandmarkSet":
        """A set whose points are vertices."""
        rows = np.asarray(vertices, np.int64)
        weights = np.tile([1.0, 0.0, 0.0], (len(rows), 1))
        return cls(names=tuple(names), corners=np.repeat(rows[:, None], 3, axis=1), weights=weights, source=source)

    @classmethod
    def of_points(
        cls,
        topology: Topology,
        points: Mapping[str, Float[np.ndarray, "3"]],
        normals: Float[np.ndarray, "landmark 3"] | None = None,
        farthest_mm: float = FARTHEST_MM,
        source: str = "given",
    ) -> "LandmarkSet":
        """The nearest points of the template's surface; those too far away are left out.

        Parameters
        ----------
        points : (3,) mm by name, in the frame of the template.
        normals : (L, 3) Which way the surface looks there, so that a point of one lip does not go to the other.
        farthest_mm : How far a point may be from the surface.
        """
        places = np.array(list(points.values()), np.float64).reshape(-1, 3)
        face, weights, distance = _closest_alike(places, normals, topology)
        kept = np.flatnonzero(distance <= farthest_mm)
        names = list(points)
        return cls(
            names=tuple(names[k] for k in kept),
            corners=topology.faces[face[kept]],
            weights=weights[kept],
            source=source,
        )

    @property
    def vertices(self) -> Int[np.ndarray, " landmark"]:
        """(L,) The vertex with the largest share of each point."""
        return self.corners[np.arange(len(self.corners)), self.weights.argmax(axis=1)]

    @property
    def rows(self) -> dict[str, int]:
        """The vertices by name, as :meth:`meshdisent.mesh.landmarks.Landmarks.named` takes them."""
        return dict(zip(self.names, self.vertices.tolist(), strict=True))

    def positions(self, scans: Float[np.ndarray, "*batch vertex 3"]) -> Float[np.ndarray, "*batch landmark 3"]:
        """Where the points are on scans, mm."""
        return np.einsum("lk,...lkd->...ld", self.weights, scans[..., self.corners, :])

    def points(self, vertices: Float[np.ndarray, "vertex 3"]) -> dict[str, Float[np.ndarray, "3"]]:
        """Where the points are on one scan, mm, by name."""
        return dict(zip(self.names, self.positions(vertices), strict=True))

    def through(self, found: "ResamplingMap") -> "LandmarkSet":
        """The set of the map's target, on its source: scans that are not resampled yet know its points, too."""
        source = found.source
        normals = vertex_normals(source.template, source.faces)
        # Straight from the source's template through the map, without the motion into the target's frame.
        places = self.positions(found.matrix @ source.template)
        return LandmarkSet.of_points(
            source,
            dict(zip(self.names, places, strict=True)),
            self.positions(found.matrix @ normals),
            source=f"{self.source}, through a resampling map",
        )

    def onto(self, own: Topology, other: Topology, farthest_mm: float = FARTHEST_MM) -> "LandmarkSet":
        """The set on another mesh of the same surface, in the same frame: decimated, cropped or remeshed.

        Parameters
        ----------
        own, other : The topology of this set and the one to bring it to.
        farthest_mm : Points whose surface the other does not have are left out.

        Raises
        ------
        DataError : If the other has fewer than three of the points.
        """
        normals = self.positions(vertex_normals(own.template, own.faces))
        found = LandmarkSet.of_points(other, self.points(own.template), normals, farthest_mm, source=self.source)
        if len(found) < min(3, len(self)):
            raise DataError(
                f"{len(found)} of {len(self)} landmarks lie within {farthest_mm:g} mm of the other template; wanted "
                "two meshes of one face in one frame. Make a resampling map (meshdisent resample --save-map) instead."
            )
        return found


def check_names(names: Iterable[str], known: Iterable[str], where: str) -> None:
    """Refuse names of landmarks that a topology does not have.

    Raises
    ------
    DataError : With the nearest name; the order of words and capitals do not count for that.

    Examples
    --------
    >>> check_names(["Nose tip"], ["tip of the nose", "chin"], "x.pp")
    Traceback (most recent call last):
    meshdisent.errors.DataError: x.pp names the landmark 'Nose tip'; none of 2 is ... Did you mean 'tip of the nose'?
    """
    spelled = {_words(name): name for name in known}
    for name in names:
        if name not in spelled.values():
            near = difflib.get_close_matches(_words(name), spelled, n=1, cutoff=0.0)
            hint = f" Did you mean {spelled[near[0]]!r}?" if near else ""
            raise DataError(f"{where} names the landmark {name!r}; none of {len(spelled)} is called so.{hint}")


def _words(name: str) -> str:
    return " ".join(sorted(word for word in name.lower().replace("_", " ").split() if word not in ("of", "the")))


def read_landmark_set(path: str | os.PathLike, topology: Topology) -> LandmarkSet:
    """A user's set for a topology: ``{"tip of the nose": 4711, ...}`` with vertices, or points on the template in mm.

    Raises
    ------
    DataError : If the file cannot be read, names a vertex that does not exist, or a point is far from the template.
    """
    vertices = _vertices_by_name(Path(path))
    if vertices is None:
        points = read_landmark_file(path)
        found = LandmarkSet.of_points(topology, {n: _in_space(n, p, path) for n, p in points.items()}, source=str(path))
        lost = [name for name in points if name not in found.names]
        if lost:
            raise DataError(
                f"{path}: {lost[0]!r} is more than {FARTHEST_MM:g} mm from the template; wanted points on it, in mm. "
                "Pick them on the template itself."
            )
        return found
    wrong = [name for name, row in vertices.items() if not 0 <= row < topology.vertex_count]
    if wrong:
        raise DataError(
            f"{path}: {wrong[0]!r} is vertex {vertices[wrong[0]]}; the topology has 0 to {topology.vertex_count - 1}."
        )
    return LandmarkSet.of_vertices(list(vertices), list(vertices.values()), source=str(path))


def _vertices_by_name(path: Path) -> dict[str, int] | None:
    """The content of a JSON object whose values are all whole numbers; None for any other file of landmarks."""
    try:
        if path.suffix.lower() != ".json" or path.stat().st_size > MOST_BYTES:
            return None
        content = json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError):
        return None  # the reader of landmark files says what is wrong
    is_table = isinstance(content, dict) and content and all(type(value) is int for value in content.values())
    return content if is_table else None


def _in_space(name: str, place: np.ndarray, path: str | os.PathLike) -> Float[np.ndarray, "3"]:
    if len(place) != 3:
        raise DataError(f"{path}: {name!r} has two coordinates; wanted a point in space, with three, or a vertex.")
    return place


def _closest_alike(
    places: Float[np.ndarray, "landmark 3"], normals: Float[np.ndarray, "landmark 3"] | None, topology: Topology
) -> tuple[Int[np.ndarray, " landmark"], Float[np.ndarray, "landmark 3"], Float[np.ndarray, " landmark"]]:
    """Closest points of the surface, among faces that look the same way where normals are given."""
    face, weights, distance = closest_points(places, topology.template, topology.faces)
    if normals is None:
        return face, weights, distance
    outward = face_normals(topology.template, topology.faces)
    for k in np.flatnonzero((outward[face] * normals).sum(axis=1) < 0):
        alike = np.flatnonzero(outward @ normals[k] >= 0)
        if len(alike):
            found = closest_points(places[k : k + 1], topology.template, topology.faces[alike])
            face[k], weights[k], distance[k] = alike[found[0][0]], found[1][0], found[2][0]
    return face, weights, distance
