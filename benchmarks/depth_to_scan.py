"""How near the true mesh is a scan that was registered to its own depth map? Unseen people of ICT-FaceKit.

    python ../shared/protocol/ict_faces.py TEST --subjects 40 --seed 77 --vertices 9409
    python ../shared/protocol/ict_faces.py TRAIN --subjects 100 --seed 78 --vertices 9409
    python benchmarks/depth_to_scan.py TRAIN TEST [--subjects 20] [--yaws 0 40] [--ways prior]

Every face is put one meter before a camera of 10 degrees and 128 x 128 pixels, turned, and drawn; its depth is
registered alone ("no prior"), with 13 true landmarks (eyes, mouth, tip of the nose), or with a prior. The template is
the mean of TRAIN's neutrals, the prior the principal directions of scans of TRAIN; nobody of TEST is in either. 10
degrees at one meter are 175 mm: the top of the forehead and the ears lie outside.

vertex: mean distance from a vertex to where it truly is, over the vertices that the camera sees. surface: of the same
vertices to the true surface. seen: share of all vertices that the registration calls seen; explained: share of the
depth map that lies on the result. missed: share of what the camera sees that is not called seen. hidden: mean distance
of the vertices that the camera does not see.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from meshdisent.errors import DataError
from meshdisent.latentface.to_scan import to_scan
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.openings import small_borders
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.topology import Topology
from meshdisent.render.camera import Camera
from meshdisent.render.heads import in_camera_frame
from meshdisent.render.rasterizer import rasterize
from meshdisent.render.view import View

SHOWN = ("neutral", "mouth_stretch", "smile", "anger", "lip_puckerer", "cheek_blowing", "brow_raiser", "jaw_left")
SIZE, MODES, SCANS_A_SUBJECT = 128, 120, 10
WAYS = ("no prior", "landmarks", "prior")
FIGURES = ("vertex_mm", "surface_mm", "seen", "explained", "missed", "hidden_mm", "seconds")


class Case(NamedTuple):
    """One depth map and the mesh that it was drawn from, in the frame of to_scan."""

    depth: np.ndarray
    truth: np.ndarray
    is_visible: np.ndarray


def train_people(folder: Path) -> tuple[Topology, ShapePrior]:
    """The mean neutral of all subjects of a folder, and the principal directions of ten scans of each."""
    draw = np.random.default_rng(0)
    scans, neutrals, faces = [], [], None
    for subject in sorted(path for path in folder.iterdir() if path.is_dir()):
        files = sorted(subject.glob("*.ply"))
        for file in [files[k] for k in draw.permutation(len(files))[:SCANS_A_SUBJECT]]:
            scans.append(Mesh.read(file).vertices.astype(np.float32))
        neutral = Mesh.read(subject / "neutral.ply")
        neutrals.append(neutral.vertices)
        faces = neutral.faces
    return Topology(np.mean(neutrals, axis=0), faces), directions(np.stack(scans))


def directions(scans: np.ndarray) -> ShapePrior:
    """The principal directions of scans (N, V, 3), at most MODES of them."""
    rows = scans.reshape(len(scans), -1).astype(np.float32)
    mean = rows.mean(axis=0)
    rows -= mean
    values, vectors = np.linalg.eigh((rows @ rows.T).astype(np.float64))
    count = min(MODES, len(rows) - 1)
    values, vectors = values[::-1][:count], vectors[:, ::-1][:, :count]
    basis = (vectors / np.sqrt(values)).T.astype(np.float32) @ rows
    deviations = np.sqrt(values / (len(rows) - 1))
    shape = (-1, 3)
    return ShapePrior(
        mean=mean.reshape(shape).astype(np.float64),
        basis=basis.reshape(count, *mean.reshape(shape).shape).astype(np.float64),
        deviations=deviations,
    )


def cases(folder: Path, faces: np.ndarray, subjects: int, yaw: float, camera: Camera) -> Iterator[Case]:
    """Two expressions a subject: rest, and one of seven in turn."""
    people = sorted(path for path in folder.iterdir() if path.is_dir())[:subjects]
    for number, subject in enumerate(people):
        for name in ("neutral", SHOWN[1 + number % (len(SHOWN) - 1)]):
            view = [0.0, np.radians(yaw), 0.0, 0.0, 0.0, 0.0]
            yield draw(Mesh.read(subject / f"{name}.ply").vertices, faces, view, camera)


def draw(vertices: np.ndarray, faces: np.ndarray, view: Sequence[float], camera: Camera) -> Case:
    """Depth of a head in mm in a view: radians about x, y and z, and moves."""
    head = View.of(torch.tensor([list(view)], dtype=torch.float64)).apply(
        in_camera_frame(torch.from_numpy(vertices.astype(np.float64))[None])
    )
    seen = rasterize(head, torch.from_numpy(faces), camera)
    depth = torch.where(seen.is_seen, seen.depth, 0.0)[0].numpy()
    points = head[0].numpy()
    truth = 1000 * (points * [1.0, -1.0, -1.0] + [0.0, 0.0, 1.0])
    pixel = camera.project(head)[0].round().long().numpy()
    is_inside = (pixel >= 0).all(axis=1) & (pixel < camera.width).all(axis=1)
    column, row = np.clip(pixel, 0, camera.width - 1).T
    gap_mm = 1000 * np.abs(depth[row, column] - points[:, 2])
    normal = vertex_normals(truth, faces)
    to_viewer = np.array([0.0, 0.0, 1000.0]) - truth
    cosine = (normal * to_viewer).sum(axis=1) / np.linalg.norm(to_viewer, axis=1)
    return Case(depth, truth, is_inside & (gap_mm < 4.0) & (cosine > 0.2))


def landmark_rows(topology: Topology) -> np.ndarray:
    """Outermost points of eyes and mouth, each way, and the tip of the nose."""
    points = topology.template
    loops = small_borders(points, topology.faces)
    rows = [loop[end(points[loop, axis])] for loop in loops for axis in (0, 1) for end in (np.argmin, np.argmax)]
    return np.array([*rows, points[:, 2].argmax()])


def measure(case: Case, topology: Topology, camera: Camera, config: Any = None, **known: Any) -> dict[str, float]:
    """Register one depth map and compare."""
    begin = time.perf_counter()
    found = to_scan(case.depth, topology, camera, config=config, **known)
    seconds = time.perf_counter() - begin
    off = np.linalg.norm(found.vertices - case.truth, axis=1)
    visible = case.is_visible
    return {
        "vertex_mm": float(off[visible].mean()),
        "surface_mm": float(closest_points(found.vertices[visible][::5], case.truth, topology.faces)[2].mean()),
        "seen": float(found.is_seen.mean()),
        "explained": found.explained_share,
        "missed": float((~found.is_seen[visible]).mean()),
        "hidden_mm": float(off[~visible].mean()),
        "seconds": seconds,
    }


def known_of(way: str, case: Case, topology: Topology, prior: ShapePrior) -> dict[str, Any]:
    """What a way of registration is told beside the depth."""
    if way == "prior":
        return {"prior": prior}
    rows = landmark_rows(topology)
    return {"landmarks": Landmarks(rows, case.truth[rows])} if way == "landmarks" else {}


def row_of(way: str, shown: list[Case], topology: Topology, prior: ShapePrior, camera: Camera) -> dict[str, Any]:
    """Means over depth maps; those whose registration said that it failed are counted and left out."""
    found = []
    for case in shown:
        try:
            found.append(measure(case, topology, camera, **known_of(way, case, topology, prior)))
        except DataError as error:
            print(error, file=sys.stderr)
    mean = {figure: float(np.mean([one[figure] for one in found])) for figure in FIGURES}
    worst = max(one["vertex_mm"] for one in found)
    return {"way": way, "faces": len(shown), "failed": len(shown) - len(found), **mean, "worst_mm": worst}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("train", type=Path, metavar="TRAIN")
    parser.add_argument("test", type=Path, metavar="TEST")
    parser.add_argument("--subjects", type=int, default=20)
    parser.add_argument("--yaws", type=float, nargs="+", default=[0.0, 40.0])
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=WAYS)
    parser.add_argument("--json", type=Path, help="write the rows there too")
    chosen = parser.parse_args()
    topology, prior = train_people(chosen.train)
    camera, rows = Camera.of_field_of_view(SIZE), []
    for yaw in chosen.yaws:
        shown = list(cases(chosen.test, topology.faces, chosen.subjects, yaw, camera))
        rows += [{"yaw": yaw, **row_of(way, shown, topology, prior, camera)} for way in chosen.ways]
    print("| " + " | ".join(rows[0]) + " |\n" + "|---" * len(rows[0]) + "|")
    for row in rows:
        print("| " + " | ".join(f"{v:.3f}" if isinstance(v, float) else str(v) for v in row.values()) + " |")
    if chosen.json:
        chosen.json.write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
