"""What every scan of a data set is checked against and reduced to: one template, one linear map."""

import difflib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.faces_writer import FullResolution
from meshdisent.data.known_faces import known_regions
from meshdisent.data.layouts.base import MM_PER_UNIT, Layout, Rejection, ScanRecord
from meshdisent.errors import DataError, MeshError, TopologyError, UsageError
from meshdisent.mesh.cropping import crop
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.flame import read_template
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology

UNLIKE_SIZE = 5.0  # a scan so many times larger or smaller than the template is in another unit
_VOTERS = 9


@dataclass(frozen=True, eq=False)
class Target:
    """The topology that files must have, and the one that is stored.

    Attributes
    ----------
    full : Topology of the files, template in mm.
    topology : Topology of the dataset; the same object where nothing is decimated.
    map : Rows sum to one; scan = map @ file. None where nothing is decimated.
    """

    full: Topology
    topology: Topology
    map: sparse.csr_array | None

    @classmethod
    def decimated(cls, full: Topology, vertex_count: int | None, region: str | None = None) -> "Target":
        """Cut a region out of the template and decimate it, once; None for both keeps it whole.

        Raises
        ------
        UsageError : If there are fewer vertices than that, or no such region.
        """
        part, selection = (full, None) if region is None else _cropped(full, region)
        if vertex_count is None or vertex_count == part.vertex_count:
            return cls(full, part, selection)
        if not 3 < vertex_count < part.vertex_count:
            raise UsageError(
                f"--vertices {vertex_count} was asked for and the template has {part.vertex_count}; wanted 4 to "
                f"{part.vertex_count}. Decimation only takes vertices away."
            )
        small = decimate(part.template, part.faces, vertex_count)
        regions = {name: _carried(members, small.map) for name, members in part.regions.items()}
        template = small.map @ part.template
        to_small = small.map if selection is None else small.map @ selection
        return cls(full, Topology(template, small.faces, regions), sparse.csr_array(to_small))

    def reduce(self, vertices: Float[np.ndarray, "full_vertex 3"]) -> Float[np.ndarray, "vertex 3"]:
        """Take one file's vertices to the stored topology."""
        return vertices if self.map is None else self.map @ vertices

    def trace(self) -> FullResolution | None:
        """What the dataset keeps about the decimation."""
        return None if self.map is None else FullResolution(self.full.template, self.full.faces, self.map)

    def reason_against(self, mesh: Mesh, source: str) -> str | None:
        """Say in one line why a mesh cannot be a scan of this data set; None if it can."""
        if not len(mesh.faces):
            return f"has {len(mesh.vertices)} vertices and no faces; wanted the faces of the template"
        try:
            self.full.check(len(mesh.vertices), mesh.faces, source)
        except TopologyError as error:
            return " ".join(str(error).split()).removeprefix(" ".join(source.split())).lstrip()
        return degeneracy(mesh.vertices, mesh.faces) or self._size_reason(mesh.vertices)

    def _size_reason(self, vertices: np.ndarray) -> str | None:
        ratio = extent(vertices) / extent(self.full.template)
        if 1 / UNLIKE_SIZE < ratio < UNLIKE_SIZE:
            return None
        return f"is {ratio:.3g} times the size of the template; wanted the same unit in all files (see --unit)"


def choose_target(
    layout: Layout,
    records: Sequence[ScanRecord],
    seed: int,
    vertex_count: int | None = None,
    topology: str | os.PathLike | None = None,
    region: str | None = None,
) -> Target:
    """Find the template: the given one, the data set's own, or a scan at rest of the topology that most scans have.

    Parameters
    ----------
    layout, records, seed : The scans.
    vertex_count : Decimate to so many vertices.
    topology : A mesh in the unit of the scans, a FLAME model (.pkl, .npz), or a faces.h5. One that was decimated itself
        gives its map too, so that more scans can be brought to exactly its topology.

    Raises
    ------
    DataError : If no scan can be read, or the file is no template.
    """
    if topology is not None and Path(topology).suffix.lower() in (".h5", ".hdf5"):
        return _target_of_dataset(ScanDataset.open(topology), layout, records, seed, vertex_count)
    if topology is not None:
        mesh = read_template(topology, MM_PER_UNIT[layout.unit])
        problem = degeneracy(mesh.vertices, mesh.faces)
        if problem or not len(mesh.faces):
            raise MeshError(f"The template {topology} {problem or 'has no faces'}; wanted a face. Give another file.")
    else:
        mesh = layout.template() or _typical_scan(layout, records, seed)
    regions = {name: np.array(members, np.int64) for name, members in layout.regions(mesh).items()}
    return Target.decimated(Topology(mesh.vertices, mesh.faces, regions), vertex_count, region)


def degeneracy(vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> str | None:
    """Say why a mesh is no surface: all in one point, or on a line; None if it is one."""
    size = extent(vertices)
    if not size > 0:
        return "is degenerate: all its vertices lie in one point"
    area, scaled = 0.0, vertices / size
    for start in range(0, len(faces), 1000):  # a surface shows itself in its first thousand faces
        corners = scaled[faces[start : start + 1000]]
        normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
        area += float(np.linalg.norm(normals, axis=1).sum())
        if area >= 1e-6:
            return None
    return "is degenerate: its faces have no area"


def extent(vertices: Float[np.ndarray, "vertex 3"]) -> float:
    """Root mean square distance of the vertices from their center."""
    return float(np.sqrt(((vertices - vertices.mean(axis=0)) ** 2).sum(axis=1).mean()))


def stable_vertices(stable: str | os.PathLike | None, target: Target) -> Int[np.ndarray, " stable"] | None:
    """Read which vertices of the files alignment looks at: a region of the template, or a file of indices.

    Parameters
    ----------
    stable : Name of a region; or a ``.npy``, or a text file with one index a line. None: all vertices.

    Raises
    ------
    DataError : If there is no such region or file, or it holds anything but at least three existing vertices.
    """
    if stable is None:
        return None
    count = target.full.vertex_count
    known = _full_regions(target)
    if str(stable) in known:
        return known[str(stable)]
    try:
        array = np.load(stable, allow_pickle=False) if str(stable).endswith(".npy") else np.loadtxt(stable, ndmin=1)
    except FileNotFoundError as error:
        raise DataError(
            f"There is no region or file {stable!s}; the template has "
            f"{', '.join(known) if known else 'no named regions'}. Correct --stable."
        ) from error
    except (OSError, ValueError) as error:
        raise DataError(
            f"{stable} cannot be read as vertex indices ({error}); wanted one whole number a line."
        ) from error
    members = np.unique(array.astype(np.int64))
    if array.ndim != 1 or (array != array.astype(np.int64)).any() or len(members) < 3:
        raise DataError(f"{stable} holds {len(members)} different vertices; wanted a list of at least 3 whole numbers.")
    if members[0] < 0 or members[-1] >= count:
        wrong = members[0] if members[0] < 0 else members[-1]
        raise DataError(f"{stable} names the vertex {wrong}; the scans have the vertices 0 to {count - 1}.")
    return members


def _full_regions(target: Target) -> Mapping[str, np.ndarray]:
    known = known_regions(target.full)
    if target.full.regions or target.map is None:
        return known
    main = _main_column(target.map)
    return known | {name: np.unique(main[members]) for name, members in target.topology.regions.items()}


def _cropped(full: Topology, region: str) -> tuple[Topology, sparse.csr_array]:
    """The topology of a region, and the matrix that selects its vertices."""
    known = known_regions(full)
    if region not in known:
        near = difflib.get_close_matches(region, known, n=1, cutoff=0.0)
        hint = f"Did you mean {near[0]!r}? It has {', '.join(known)}." if near else "Its landmarks are not known."
        raise UsageError(f"--crop {region} was asked for and the template has no region of that name. {hint}")
    found = crop(full, known[region])
    shape = (len(found.rows), full.vertex_count)
    ones = np.ones(len(found.rows))
    return found.part, sparse.csr_array((ones, (np.arange(len(found.rows)), found.rows)), shape=shape)


def _main_column(matrix: sparse.csr_array) -> np.ndarray:
    """For each row the column with the largest weight."""
    return np.asarray(sparse.csr_array(matrix).argmax(axis=1)).ravel().astype(np.int64)


def _carried(members: np.ndarray, matrix: sparse.csr_array) -> np.ndarray:
    return np.flatnonzero(np.isin(_main_column(matrix), members))


def _target_of_dataset(
    dataset: ScanDataset, layout: Layout, records: Sequence[ScanRecord], seed: int, vertex_count: int | None
) -> Target:
    if vertex_count not in (None, dataset.topology.vertex_count):
        raise UsageError(
            f"--vertices {vertex_count} was given with a topology of {dataset.topology.vertex_count} vertices; wanted "
            "one of the two. Leave --vertices out."
        )
    full = dataset.full_resolution()
    if full is not None:
        scan = _typical_scan(layout, records, seed)
        if len(scan.vertices) == len(full.template):
            return Target(Topology(full.template, full.faces), dataset.topology, full.map)
    return Target(dataset.topology, dataset.topology, None)


def _typical_scan(layout: Layout, records: Sequence[ScanRecord], seed: int) -> Mesh:
    """Read a few scans from all over the set; one at rest that has the topology and about the size of most of them.

    One odd file must not make all others odd.
    """
    spread = sorted({int(k) for k in np.linspace(0, len(records) - 1, min(_VOTERS, len(records)))})
    usable = [mesh for k in spread if (mesh := _usable(layout, records[k], seed)) is not None]
    others = (record for k, record in enumerate(records) if k not in set(spread))
    while not usable:
        record = next(others, None)
        if record is None:
            raise DataError(
                f"None of {len(records)} scans can be read; the first, {records[0].source}, "
                f"{_reason(layout, records[0], seed)}. Check the files."
            )
        usable = [mesh for mesh in [_usable(layout, record, seed)] if mesh is not None]
    hashes = [Topology(mesh.vertices, mesh.faces).topology_hash for mesh in usable]
    winner = max(hashes, key=hashes.count)  # the earliest among equals
    alike = [mesh for mesh, found in zip(usable, hashes, strict=True) if found == winner]
    middle = np.median([extent(mesh.vertices) for mesh in alike])
    at_rest = (record for record in records if record.expression == layout.neutral)
    candidates = chain((_usable(layout, record, seed) for record in islice(at_rest, 3)), alike)
    for mesh in candidates:  # a face at rest, with its mouth closed, if there is one: the hierarchy depends on it
        if mesh is None or Topology(mesh.vertices, mesh.faces).topology_hash != winner:
            continue
        if 1 / UNLIKE_SIZE < extent(mesh.vertices) / middle < UNLIKE_SIZE:
            return mesh
    return alike[0]


def _usable(layout: Layout, record: ScanRecord, seed: int) -> Mesh | None:
    mesh = layout.read([record], seed)[0]
    is_usable = isinstance(mesh, Mesh) and len(mesh.faces) and degeneracy(mesh.vertices, mesh.faces) is None
    return mesh if is_usable else None  # type: ignore[return-value]


def _reason(layout: Layout, record: ScanRecord, seed: int) -> str:
    mesh = layout.read([record], seed)[0]
    if isinstance(mesh, Rejection):
        return f"is out because: {mesh.reason}"
    return degeneracy(mesh.vertices, mesh.faces) or "has no faces"
