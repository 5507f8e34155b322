"""``meshdisent register SCAN... --topology T --out DIR``: raw scans of any mesh to scans of a topology."""

import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import tyro

from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.files import refuse_existing, writing_folder

if TYPE_CHECKING:
    from meshdisent.mesh.alignment import Similarity
    from meshdisent.mesh.landmarks import Landmarks
    from meshdisent.mesh.mesh import Mesh
    from meshdisent.mesh.plane_fit import ShapePrior
    from meshdisent.mesh.registration import RegistrationConfig
    from meshdisent.mesh.registration_result import Registration, RegistrationRefused
    from meshdisent.mesh.target_surface import TargetSurface
    from meshdisent.mesh.topology import Topology

#: What comes along for the faces that are recognized (:func:`meshdisent.data.known_faces.name_of_face`).
_ALONG = {"ICT-FaceKit": "wsdf-ict", "synthetic head": "wsdf-synthetic"}


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Bring a topology onto raw scans: any vertices and faces, holes, one side only. Results are scans like any other.

    For example: meshdisent register head.ply --topology wsdf-ict --out registered

    Scans look along +z with +y up; --any-pose tries all turns. Of a scan that is much larger than the template, the
    part that looks like it is cut out first; of another one, what is left over where that is too much. Every scan gets
    a picture. One that cannot be fitted is named with its residual and the limit, its picture is called
    refused-NAME.png; the exit code is then 3, the others are written.
    """

    scans: Annotated[
        tuple[Path, ...], tyro.conf.Positional, tyro.conf.arg(metavar="SCAN", help_behavior_hint="(required)")
    ]
    """Meshes (OBJ, PLY, WRL), or points without faces; their normals (nx, ny, nz) are estimated if there are none."""
    topology: Annotated[str, tyro.conf.arg(metavar="T")]
    """A model, a faces.h5, or a template mesh in mm."""
    out: Annotated[Path, tyro.conf.arg(metavar="DIR")]
    """Folder for the registered scans, a picture of each, and registration.json."""
    unit: Literal["mm", "cm", "m"] | None = None
    """Of the scans; guessed from their size if not given."""
    prior: Annotated[str | None, tyro.conf.arg(metavar="MODEL")] = None
    """Look for a likely face of this model first, then bend; a model of another topology is carried over to T. Unless
    given it is T itself if that is a model, else what comes along for T's face; none bends the template alone."""
    landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE|DIR")] = None
    """Named points on the scan in its unit (.json, .csv, .pp, .pts, .ljson): they give the pose, and pull. Of several
    scans a folder of files that are called as the scans are. `meshdisent inspect T` says which names T knows."""
    template_landmarks: Annotated[Path | None, tyro.conf.arg(metavar="FILE")] = None
    """The same points on the template, in mm (its nearest vertices are taken), where T does not know its own."""
    any_pose: bool = False
    """Scans may be turned any way."""
    scale: bool = False
    """Scans may be of any size."""
    rims: Literal["none", "openings", "auto", "all"] = "auto"
    """Rims of the scan that are rims of the template: eyes and mouth where it is open there (openings); the outer rim,
    too (all), or if the template comes to lie on it (auto)."""
    keep_all: bool = False
    """Do not cut the face out of a scan that is much larger than the template."""
    save_map: Annotated[Path | None, tyro.conf.arg(metavar="MAP.NPZ")] = None
    """Of one SCAN that is itself a topology (a template, in mm): how its scans come to T, for meshdisent resample."""
    no_pictures: bool = False
    """Leave out the picture of each registration."""
    format: Literal["ply", "obj"] = "ply"
    """File format of the results."""
    overwrite: bool = False
    """Replace the folder if it exists."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent register", config=(tyro.conf.FlagCreatePairsOff,))
    _check(given)
    fit = _Fitter(given)
    failed: list[str] = []
    reports: dict[str, dict[str, Any]] = {}
    with writing_folder(given.out, given.overwrite) as folder:
        for path in given.scans:
            name = path.stem if path.stem not in reports else f"{path.stem}-{len(reports) + 1}"
            try:
                reports[name] = fit(path, name, folder)
            except MeshdisentError as error:
                failed.append(f"{path}: {' '.join(str(error).split())}")
                print(f"left out: {failed[-1]}", file=sys.stderr)
        if not reports and not any(folder.iterdir()):
            raise DataError(f"No scan could be registered. The first: {failed[0]}")
        (folder / "registration.json").write_text(
            json.dumps({**reports, **({"refused": failed} if failed else {})}, indent=2) + "\n", encoding="utf-8"
        )
    if not reports:
        raise DataError(f"No scan could be registered; {given.out} has pictures of why. The first: {failed[0]}")
    count = f"{len(reports)} scan{'s' if len(reports) > 1 else ''}"
    parts = "registration.json" if given.no_pictures else "pictures and registration.json"
    print(f"{given.out}: {count} ({given.format}), {parts}")
    return 3 if failed else 0


def _check(given: Arguments) -> None:
    for path in (given.out, given.save_map):
        if path is not None:
            refuse_existing(path, given.overwrite)
    if not given.scans:
        raise UsageError("No scan is named; wanted at least one SCAN, a mesh file.")
    if given.landmarks is None and given.template_landmarks is not None:
        raise UsageError("--template-landmarks are the same points as those of --landmarks on the scan; give both.")
    if given.save_map is not None and (len(given.scans) > 1 or given.unit not in (None, "mm") or given.scale):
        raise UsageError(
            f"--save-map is of one topology, in mm and of its own size; {len(given.scans)} scans, --unit "
            f"{given.unit or 'mm'}{' and --scale' if given.scale else ''} were given. Name one template."
        )


class _Fitter:
    """What registers one file after another, and writes its result and its picture."""

    def __init__(self, given: Arguments):
        from meshdisent.cli.resample import read_topology
        from meshdisent.mesh.registration import RegistrationConfig

        self.given = given
        self.topology = read_topology(given.topology)
        self.prior = _prior(given, self.topology)
        self.config = RegistrationConfig(with_scale=given.scale, rims=given.rims)
        self.on_template = None if given.landmarks is None else _on_template(given, self.topology)

    def __call__(self, path: Path, name: str, folder: Path) -> dict[str, Any]:
        """Register one file; what there is to tell of it."""
        from meshdisent.mesh.mesh import Mesh
        from meshdisent.mesh.raw_registration import register_or_cut
        from meshdisent.mesh.raw_surface import MILLIMETERS
        from meshdisent.mesh.registration_result import RegistrationRefused

        raw = Mesh.read(path)
        unit = self._unit(raw, path)
        landmarks = None if self.on_template is None else _landmarks_of(path, self.on_template, unit, self.given)
        target, starts, config, cut = self._face_of(surface_of(raw, MILLIMETERS[unit]), landmarks, path)
        try:
            may_cut = not (cut or self.given.keep_all)
            fit = register_or_cut(
                self.topology, target, config, landmarks=landmarks, starts=starts, prior=self.prior, may_cut=may_cut
            )
        except RegistrationRefused as refused:
            self._draw(folder / f"refused-{name}.png", target, refused, f"{path.name}: refused", str(refused))
            raise
        found, target = fit.registration, fit.target
        cut = max(cut, fit.cut_share)
        if may_cut and cut:
            print(f"{path}: {cut:.0%} of it is no part of the template and was cut off.", file=sys.stderr)
        Mesh(found.in_template_frame, self.topology.faces).write(folder / f"{name}.{self.given.format}")
        said = _said(found)
        self._draw(folder / f"{name}.png", target, found, path.name, said)
        if self.given.save_map is not None:
            self._save_map(raw, found)
        print(f"{path}: {said}", flush=True)
        return {"unit": unit, "cut_share": cut, **report_of(found)}

    def _unit(self, raw: "Mesh", path: Path) -> str:
        from meshdisent.mesh.raw_surface import guessed_unit

        if self.given.unit is not None or self.given.scale:
            return self.given.unit or "mm"
        unit = guessed_unit(raw.vertices, self.topology.template)
        if unit != "mm":
            print(f"{path}: taken to be in {unit}, by its size; --unit says otherwise.", file=sys.stderr)
        return unit

    def _face_of(
        self, target: "TargetSurface", landmarks: "Landmarks | None", path: Path
    ) -> tuple["TargetSurface", "list[Similarity] | None", "RegistrationConfig", float]:
        """The face of a scan, where to start from, within which limits, and the share that was cut off."""
        from meshdisent.mesh.alignment import align
        from meshdisent.mesh.pose_search import any_starts
        from meshdisent.mesh.raw_surface import PART_LIMITS, find_face, is_more_than_a_face

        starts = any_starts(self.topology, target) if self.given.any_pose else None
        has_pose = landmarks is not None or not (self.given.any_pose or self.given.scale)
        if self.given.keep_all or not has_pose or not is_more_than_a_face(self.topology, target):
            return target, starts, self.config, 0.0
        pose = None
        if landmarks is not None:
            pose = align(self.topology.template[landmarks.vertices], landmarks.points, self.given.scale)
        found = find_face(self.topology, target, pose)
        print(f"{path}: {found.cut_share:.0%} of it is no part of the template and was cut off.", file=sys.stderr)
        return found.target, [found.pose], replace(self.config, limits=PART_LIMITS), found.cut_share

    def _draw(
        self, path: Path, target: "TargetSurface", found: "Registration | RegistrationRefused", title: str, caption: str
    ) -> None:
        from meshdisent.show.pictures import write_png
        from meshdisent.show.registration_sheet import registration_sheet

        if not self.given.no_pictures and found.vertices is not None:
            page = registration_sheet(
                target, self.topology, found.stages, found.vertices, found.motion, title=title, caption=caption
            )
            write_png(path, page)

    def _save_map(self, raw: "Mesh", found: "Registration") -> None:
        from meshdisent.mesh.resampling import map_of_registration, save_map
        from meshdisent.mesh.topology import Topology

        assert self.given.save_map is not None
        made = map_of_registration(Topology(raw.vertices, raw.faces), self.topology, found.vertices)
        save_map(made, self.given.save_map, self.given.overwrite)
        print(
            f"{self.given.save_map}: {made.coverage.vertices - made.coverage.uncovered} of {made.coverage.vertices} "
            f"vertices have a place on {made.source.topology_hash}, {made.coverage.mean_mm:.2f} mm from it on average\n"
            f"next: meshdisent resample FACES.H5 --map {self.given.save_map} --out NEW.H5"
        )


def _said(found: "Registration") -> str:
    residual = found.residual
    return (
        f"{residual.median_mm:.2f} mm from the surface (95 % below {residual.most_mm:.2f}), "
        f"{100 * found.seen_share:.0f} % of the template seen"
    )


def _on_template(given: Arguments, topology: "Topology") -> dict[str, int]:
    """The vertices of named points: from a file, else those that the topology knows."""
    if given.template_landmarks is not None:
        from meshdisent.cli.template_landmarks import rows_on_template

        return rows_on_template(given.template_landmarks, topology)
    from meshdisent.data.known_faces import need_landmarks

    return need_landmarks(topology, given.topology).rows


def _landmarks_of(scan: Path, on_template: dict[str, int], unit: str, given: Arguments) -> "Landmarks":
    """The landmarks of one scan that the template has, too."""
    from meshdisent.cli.template_landmarks import read_points
    from meshdisent.mesh.landmark_files import READERS
    from meshdisent.mesh.landmark_sets import check_names
    from meshdisent.mesh.landmarks import Landmarks
    from meshdisent.mesh.raw_surface import MILLIMETERS

    assert given.landmarks is not None
    path = given.landmarks
    if path.is_dir():
        found = [path / f"{scan.stem}{ending}" for ending in READERS if (path / f"{scan.stem}{ending}").is_file()]
        if len(found) != 1:
            raise DataError(f"{path} has {len(found)} landmark files called {scan.stem}; wanted one for {scan.name}.")
        path = found[0]
    elif len(given.scans) > 1:
        raise UsageError(f"--landmarks is the file {path}, and there are several scans; give a folder of files.")
    points = read_points(path)
    if given.template_landmarks is None:
        check_names(points, on_template, str(path))
    return Landmarks.named(on_template, {name: MILLIMETERS[unit] * place for name, place in points.items()})


def _prior(given: Arguments, topology: "Topology") -> "ShapePrior | None":
    """The prior that is asked for, or the usual one, which is said."""
    if given.prior is not None:
        return prior_of(given.prior, topology, given.topology)
    usual = _usual_prior(topology, given.topology)
    if usual is None:
        return None
    try:
        prior = prior_of(usual, topology, given.topology)
    except DataError as error:
        print(f"{given.topology}: {error} The template bends alone.", file=sys.stderr)
        return None
    print(f"Likely faces are those of {usual}; --prior says otherwise.", file=sys.stderr)
    return prior


def _usual_prior(topology: "Topology", where: str) -> str | None:
    """The model that ``where`` is, or the one that comes along for its face."""
    from meshdisent.cli.resample import is_model
    from meshdisent.data.known_faces import name_of_face
    from meshdisent.zoo_index import find_zoo_weights

    if is_model(where):
        return where
    name = _ALONG.get(name_of_face(topology, where) or "")
    return None if name is None or find_zoo_weights(name) is None else name


def prior_of(name: str | None, topology: "Topology", where: str) -> "ShapePrior | None":
    """The likely faces of a model, carried over to this topology if need be; none for None and ``none``.

    Raises
    ------
    DataError : If the model's face cannot be brought to the template of ``where``.
    """
    if name in (None, "none"):
        return None
    from meshdisent.mesh.carried_prior import carried_prior
    from meshdisent.morphable.model_file import load_morphable
    from meshdisent.morphable.shape_prior import shape_prior

    model = load_morphable(name)
    prior = shape_prior(model)
    if model.topology.topology_hash == topology.topology_hash:
        return prior
    try:
        carried = carried_prior(prior, model.topology, topology)
    except DataError as error:
        raise DataError(f"{name} cannot be carried over to {where}: {error}") from error
    print(
        f"{name} was carried over to {where}: {carried.covered:.0%} of the vertices have a place on its face, "
        f"{carried.distance_mm:.2f} mm from it (median).",
        file=sys.stderr,
    )
    return carried.prior


def surface_of(mesh: "Mesh", millimeters: float) -> "TargetSurface":
    """The surface of a raw scan in mm: of its triangles, or of its points, whose normals are estimated if need be.

    Raises
    ------
    DataError : If there are too few points.
    """
    import numpy as np

    from meshdisent.mesh.raw_surface import estimated_normals
    from meshdisent.mesh.target_surface import TargetSurface

    points = mesh.vertices * millimeters
    if mesh.face_count:
        return TargetSurface.of_mesh(points, mesh.faces)
    names = ("nx", "ny", "nz")
    if not all(name in mesh.vertex_attributes for name in names):
        return TargetSurface.of_points(points, estimated_normals(points))
    normals = np.stack([np.asarray(mesh.vertex_attributes[name], np.float64) for name in names], 1)
    length = np.linalg.norm(normals, axis=1, keepdims=True)
    has_normal = length[:, 0] > 0
    return TargetSurface.of_points(points[has_normal], (normals / np.maximum(length, 1e-12))[has_normal])


def report_of(found: "Registration") -> dict[str, Any]:
    """What a registration tells, as plain values."""
    residual = found.residual
    return {
        "residual_mm": {"median": residual.median_mm, "mean": residual.mean_mm, "most": residual.most_mm},
        "seen_share": found.seen_share,
        "front_share": found.front_share,
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
