"""``meshdisent resample A.h5 --topology B --out A-on-B.h5``: bring scans of one topology to another."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing

if TYPE_CHECKING:
    from meshdisent.mesh.resampling import ResamplingMap
    from meshdisent.mesh.template_fit import LandmarkPairs
    from meshdisent.mesh.topology import Topology

_DATA = (".h5", ".hdf5")


@dataclass(frozen=True, kw_only=True)
class Arguments:
    """Bring scans of one topology to another: each new vertex is a fixed mix of three old ones.

    For example: meshdisent resample heads.h5 --topology ict.h5 --landmarks pairs.csv --save-map map.npz --out on-ict.h5

    The map is found once on the two templates. Templates of two different faces need landmarks.
    """

    data: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FACES.H5")]
    """The scans."""
    out: Annotated[Path, tyro.conf.arg(metavar="FACES.H5")]
    """The file to write."""
    topology: Annotated[str | None, tyro.conf.arg(metavar="T")] = None
    """The topology to bring them to: a faces.h5, a model, or a mesh in mm."""
    map: Annotated[Path | None, tyro.conf.arg(metavar="MAP.NPZ")] = None
    """A map that was saved before, instead of a topology."""
    save_map: Annotated[Path | None, tyro.conf.arg(metavar="MAP.NPZ")] = None
    """Keep the map in this file, for other scans of the same topology."""
    landmarks: Annotated[str | None, tyro.conf.arg(metavar="PAIRS.CSV|known")] = None
    """Table of corresponding points of the two templates: columns source,target with numbers of vertices, or
    source_x,source_y,source_z,target_x,target_y,target_z in mm. Or known: the points that both topologies know by name,
    as `meshdisent inspect` says."""
    tolerance: Annotated[float | None, tyro.conf.arg(metavar="MM")] = None
    """How far a vertex of the new topology may lie from the old surface, in mm; 3 if not given."""
    leave_out: bool = False
    """Take vertices that the old surface does not cover out of the new topology."""
    offset: bool = False
    """Keep how far the new template's vertices lie from the old surface: for two meshes of one shape only."""
    overwrite: bool = False
    """Replace the files if they exist."""


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    given = tyro.cli(Arguments, args=arguments, prog="meshdisent resample", config=(tyro.conf.FlagCreatePairsOff,))
    _check(given)
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.data.resampled import save_resampled
    from meshdisent.mesh.resampling import read_map, save_map

    scans = ScanDataset.open(given.data)
    found = read_map(given.map) if given.map is not None else _find_map(given, scans.topology)
    found.check(scans.topology, str(given.data))
    if given.save_map is not None:
        save_map(found, given.save_map, given.overwrite)
    save_resampled(scans, found, given.out, overwrite=given.overwrite, progress=True)
    print(text(found, len(scans), given))
    return 0


def _check(given: Arguments) -> None:
    for path in (given.out, given.save_map):
        if path is not None:
            refuse_existing(path, given.overwrite)
    if (given.topology is None) == (given.map is None):
        raise UsageError(
            "Give either the topology to bring the scans to (--topology T) or a saved map (--map MAP.NPZ)."
        )
    how = (given.save_map, given.landmarks, given.tolerance, given.leave_out or None, given.offset or None)
    if given.map is not None and how != (None,) * len(how):
        raise UsageError(
            "--save-map, --landmarks, --tolerance, --leave-out and --offset say how a map is made; with --map it is "
            "there already. Leave them out, or give --topology instead."
        )


def _find_map(given: Arguments, source: "Topology") -> "ResamplingMap":
    from meshdisent.mesh.resampling import resampling_map
    from meshdisent.mesh.template_places import TOLERANCE_MM

    assert given.topology is not None
    target = read_topology(given.topology)
    return resampling_map(
        source,
        target,
        landmarks=None if given.landmarks is None else _pairs(given, source, target),
        tolerance_mm=TOLERANCE_MM if given.tolerance is None else given.tolerance,
        leave_out=given.leave_out,
        with_offset=given.offset,
    )


def _pairs(given: Arguments, source: "Topology", target: "Topology") -> "LandmarkPairs":
    from meshdisent.mesh.template_fit import LandmarkPairs, read_landmarks

    assert given.landmarks is not None
    assert given.topology is not None
    if given.landmarks != "known":
        return read_landmarks(given.landmarks, source, target)
    from meshdisent.data.known_faces import need_landmarks

    points = [need_landmarks(side, path).points(side.template)
              for side, path in ((source, given.data), (target, given.topology))]  # fmt: skip
    return LandmarkPairs.named(*points)


def read_topology(text: str) -> "Topology":
    """The topology of a faces.h5, of a mesh file in mm, or of a model.

    Raises
    ------
    MeshdisentError : If it is none of these, or cannot be read.
    """
    if is_model(text):
        from meshdisent.morphable.model_file import load_morphable

        return load_morphable(text).topology
    if Path(text).suffix.lower() in _DATA:
        from meshdisent.data.dataset import ScanDataset

        return ScanDataset.open(text).topology
    from meshdisent.mesh.flame import read_template
    from meshdisent.mesh.topology import Topology

    mesh = read_template(text)
    return Topology(mesh.vertices, mesh.faces)


def is_model(text: str) -> bool:
    """Whether what :func:`read_topology` reads is a model, by its name alone."""
    from meshdisent.mesh.flame import FLAME_EXTENSIONS
    from meshdisent.mesh.formats import READERS

    return Path(text).suffix.lower() not in (*_DATA, *READERS, *FLAME_EXTENSIONS)


def text(found: "ResamplingMap", scan_count: int, given: Arguments) -> str:
    """What a person wants to read of a resampling."""
    coverage = found.coverage
    lines = [
        f"{given.out}: {scan_count} scans, {found.target.vertex_count} vertices out of {found.source.vertex_count}",
        f"  templates    {coverage.mean_mm:.2f} mm apart on average, 95 % below {coverage.most_mm:.2f}, "
        f"worst {coverage.worst_mm:.2f}",
    ]
    left_out = coverage.vertices - found.target.vertex_count
    if left_out:
        lines.append(f"  left out     {left_out} of {coverage.vertices} vertices that the scans do not cover")
    elif coverage.uncovered:
        lines.append(
            f"WARNING: {coverage.uncovered} of {coverage.vertices} vertices are not covered by the scans and stand on "
            "their nearest place; --leave-out takes them out"
        )
    if given.save_map is not None:
        lines.append(
            f"  map          {given.save_map}, from {found.source.topology_hash} to {found.target.topology_hash}"
        )
    lines.append(f"next: meshdisent inspect {given.out}")
    return "\n".join(lines)
