"""How near is the whole face to what is fitted to a part of it, and do 90 % intervals hold what they say?

    python ../shared/protocol/ict_faces.py RAW && meshdisent prepare ict RAW --out faces.h5
    python benchmarks/fitting.py faces.h5 --json benchmarks/records/fitting.json --table docs/fitting-table.md

A scan is 30 % of a face's surface about a place that is drawn anywhere on its front, as 5,000 bare points with 1 mm of
noise along each axis, turned by about 12 degrees and moved by about 50 mm: no faces, no normals, no landmarks. Faces
are codes drawn from the prior of the model (half of the cases) or scans
of people that the model has not seen (the test split of FACES). The error is the distance from each vertex to where it
truly is, in the frame of the scan, so the pose counts.

landmarks: 30 vertices drawn from the front, 1 mm of noise. picture: the same in a picture of 512 pixels with a focal
length of 1,500, one meter away, 1 pixel of noise. adam: the scans, by 200 steps of Adam on codes and pose with the
matches, the weights and a Gaussian prior of codes as in the last stage, from the same start.

What three choices do, each alone left out of the fit of scans: "alone" every point is a witness of its own, instead of
sharing the misfit with its neighbors; "narrow" identities are as likely as in the training; "gaussian" one Gaussian is
the prior of expressions, instead of a density about examples.

error, seen, hidden: mean distance over all vertices, those of the scanned part, the others. interval: share of
coordinates within their 90 % interval. radius: share of vertices within their 90 % radius. expected: root mean squared
distance that the fit expects. seconds: of processor time.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial.transform import Rotation

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.files import writing
from meshdisent.fitting.code_priors import ClusteredPrior, GaussianPrior
from meshdisent.fitting.landmarks import LandmarkFitConfig, PictureLandmarks, fit_landmarks, fit_picture_landmarks
from meshdisent.fitting.result import Fit
from meshdisent.fitting.scan import ScanFitConfig, ScanFitter
from meshdisent.fitting.scan_points import scan_surface
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.morphable.contract import MorphableModel
from meshdisent.morphable.model_file import load_morphable
from meshdisent.render.camera import Camera

SHARE, NOISE_MM, POINTS, LANDMARKS = 0.3, 1.0, 5000, 30
TURN_DEGREES, SHIFT_MM = 8.0, 30.0  # an axis
CAMERA = Camera(height=512, width=512, focal=1500.0, center_u=255.5, center_v=255.5)
FIGURES = ("error_mm", "seen_mm", "hidden_mm", "interval", "radius", "expected_mm", "seconds")
ADAM_STEPS, ADAM_RATE = 200, 0.05


class Case(NamedTuple):
    """A face in the frame of a scan, and the part of it that is seen."""

    truth: np.ndarray
    is_seen: np.ndarray
    points: np.ndarray


def part_of(vertices: np.ndarray, faces: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Faces about a place on the front, by distance, until they have their share of the area."""
    normals, middles = face_normals(vertices, faces), vertices[faces].mean(axis=1)
    area = np.linalg.norm(normals, axis=1)
    front = np.flatnonzero(normals[:, 2] > 0.3 * area)
    order = np.argsort(np.linalg.norm(middles - middles[random.choice(front)], axis=1))
    return order[np.cumsum(area[order]) <= SHARE * area.sum()]


def case_of(vertices: np.ndarray, faces: np.ndarray, seed: int) -> Case:
    """A scan of part of a face, somewhere."""
    random = np.random.default_rng(seed)
    turn = Rotation.from_rotvec(np.radians(TURN_DEGREES) * random.normal(size=3)).as_matrix()
    truth = vertices @ turn + SHIFT_MM * random.normal(size=3)
    part = faces[part_of(vertices, faces, random)]
    area = np.linalg.norm(face_normals(truth, part), axis=1)
    chosen = part[random.choice(len(part), POINTS, p=area / area.sum())]
    points = np.einsum("nk,nkd->nd", random.dirichlet([1.0, 1.0, 1.0], POINTS), truth[chosen])
    is_seen = np.isin(np.arange(len(vertices)), part)
    return Case(truth, is_seen, points + NOISE_MM * random.normal(size=points.shape))


def measured(fit: Fit, truth: np.ndarray, is_seen: np.ndarray, seconds: float) -> dict[str, float]:
    """Figures of one fit."""
    away = np.linalg.norm(fit.vertices - truth, axis=1)
    low, high = fit.intervals(0.9)
    return {
        "error_mm": float(away.mean()),
        "seen_mm": float(away[is_seen].mean()),
        "hidden_mm": float(away[~is_seen].mean()),
        "interval": float(((truth >= low) & (truth <= high)).mean()),
        "radius": float((away <= fit.radius_mm(0.9)).mean()),
        "expected_mm": float(fit.deviation_mm.mean()),
        "seconds": seconds,
    }


def by_scan(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Fit the part."""
    fitter = ScanFitter(model, scan_surface(Mesh(case.points)))
    return fitter.fit(fitter.begin()), case.truth, case.is_seen


def by_lone_points(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Every point says as much as if it were the only one of its place."""
    fitter = ScanFitter(model, scan_surface(Mesh(case.points)), ScanFitConfig(patch_mm=1e-6))
    return fitter.fit(fitter.begin()), case.truth, case.is_seen


def by_narrow_prior(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Identities spread as the training's."""
    fitter = ScanFitter(model, scan_surface(Mesh(case.points)))
    prior = fitter.space.prior
    (prior.gaussian if isinstance(prior, ClusteredPrior) else prior).identity_precision = 1.0
    return fitter.fit(fitter.begin()), case.truth, case.is_seen


def by_gaussian_prior(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Expressions under one Gaussian."""
    fitter = ScanFitter(model, scan_surface(Mesh(case.points)))
    fitter.space.prior = GaussianPrior(fitter.space.identity_size)
    return fitter.fit(fitter.begin()), case.truth, case.is_seen


def front_vertices(case: Case, model: MorphableModel) -> np.ndarray:
    """Some vertices of the front, the same for the same case."""
    normals = vertex_normals(case.truth, model.topology.faces)
    front = np.flatnonzero(normals[:, 2] > 0.3)
    return np.random.default_rng(len(front)).choice(front, LANDMARKS, replace=False)


def by_landmarks(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Fit vertices in space."""
    rows = front_vertices(case, model)
    places = case.truth[rows] + NOISE_MM * np.random.default_rng(1).normal(size=(LANDMARKS, 3))
    fit = fit_landmarks(model, Landmarks(rows, places), LandmarkFitConfig(noise=NOISE_MM))
    return fit, case.truth, np.isin(np.arange(len(case.truth)), rows)


def by_picture(model: MorphableModel, case: Case) -> tuple[Fit, np.ndarray, np.ndarray]:
    """Fit vertices in a picture; the truth is in the frame of the camera."""
    rows = front_vertices(case, model)
    truth = (case.truth - case.truth.mean(axis=0)) * [1.0, -1.0, -1.0] + [0.0, 0.0, 1000.0]
    pixels = CAMERA.project(torch.from_numpy(truth[rows])).numpy()
    pixels += np.random.default_rng(1).normal(size=pixels.shape)
    fit = fit_picture_landmarks(model, PictureLandmarks(rows, pixels), CAMERA, LandmarkFitConfig(noise=1.0))
    return fit, truth, np.isin(np.arange(len(truth)), rows)


class Still(NamedTuple):
    """A face without a posterior."""

    vertices: np.ndarray


def by_adam(model: MorphableModel, case: Case) -> tuple[Still, np.ndarray, np.ndarray]:
    """The same objective by first-order steps, as most fits in the field are made."""
    fitter = ScanFitter(model, scan_surface(Mesh(case.points)))
    state, space = fitter.begin(), fitter.space
    unknown = torch.zeros(space.size + 6, dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.Adam([unknown], lr=ADAM_RATE)
    center, motion = state.vertices.mean(axis=0), state.motion
    crowd = fitter.points.crowd(fitter.config.patch_mm)
    surface = fitter.points.surface
    back = motion.inverse()
    points, normals = torch.from_numpy(back.apply(surface.points)), surface.normals @ back.rotation
    for _ in range(ADAM_STEPS):
        face = model.decode(space.codes_of(unknown[None, : space.size])).double()[0]
        placed = (face - torch.from_numpy(center)) @ _turn(unknown[-6:-3]) + torch.from_numpy(center) + unknown[-3:]
        pairs = fitter.places.pair(placed.detach().numpy(), points.numpy(), normals, 3.0)
        good = ~pairs.is_beyond & (pairs.agreement > 0.4) & (pairs.distance < 30.0)
        weight = torch.from_numpy(good / (NOISE_MM**2 + crowd * space.misfit_mm**2))
        feet = (torch.from_numpy(pairs.weights)[..., None] * placed[torch.from_numpy(pairs.corners)]).sum(dim=1)
        along = ((feet - points) * torch.from_numpy(pairs.normals)).sum(dim=1)
        cost = (weight * along**2 / (1 + (along / 3.0) ** 2)).sum() + unknown[: space.size].square().sum()
        optimizer.zero_grad()
        cost.backward()
        optimizer.step()
    return Still(motion.apply(placed.detach().numpy())), case.truth, case.is_seen


def _turn(angles: torch.Tensor) -> torch.Tensor:
    """The turn of row vectors about three small angles."""
    zero = torch.zeros((), dtype=angles.dtype)
    x, y, z = angles
    return torch.matrix_exp(torch.stack([zero, z, -y, -z, zero, x, y, -x, zero]).reshape(3, 3))


WAYS: dict[str, Callable] = {
    "scan": by_scan,
    "scan, alone": by_lone_points,
    "scan, narrow": by_narrow_prior,
    "scan, gaussian": by_gaussian_prior,
    "landmarks": by_landmarks,
    "picture": by_picture,
    "adam": by_adam,
}


def cases_of(model: MorphableModel, data: Path, count: int) -> dict[str, list[Case]]:
    """Half of the cases from the prior, half from unseen people; other scans of the test than the first."""
    drawn = model.prior().sample(count, torch.Generator().manual_seed(77))
    with torch.no_grad():
        known = model.decode(drawn).double().numpy()
    scans = ScanDataset.open(data)
    rows = scans.rows("test")
    chosen = np.random.default_rng(77).choice(rows, count, replace=False)
    faces = {"drawn codes": known, "unseen people": scans.vertices(np.sort(chosen)).astype(np.float64)}
    triangles = model.topology.faces
    return {
        name: [case_of(face, triangles, 1000 + number) for number, face in enumerate(some)]
        for name, some in faces.items()
    }


def measure(model: MorphableModel, way: str, case: Case) -> dict[str, float]:
    """Fit one case one way."""
    begin = time.process_time()
    found, truth, is_seen = WAYS[way](model, case)
    seconds = time.process_time() - begin
    if isinstance(found, Still):
        away = np.linalg.norm(found.vertices - truth, axis=1)
        return {
            "error_mm": float(away.mean()), "seen_mm": float(away[is_seen].mean()),
            "hidden_mm": float(away[~is_seen].mean()), "seconds": seconds,
        }  # fmt: skip
    return measured(found, truth, is_seen, seconds)


def record(found: dict[tuple[str, str], list[dict[str, float]]], failed: dict[tuple[str, str], int]) -> list[dict]:
    """Means of all cases of a kind and a way, and the worst one."""
    rows = []
    for (kind, way), cases in found.items():
        figures = [figure for figure in FIGURES if figure in cases[0]]
        rows.append(
            {
                "faces": kind, "way": way, "cases": len(cases), "failed": failed.get((kind, way), 0),
                **{figure: float(np.mean([case[figure] for case in cases])) for figure in figures},
                "worst_mm": max(case["error_mm"] for case in cases),
                "median_mm": float(np.median([case["error_mm"] for case in cases])),
            }
        )  # fmt: skip
    return rows


def table(rows: list[dict]) -> str:
    """The rows as a page includes them."""
    head = (
        "faces",
        "from",
        "cases",
        "error",
        "median",
        "worst",
        "seen",
        "hidden",
        "interval",
        "radius",
        "expected",
        "s",
    )
    lines = ["<!-- Made by benchmarks/fitting.py; do not edit. -->", "", "| " + " | ".join(head) + " |"]
    lines.append("|" + "---|" * len(head))
    for row in rows:
        shares = [f"{row[name]:.1%}" if name in row else "-" for name in ("interval", "radius")]
        lengths = [f"{row[name]:.2f}" for name in ("error_mm", "median_mm", "worst_mm", "seen_mm", "hidden_mm")]
        expected = f"{row['expected_mm']:.2f}" if "expected_mm" in row else "-"
        cases = f"{row['cases']}" + (f" + {row['failed']} refused" if row["failed"] else "")
        cells = [row["faces"], row["way"], cases, *lengths, *shares, expected, f"{row['seconds']:.1f}"]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, print the table, and write both where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path, metavar="FACES")
    parser.add_argument("--model", default="wsdf-ict")
    parser.add_argument("--cases", type=int, default=24, help="of each kind of face, by their scans")
    parser.add_argument("--few", type=int, default=6, help="of each kind by landmarks and in pictures; a third by Adam")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--table", type=Path)
    chosen = parser.parse_args()
    model = load_morphable(chosen.model)
    few = {"landmarks": chosen.few, "picture": chosen.few, "adam": chosen.few // 3}
    counts = {way: few.get(way, chosen.cases) for way in WAYS}
    found: dict[tuple[str, str], list[dict[str, float]]] = {}
    failed: dict[tuple[str, str], int] = {}
    cases = cases_of(model, chosen.data, chosen.cases)
    for number in range(chosen.cases):
        for kind, some in cases.items():
            for way in [way for way, count in counts.items() if number < count]:
                try:
                    found.setdefault((kind, way), []).append(measure(model, way, some[number]))
                except DataError as error:
                    failed[kind, way] = failed.get((kind, way), 0) + 1
                    print(kind, way, error, file=sys.stderr)
                    continue
                print(f"{number} {kind} {way}: {found[kind, way][-1]}", file=sys.stderr, flush=True)
        rows = sorted(record(found, failed), key=lambda row: list(counts).index(row["way"]))
        if chosen.json:
            with writing(chosen.json, overwrite=True) as aside:
                aside.write_text(json.dumps({"model": chosen.model, "rows": rows}, indent=1) + "\n")
    print(table(rows))
    if chosen.table:
        with writing(chosen.table, overwrite=True) as aside:
            aside.write_text(table(rows))


if __name__ == "__main__":
    main()
