"""Write meshdisent/data/known_faces.json, the points of the faces whose landmarks we know.

    python benchmarks/known_faces.py CLONE FACES.H5 ../shared/protocol/ict_topology.npz

CLONE is a clone of ICT-FaceKit with its vertex_indices.json, FACES.H5 the ICT-300 that wsdf-ict was trained on; the
last has the faces of ICT-300 at 9,409 vertices, whose quads are cut into triangles another way.
"""

import json
import sys
from pathlib import Path

import numpy as np

from meshdisent import ScanDataset
from meshdisent.data.ict_facekit import PARTS, find_rows, read_generic
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.mesh.face_regions import REGIONS
from meshdisent.mesh.landmark_files import IBUG_68
from meshdisent.mesh.landmark_sets import LandmarkSet
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.topology import Topology

OUT = Path(__file__).resolve().parents[1] / "meshdisent" / "data" / "known_faces.json"


def ict(clone: Path, scans: ScanDataset, topology: Path) -> dict:
    """The generic face of ICT-FaceKit, its three regions, and the vertices of ICT-300."""
    path = next(found for found in (clone / "vertex_indices.json", clone / "FaceXModel" / "vertex_indices.json")
                if found.is_file())  # fmt: skip
    vertices = np.array(json.loads(path.read_text())["idx_to_landmark_verts"])
    generic = read_generic(clone)
    normals = vertex_normals(generic.vertices, generic.faces)[vertices]
    hashes = {}
    for name in ("full", "face", "narrow_face"):
        count = PARTS[name][1]
        faces = generic.faces[(generic.faces < count).all(axis=1)]
        hashes[Topology(generic.vertices[:count], faces).topology_hash] = name
    count = PARTS["face"][1]
    hashes[Topology(generic.vertices[:count], np.load(topology)["full_faces"]).topology_hash] = "face of ICT-300"
    neutrals, known = scans.neutrals()
    rows = find_rows(neutrals[known].mean(axis=0), clone)
    small = Topology(generic.vertices[rows], scans.topology.faces)
    points = dict(zip(IBUG_68, generic.vertices[vertices], strict=True))
    found = LandmarkSet.of_points(small, points, normals)
    assert found.names == IBUG_68
    derived = {"called": "the 1,200 vertices of ICT-300 and wsdf-ict", "corners": found.corners.tolist(),
               "weights": found.weights.round(4).tolist()}  # fmt: skip
    return {
        "name": "ICT-FaceKit",
        "license": "MIT, Copyright (c) 2020 USC Institute for Creative Technologies; see models/wsdf-ict",
        "points": generic.vertices[vertices].round(3).tolist(),
        "normals": normals.round(3).tolist(),
        "parts": list(REGIONS),
        "vertices": vertices.tolist(),
        "hashes": hashes,
        "derived": {small.topology_hash: derived},
    }


def synthetic() -> dict:
    """The average synthetic head at its finest."""
    head = SyntheticHead(6000)
    found, topology = head.landmarks, head.topology
    normals = found.positions(vertex_normals(topology.template, topology.faces))
    return {
        "name": "synthetic head",
        "license": "this project's",
        "points": found.positions(topology.template).round(3).tolist(),
        "normals": normals.round(3).tolist(),
        "parts": [name for name in REGIONS if name not in ("ears", "neck", "scalp")],
        "vertices": None,
        "hashes": {},
        "derived": {},
    }


if __name__ == "__main__":
    faces = [ict(Path(sys.argv[1]), ScanDataset.open(sys.argv[2]), Path(sys.argv[3])), synthetic()]
    OUT.write_text(json.dumps({"faces": faces}, separators=(",", ":")).replace('{"name"', '\n{"name"') + "\n")
    print(OUT)
