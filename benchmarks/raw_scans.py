"""How near the true mesh is a raw scan that was registered without landmarks? Unseen people of ICT-FaceKit.

    python benchmarks/raw_scans.py PROTOCOL [--prior MODEL] [--faces 50] [--ways all prior] [--json RECORD]

PROTOCOL is the folder of ict_faces.py. Every face (seed 1414, its expression the next of twenty) is subdivided twice
(Loop 1987; without smoothing, decimation would find the edges of the template again and keep its vertices), decimated
to about 20,000 other vertices, shuffled, gets four holes of 5 to 10 mm in radius and Gaussian noise of 0.5 mm
in each coordinate, and any pose. The template is the generic face of ICT-FaceKit, 9,409 vertices; PROTOCOL's people of
this seed are neither in it nor in the prior.

vertex: mean distance of all vertices from where they truly are. surface: of the vertices from the true surface without
noise. Ways: "none" knows nothing but closest points; "openings" lays rims of eyes and mouth along each other first;
"all" also the outer rim, which these scans share with the template; "auto" finds out whether they do; "prior" is a
model's, with "auto"; "along" is wsdf-ict's, carried over from 1,200 vertices, as the command line has it unless told
otherwise. Refusals: what is no face, or too little of one; "refusals-along" with that prior. Peers: trimesh's
registrations, which are given the true pose; they need the package rtree.
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import fast_simplification
import numpy as np
import trimesh
from scipy.spatial.transform import Rotation

from meshdisent.cli.register import prior_of
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.pose_search import any_starts, search_pose
from meshdisent.mesh.raw_registration import register_or_cut
from meshdisent.mesh.raw_surface import PART_LIMITS, find_face
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

SEED, NOISE_MM, FACES, HOLES, HOLE_MM = 1414, 0.5, 40_000, 4, (5.0, 10.0)
WAYS = ("none", "openings", "auto", "all", "prior", "along")
PARTS = ("fits", "refusals", "refusals-along", "peers", "time")


class Raw(NamedTuple):
    """A raw scan, and where the template's vertices truly are."""

    name: str
    vertices: np.ndarray
    faces: np.ndarray
    truth: np.ndarray
    motion: Similarity


def people(protocol: Path, count: int) -> tuple[Topology, Iterator[Raw]]:
    """The template and raw scans of so many people."""
    sys.path.insert(0, str(protocol))
    import ict_faces

    faces = ict_faces.IctFaces(ict_faces.FACE)
    template = Topology(faces.generic[: ict_faces.FACE], np.asarray(faces.faces, dtype=np.int64))
    names = list(ict_faces.EXPRESSIONS)

    def scans() -> Iterator[Raw]:
        for k in range(count):
            random = np.random.default_rng([SEED, k])
            head, maps = faces.subject(random, np.random.default_rng([SEED, k, 1]), 0.6)
            name = names[k % len(names)]
            yield raw_scan(
                name,
                faces.express(head, maps, faces.perform(ict_faces.EXPRESSIONS[name], random)),
                template.faces,
                random,
            )

    return template, scans()


def raw_scan(name: str, face: np.ndarray, faces: np.ndarray, random: np.random.Generator) -> Raw:
    """Another tessellation of a face, with noise and holes, in any pose."""
    fine = trimesh.remesh.subdivide_loop(face, faces, iterations=2)
    vertices, triangles = fast_simplification.simplify(
        fine[0].astype(np.float32), fine[1].astype(np.int32), target_count=FACES
    )
    keep = np.ones(len(vertices), dtype=bool)
    for center in random.integers(0, len(vertices), HOLES):
        keep &= np.linalg.norm(vertices - vertices[center], axis=1) > random.uniform(*HOLE_MM)
    used, numbered = np.unique(triangles[keep[triangles].all(axis=1)], return_inverse=True)
    order = random.permutation(len(used))
    place = np.argsort(order)
    noisy = vertices[used][order] + NOISE_MM * random.standard_normal((len(used), 3))
    turn = Rotation.random(random_state=int(random.integers(2**31))).as_matrix()
    motion = Similarity(1.0, turn, random.uniform(-300, 300, 3))
    return Raw(name, motion.apply(noisy), place[numbered.reshape(-1, 3)].astype(np.int64), motion.apply(face), motion)


def measured(found: np.ndarray, raw: Raw, faces: np.ndarray) -> dict[str, float]:
    """Distances in mm of a result in the frame of the scan."""
    return {
        "vertex_mm": float(np.linalg.norm(found - raw.truth, axis=1).mean()),
        "surface_mm": float(closest_points(found[::5], raw.truth, faces)[2].mean()),
    }


def fits(
    template: Topology, scans: Iterator[Raw], priors: dict[str, ShapePrior | None], ways: list[str]
) -> Iterator[dict[str, Any]]:
    """One row a scan and way; the pose is searched once, from sixty starts, and its time counts for each way."""
    for number, raw in enumerate(scans):
        begin = time.process_time()
        target = TargetSurface.of_mesh(raw.vertices, raw.faces)
        pose = search_pose(template, target, any_starts(template, target))[0]
        searched = time.process_time() - begin
        off = Rotation.from_matrix(pose.rotation @ raw.motion.rotation.T).magnitude()
        for way in ways:
            begin = time.process_time()
            row = {"scan": number, "expression": raw.name, "way": way, "turn_off_degrees": float(np.degrees(off))}
            rims = "auto" if way in priors else way
            try:
                found = register(
                    template, target, RegistrationConfig(rims=rims),
                    starts=[pose], prior=priors.get(way),
                )  # fmt: skip
                row |= measured(found.vertices, raw, template.faces)
                row["explained"] = found.explained_share
            except DataError as error:
                row["refused"] = str(error)
            row["cpu_seconds"] = searched + time.process_time() - begin
            print(json.dumps(row), file=sys.stderr, flush=True)
            yield row


def refusals(template: Topology, raw: Raw, prior: ShapePrior | None) -> list[dict[str, Any]]:
    """What is no face, or not enough of one: each must be refused."""
    random = np.random.default_rng(SEED)
    ball = trimesh.creation.icosphere(5)
    fingers = [
        trimesh.creation.capsule(height=60, radius=9).apply_transform(trimesh.transformations.translation_matrix(at))
        for at in ((-30, 40, 0), (-10, 48, 0), (10, 46, 0), (30, 38, 0), (55, -10, 0))
    ]
    palm = trimesh.creation.icosphere(4)
    palm.vertices *= [45, 50, 18]
    hand = trimesh.util.concatenate([palm, *fingers])
    here = raw.motion.inverse().apply(raw.vertices)
    behind = here[:, 2] < np.quantile(here[:, 2], 0.35)
    back = raw.faces[behind[raw.faces].all(axis=1)]
    junk = random.uniform(-80, 80, (8000, 3)), random.integers(0, 8000, (16000, 3))
    things = {
        "random triangles": junk,
        "ball": (90.0 * ball.vertices, ball.faces),
        "blob like a hand": (np.asarray(hand.vertices), np.asarray(hand.faces)),
        "face turned away: ears and back only": (here, back),
        "rough stone": (90.0 * ball.vertices + random.normal(0, 3.0, ball.vertices.shape), ball.faces),
    }
    rows = []
    for name, (vertices, faces) in things.items():
        for any_pose in (False, True):
            target = TargetSurface.of_mesh(np.asarray(vertices), np.asarray(faces, dtype=np.int64))
            starts = any_starts(template, target) if any_pose else None
            try:
                register_or_cut(template, target, RegistrationConfig(rims="auto"), starts=starts, prior=prior)
                rows.append({"thing": name, "any_pose": any_pose, "refused": None})
            except DataError as error:
                rows.append({"thing": name, "any_pose": any_pose, "refused": str(error)})
            print(json.dumps(rows[-1]), file=sys.stderr, flush=True)
    return rows + refusals_of_parts(template, prior)


def refusals_of_parts(template: Topology, prior: ShapePrior | None) -> list[dict[str, Any]]:
    """What is larger than a face and has none in it, on the way that cuts faces out of heads."""
    random = np.random.default_rng(SEED)
    ball, head = trimesh.creation.icosphere(5), trimesh.creation.icosphere(5)
    torso = [150, 210, 90] * ball.vertices
    head.vertices *= [80, 115, 100]
    ball.vertices = ball.vertices * [230, 120, 110] - [0, 230, 0]
    back = trimesh.util.concatenate([head, ball])
    things = {
        "random triangles": (random.uniform(-200, 200, (3000, 3)), random.integers(0, 3000, (6000, 3))),
        "torso": (torso + 15 * np.sin(torso[:, [1, 2, 0]] / 40), ball.faces),
        "back of a head over shoulders": (np.asarray(back.vertices), np.asarray(back.faces)),
    }
    rows = []
    for name, (vertices, faces) in things.items():
        target = TargetSurface.of_mesh(vertices, np.asarray(faces, dtype=np.int64), 5.0)
        row: dict[str, Any] = {"thing": name, "is_cut_out": True, "refused": None}
        try:
            found = find_face(template, target)
            config = RegistrationConfig(rims="auto", limits=PART_LIMITS)
            register(template, found.target, config, starts=[found.pose], prior=prior)
        except DataError as error:
            row["refused"] = str(error)
        rows.append(row)
        print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def peers(template: Topology, scans: list[Raw]) -> list[dict[str, Any]]:
    """Trimesh's non-rigid registrations from the true pose, with their own defaults."""
    rows = []
    source = trimesh.Trimesh(template.template, template.faces, process=False)
    for number, raw in enumerate(scans):
        back = align(raw.truth, template.template)
        seen = raw._replace(vertices=back.apply(raw.vertices), truth=back.apply(raw.truth))
        target = trimesh.Trimesh(seen.vertices, seen.faces, process=False)
        for name in ("nricp_amberg", "nricp_sumner"):
            begin = time.process_time()
            try:
                found = np.asarray(getattr(trimesh.registration, name)(source, target))
                row = measured(found, seen, template.faces)
            except Exception as error:  # whatever a peer raises is its result
                row = {"failed": f"{type(error).__name__}: {error}"}
            row = {"scan": number, "way": name, **row, "cpu_seconds": time.process_time() - begin}
            rows.append(row)
            print(json.dumps(row), file=sys.stderr, flush=True)
    return rows


def times(template: Topology, raw: Raw) -> dict[str, float]:
    """Seconds for a scan of 50,000 vertices and a template of 5,000, from any pose."""
    fine = trimesh.remesh.subdivide(raw.truth, template.faces)
    fine = trimesh.remesh.subdivide(*fine)
    vertices, faces = fast_simplification.simplify(
        fine[0].astype(np.float32), fine[1].astype(np.int32), target_count=99_600
    )
    small = fast_simplification.simplify(
        template.template.astype(np.float32), template.faces.astype(np.int32), target_count=9_800
    )
    topology = Topology(small[0].astype(np.float64), small[1].astype(np.int64))
    wall, cpu = time.perf_counter(), time.process_time()
    target = TargetSurface.of_mesh(vertices.astype(np.float64), faces.astype(np.int64))
    register(topology, target, RegistrationConfig(rims="auto"), starts=any_starts(topology, target))
    return {
        "scan_vertices": len(vertices),
        "template_vertices": topology.vertex_count,
        "wall_seconds": time.perf_counter() - wall,
        "cpu_seconds": time.process_time() - cpu,
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Medians over the scans of each way."""
    found = []
    for way in dict.fromkeys(row["way"] for row in rows):
        all_rows = [row for row in rows if row["way"] == way]
        good = [row for row in all_rows if "vertex_mm" in row]
        if not good:
            continue
        vertex, surface = (np.array([row[name] for row in good]) for name in ("vertex_mm", "surface_mm"))
        found.append({
            "way": way, "scans": len(all_rows), "refused": len(all_rows) - len(good),
            "vertex_mm": float(np.median(vertex)), "worst_mm": float(vertex.max()),
            "surface_mm": float(np.median(surface)),
            "cpu_seconds": float(np.median([row["cpu_seconds"] for row in all_rows])),
        })  # fmt: skip
    return found


def main() -> None:
    """Measure, print the table, write the record."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("protocol", type=Path, metavar="PROTOCOL")
    parser.add_argument("--prior", metavar="MODEL")
    parser.add_argument("--faces", type=int, default=50)
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=["auto", "prior"])
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    parser.add_argument("--json", type=Path, help="write everything there; parts that are not run now are kept")
    chosen = parser.parse_args()
    ways = [way for way in chosen.ways if way != "prior" or chosen.prior]
    template, scans = people(chosen.protocol, chosen.faces)
    priors = {
        way: prior_of(name, template, "the template")
        for way, name in {"prior": chosen.prior, "along": "wsdf-ict"}.items()
        if way in ways and "fits" in chosen.parts
    }
    record = json.loads(chosen.json.read_text()) if chosen.json and chosen.json.exists() else {}
    few = list(people(chosen.protocol, 2)[1])
    if "fits" in chosen.parts:
        record["scans"] = [row for row in record.get("scans", []) if row["way"] not in ways]
        for row in fits(template, scans, priors, ways):
            record["scans"].append(row)
            record["fits"] = summary(record["scans"])
            write(record, chosen.json)  # hours where others compute, too: what is done is kept
    if "refusals" in chosen.parts:
        record["refusals"] = refusals(template, few[0], None)
    if "refusals-along" in chosen.parts:
        record["refusals-along"] = refusals(template, few[0], prior_of("wsdf-ict", template, "the template"))
    if "peers" in chosen.parts:
        record["peers"] = peers(template, few)
    if "time" in chosen.parts:
        record["time"] = times(template, few[0])
    print(json.dumps({name: value for name, value in record.items() if name != "scans"}, indent=1))
    write(record, chosen.json)


def write(record: dict[str, Any], path: Path | None) -> None:
    """Write the record so far, if it is wanted."""
    if path is not None:
        path.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
