"""``meshdisent register SCAN... --topology T --out DIR``: raw scans of any mesh to scans of a topology."""

import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.mesh.landmark_files import Points
    from meshdisent.mesh.landmarks import Landmarks
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.mesh.plane_fit import ShapePrior
    from meshdisent.mesh.registration_result import Registration
    from meshdisent.mesh.target_surface import TargetSurface
    from meshdisent.mesh.topology import Topology

_FARTHEST_MM = 15.0
MILLIMETERS = {"mm": 1.0, "cm": 10.0, "m": 1000.0}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Bring a topology onto raw scans: any vertices and faces, holes, one side only. Results are scans like any other.

    For example: meshdisent register head.ply --topology wsdf-ict --prior wsdf-ict --out registered

    Scans look along +z with +y up; --any-pose tries all turns. A scan that cannot be fitted is named with its residual
    and left out; the exit code is then 3, and the others are written.
    """

    scans: Annotated[tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCAN")]
    """Meshes (OBJ, PLY, WRL), or points with normals (PLY with nx, ny, nz)."""
    topology: Annotated[str, tyro.conf.arg(metavar="T")]
    """A model, a faces.h5, or a template mesh in mm."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the registered scans and registration.json."""
    unit: Literal["mm", "cm", "m"] = "mm"
    """Of the scans."""
    prior: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Look for a likely face of this model first, then bend; its topology must be T."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Named points on the scan in its unit (.json, .csv, .pp, .pts, .ljson): they give the pose, and pull. Of several
    scans a folder of files that are called as the scans are. `meshdisent inspect T` says which names T knows."""
    template_landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The same points on the template, in mm (its nearest vertices are taken), where T does not know its own."""
    any_pose: bool = False
    """Scans may be turned any way."""
    scale: bool = False
    """Scans may be of any size."""
    format: Literal["ply", "obj"] = "ply"
    """File format of the results."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent register", config=(tyro.conf.FlagCreatePairsOff,))
    refuse_existing(given.out, given.overwrite)
    if not given.scans:
        raise UsageError("No scan is named; wanted at least one SCAN, a mesh file.")
    if given.landmarks is None and given.template_landmarks is not None:
        raise UsageError("--template-landmarks are the same points as those of --landmarks on the scan; give both.")
    fit = _fitter(given)
    meshes: dict[str, Mesh] = {}
    reports: dict[str, dict[str, Any]] = {}
    failed: list[str] = []
    for path in given.scans:
        try:
            mesh, report = fit(path)
        except MeshdisentError as error:
            failed.append(f"{path}: {' '.join(str(error).split())}")
            print(f"left out: {failed[-1]}", file=sys.stderr)
            continue
        name = path.stem if path.stem not in meshes else f"{path.stem}-{len(meshes) + 1}"
        meshes[name], reports[name] = mesh, report
        residual = report["residual_mm"]
        print(f"{path}: {residual['median']:.2f} mm from the surface (95 % below {residual['most']:.2f}), "
              f"{100 * report['seen_share']:.0f} % of the template seen", flush=True)  # fmt: skip
    if not meshes:
        raise DataError(f"No scan could be registered. The first: {failed[0]}")
    with writing_folder(given.out, given.overwrite) as folder:
        for name, mesh in meshes.items():
            mesh.write(folder / f"{name}.{given.format}")
        (folder / "registration.json").write_text(json.dumps(reports, indent=2) + "\n", encoding="utf-8")
    print(f"{given.out}: {len(meshes)} scans ({given.format}) and registration.json")
    return 3 if failed else 0


def _fitter(given: Arguments) -> Callable[[Path], tuple["Mesh", dict[str, Any]]]:
    """What registers one file: its result as a mesh in the template's frame, and what to tell of it."""
    from meshdisent.cli.resample import read_topology
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.mesh.pose_search import any_starts
    from meshdisent.mesh.registration import RegistrationConfig, register

    topology = read_topology(given.topology)
    prior = prior_of(given.prior, topology, given.topology)
    config = RegistrationConfig(with_scale=given.scale)
    on_template = None if given.landmarks is None else _on_template(given, topology)

    def fit(path: Path) -> tuple[Mesh, dict[str, Any]]:
        target = surface_of(Mesh.read(path), MILLIMETERS[given.unit])
        starts = any_starts(topology, target) if given.any_pose else None
        landmarks = None if on_template is None else _landmarks_of(path, on_template, given)
        found = register(topology, target, config, landmarks=landmarks, starts=starts, prior=prior)
        return Mesh(found.in_template_frame, topology.faces), report_of(found)

    return fit


def _on_template(given: Arguments, topology: "Topology") -> dict[str, int]:
    """The vertices of named points: from a file, else those that the topology knows."""
    if given.template_landmarks is not None:
        return _template_rows(given.template_landmarks, topology)
    from meshdisent.data.known_faces import need_landmarks

    return need_landmarks(topology, given.topology).rows


def _template_rows(path: Path, topology: "Topology") -> dict[str, int]:
    """The vertex of the template next to each named point."""
    import numpy as np
    from scipy.spatial import cKDTree

    from meshdisent.mesh.landmark_files import read_landmark_file

    points = _in_space(read_landmark_file(path), path)
    distance, rows = cKDTree(topology.template).query(np.stack(list(points.values())))
    if distance.max() > _FARTHEST_MM:
        name = list(points)[int(distance.argmax())]
        raise DataError(
            f"{path}: {name!r} is {distance.max():.0f} mm from the template; wanted points on it, in mm. Pick them on "
            "the template itself."
        )
    return dict(zip(points, rows.tolist(), strict=True))


def _landmarks_of(scan: Path, on_template: dict[str, int], given: Arguments) -> "Landmarks":
    """The landmarks of one scan that the template has, too."""
    from meshdisent.mesh.landmark_files import READERS, read_landmark_file
    from meshdisent.mesh.landmark_sets import check_names
    from meshdisent.mesh.landmarks import Landmarks

    assert given.landmarks is not None
    path = given.landmarks
    if path.is_dir():
        found = [path / f"{scan.stem}{ending}" for ending in READERS if (path / f"{scan.stem}{ending}").is_file()]
        if len(found) != 1:
            raise DataError(f"{path} has {len(found)} landmark files called {scan.stem}; wanted one for {scan.name}.")
        path = found[0]
    elif len(given.scans) > 1:
        raise UsageError(f"--landmarks is the file {path}, and there are several scans; give a folder of files.")
    points = _in_space(read_landmark_file(path), path)
    if given.template_landmarks is None:
        check_names(points, on_template, str(path))
    return Landmarks.named(on_template, {name: MILLIMETERS[given.unit] * place for name, place in points.items()})


def _in_space(points: "Points", path: Path) -> "Points":
    if any(len(place) != 3 for place in points.values()):
        raise DataError(f"{path} has points of a picture, with two coordinates; wanted points in space, with three.")
    return points


def prior_of(name: str | None, topology: "Topology", where: str) -> "ShapePrior | None":
    """The likely faces of a model of this topology; None without a name.

    Raises
    ------
    TopologyError : If the model has another topology than ``where`` has.
    """
    if name is None:
        return None
    from meshdisent.morphable.contract import refuse_other_topology
    from meshdisent.morphable.model_file import load_morphable
    from meshdisent.morphable.shape_prior import shape_prior

    model = load_morphable(name)
    refuse_other_topology(model, topology, where)
    return shape_prior(model)


def surface_of(mesh: "Mesh", millimeters: float) -> "TargetSurface":
    """The surface of a raw scan in mm: of its triangles, or of its points where it has normals instead.

    Raises
    ------
    DataError : If it has neither.
    """
    import numpy as np

    from meshdisent.mesh.target_surface import TargetSurface

    if mesh.face_count:
        return TargetSurface.of_mesh(mesh.vertices * millimeters, mesh.faces)
    names = ("nx", "ny", "nz")
    if not all(name in mesh.vertex_attributes for name in names):
        raise DataError(
            f"The scan has {mesh.vertex_count} points, no faces and no normals; wanted faces, or normals as nx, ny, nz."
        )
    normals = np.stack([np.asarray(mesh.vertex_attributes[name], np.float64) for name in names], 1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    has_normal = length[:, 0] > 0
    points, unit = mesh.vertices[has_normal] * millimeters, (normals / np.maximum(length, 1e-12))[has_normal]
    return TargetSurface.of_points(points, unit)


def report_of(found: "Registration") -> dict[str, Any]:
    """What a registration tells, as plain values."""
    residual = found.residual
    return {
        "residual_mm": {"median": residual.median_mm, "mean": residual.mean_mm, "most": residual.most_mm},
        "seen_share": found.seen_share,
        "explained_share": found.explained_share,
        "turned_share": found.turned_share,
        "scale": found.motion.scale,
        "rotation": found.motion.rotation.tolist(),
        "translation_mm": found.motion.translation.tolist(),
        "stages": [
            {"name": stage.name, "length_mm": stage.length_mm, "median_mm": stage.median_mm, "matched": stage.matched}
            for stage in found.stages
        ],
    }
