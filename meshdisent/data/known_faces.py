"""Topologies whose landmarks and regions we know: ICT-FaceKit's head and the synthetic one, whole, cropped, decimated.

A topology is recognized by its hash; else by its template, if the known points of a face lie on that surface: then it
is the same face with other vertices, such as ``prepare --vertices`` makes. ``known_faces.json`` holds the points; those
of ICT-FaceKit (Li et al. 2020, MIT license) come from its ``vertex_indices.json``. benchmarks/known_faces.py wrote it.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import lru_cache
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.ict_facekit import PARTS
from meshdisent.errors import DataError
from meshdisent.mesh.face_regions import REGIONS, face_regions
from meshdisent.mesh.landmark_files import IBUG_68
from meshdisent.mesh.landmark_sets import LandmarkSet, read_landmark_set
from meshdisent.mesh.topology import Topology

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset

#: A user's own landmarks lie beside the file of the topology, ``faces.h5`` -> ``faces.landmarks.json``.
BESIDE = ".landmarks.json"
#: The points of a face lie on another mesh of it within this, at least half of them. Decimated from 9,409 vertices to
#: 1,200 that median is 0.17 mm; on other people's faces in the same frame it is 1.6 mm and more.
_SAME_MM = 0.4
_SKIN = PARTS["head_and_neck"][1]  # vertices of ICT-FaceKit's head from here on lie inside of it
_ICT = "ICT-FaceKit"


@dataclass(frozen=True, eq=False, kw_only=True)
class KnownFace:
    """The 68 points of one face, in the order of their names.

    Attributes
    ----------
    name : As people call it.
    points, normals : (68, 3) mm on its template, and which way the skin looks there.
    parts : Regions that it has.
    vertices : (68,) Of the whole topology; None where a face has a formula instead.
    hashes : Topology hashes that these vertices serve, with what each is.
    derived : Topology hash of a decimated mesh -> corners and weights of each point.
    """

    name: str
    points: Float[np.ndarray, "68 3"]
    normals: Float[np.ndarray, "68 3"]
    parts: tuple[str, ...]
    vertices: Int[np.ndarray, "68"] | None
    hashes: Mapping[str, str]
    derived: Mapping[str, Mapping[str, Any]]


@lru_cache(maxsize=1)
def known_faces() -> tuple[KnownFace, ...]:
    """Every face that comes along."""
    text = resources.files("meshdisent.data").joinpath("known_faces.json").read_text(encoding="utf-8")
    return tuple(_known_face(entry) for entry in json.loads(text)["faces"])


def _known_face(entry: dict[str, Any]) -> KnownFace:
    return KnownFace(
        name=entry["name"],
        points=np.array(entry["points"]),
        normals=np.array(entry["normals"]),
        parts=tuple(entry["parts"]),
        vertices=None if entry["vertices"] is None else np.array(entry["vertices"]),
        hashes=entry["hashes"],
        derived=entry["derived"],
    )


def known_landmarks(topology: Topology) -> LandmarkSet | None:
    """The 68 points on a topology that is recognized; None for any other, or where fewer than three are left.

    Examples
    --------
    >>> from meshdisent.data.synthetic import SyntheticHead
    >>> found = known_landmarks(SyntheticHead(1200).topology)
    >>> len(found), found.names[30]
    (68, 'tip of the nose')
    """
    for face in known_faces():
        if topology.topology_hash in face.hashes and face.vertices is not None:
            source = f"{face.name}, {face.hashes[topology.topology_hash]}"
            return LandmarkSet.of_vertices(IBUG_68, face.vertices, source)
        entry = face.derived.get(topology.topology_hash)
        if entry is not None:
            corners, weights = np.array(entry["corners"]), np.array(entry["weights"])
            return LandmarkSet(names=IBUG_68, corners=corners, weights=weights / weights.sum(axis=1, keepdims=True),
                               source=f"{face.name}, {entry['called']}")  # fmt: skip
    return _of_the_synthetic_head(topology) or _seen_on_the_template(topology)


def _of_the_synthetic_head(topology: Topology) -> LandmarkSet | None:
    """The points of the synthetic head that has these vertices and faces; it takes half a second to make one."""
    from meshdisent.data.synthetic import LARGEST, SMALLEST, SyntheticHead

    if not SMALLEST <= topology.vertex_count <= LARGEST:
        return None
    head = SyntheticHead(topology.vertex_count)
    if head.topology.topology_hash != topology.topology_hash:
        return None
    name = next(face.name for face in known_faces() if face.vertices is None)
    return replace(head.landmarks, source=f"{name}, {topology.vertex_count} vertices")


def _seen_on_the_template(topology: Topology) -> LandmarkSet | None:
    if not topology.face_count:
        return None
    for face in known_faces():
        points = dict(zip(IBUG_68, face.points, strict=True))
        found = LandmarkSet.of_points(topology, points, face.normals, source=f"{face.name}, seen on the template")
        if len(found) < len(points) / 3:
            continue
        places = np.array([points[name] for name in found.names])
        apart = np.linalg.norm(found.positions(topology.template) - places, axis=1)
        if np.median(apart) <= _SAME_MM:
            return found
    return None


def find_landmarks(topology: Topology, path: str | os.PathLike | None = None) -> LandmarkSet | None:
    """The landmarks of a topology: a user's own beside its file, else the known ones.

    Parameters
    ----------
    path : The faces.h5, model or mesh that the topology comes from; ``faces.landmarks.json`` beside ``faces.h5`` is
        read (:func:`meshdisent.mesh.landmark_sets.read_landmark_set`), and where a faces.h5 was decimated, the
        landmarks of what it came from are brought to it.

    Raises
    ------
    DataError : If the file beside it is there and wrong.
    """
    if path is not None and Path(path).exists():
        beside = Path(path).with_suffix(BESIDE)
        if beside.is_file():
            return read_landmark_set(beside, topology)
    return _known(topology, path)


def _known(topology: Topology, path: str | os.PathLike | None) -> LandmarkSet | None:
    found = known_landmarks(topology)
    if found is None and path is not None and Path(path).suffix.lower() in (".h5", ".hdf5"):
        from meshdisent.data.dataset import ScanDataset

        found = _through_decimation(ScanDataset.open(path))
    return found


def name_of_face(topology: Topology, path: str | os.PathLike | None = None) -> str | None:
    """Which of the faces that come along a topology is, whatever points a user has named on it; None for any other.

    Parameters
    ----------
    path : The faces.h5, model or mesh that the topology comes from.

    Examples
    --------
    >>> from meshdisent.data.synthetic import SyntheticHead
    >>> name_of_face(SyntheticHead(1200).topology)
    'synthetic head'
    """
    found = _known(topology, path)
    return None if found is None else next((f.name for f in known_faces() if found.source.startswith(f.name)), None)


def _through_decimation(scans: "ScanDataset") -> LandmarkSet | None:
    full = scans.full_resolution()
    if full is None:
        return None
    before = Topology(full.template, full.faces)
    known = known_landmarks(before)
    after = Topology(full.map @ full.template, scans.topology.faces)
    return None if known is None else known.onto(before, after)


def need_landmarks(topology: Topology, path: str | os.PathLike | None = None) -> LandmarkSet:
    """As :func:`find_landmarks`; raises :class:`DataError` where none are known."""
    found = find_landmarks(topology, path)
    if found is None:
        where = str(path) if path is not None else "The topology"
        beside = Path(path).with_suffix(BESIDE).name if path is not None else f"NAME{BESIDE}"
        raise DataError(
            f"{where} is no topology whose landmarks are known ({topology.topology_hash}); give them with "
            f"--template-landmarks FILE, or once and for all in {beside} beside it."
        )
    return found


def known_regions(topology: Topology, path: str | os.PathLike | None = None) -> dict[str, Int[np.ndarray, " member"]]:
    """Regions by name: those that the topology brings, and those that its 68 landmarks say.

    What the topology calls by a name of ours stays as it is there. Parts of ICT-FaceKit's whole head that lie inside of
    it (teeth, eyeballs) belong to no region of the skin.
    """
    found = find_landmarks(topology, path)
    regions = dict(topology.regions)
    if found is None:
        return regions
    face = next((face for face in known_faces() if found.source.startswith(face.name)), None)
    points = found.points(topology.template)
    if face is not None and set(points) != set(IBUG_68):  # cropped; but we know where the others were
        points = dict(zip(IBUG_68, face.points, strict=True))
    if set(IBUG_68) - set(points):
        return regions
    is_whole = face is not None and face.hashes.get(topology.topology_hash) == "full"
    rows = np.arange(_SKIN if is_whole else topology.vertex_count)
    made = face_regions(topology.template[rows], points, REGIONS if face is None else face.parts)
    if is_whole:
        made |= {name: np.arange(*ends) for name, ends in PARTS.items()}
    return made | regions
