"""Writes faces.h5 scan by scan; the file appears whole at the end or not at all."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import NamedTuple

import h5py
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Float32, Int

from meshdisent.data.checked_file import disk_full
from meshdisent.data.faces_file import FORMAT, FORMAT_VERSION, OWN_ATTRIBUTES, blocks, read_scans
from meshdisent.data.labels import Labels
from meshdisent.errors import DataError
from meshdisent.files import writing
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.topology import Topology

Attribute = str | int | float | bool


class Transforms(NamedTuple):
    """What alignment did to each scan: aligned = scale * original @ rotation + translation."""

    scale: Float[np.ndarray, " scan"]
    rotation: Float[np.ndarray, "scan 3 3"]
    translation: Float[np.ndarray, "scan 3"]

    @classmethod
    def identity(cls, scan_count: int) -> "Transforms":
        """No change to any scan."""
        return cls(np.ones(scan_count), np.tile(np.eye(3), (scan_count, 1, 1)), np.zeros((scan_count, 3)))

    def followed_by(self, motion: Similarity) -> "Transforms":
        """The transforms after all scans were moved once more, as one."""
        rotation, translation = self.rotation @ motion.rotation, motion.apply(self.translation)
        return Transforms(motion.scale * self.scale, rotation, translation)


class FullResolution(NamedTuple):
    """Where a decimated topology comes from: vertices = map @ full vertices."""

    template: Float[np.ndarray, "full_vertex 3"]
    faces: Int[np.ndarray, "full_face 3"]
    map: sparse.csr_array


class DatasetWriter:
    """Append scans in blocks, then finish with labels.

    Leaving the block with an error, or without :meth:`finish`, leaves no file behind.

    Parameters
    ----------
    path : The file to appear.
    topology : Topology of all scans.
    attributes : Strings and numbers that say how the scans were made.
    overwrite : Replace an existing file.

    Raises
    ------
    UsageError : If ``path`` exists and ``overwrite`` is false.

    Examples
    --------
    >>> triangle = Topology(np.eye(3), np.array([[0, 1, 2]]))
    >>> with DatasetWriter(folder / "faces.h5", triangle) as writer:
    ...     writer.append(np.ones((2, 3, 3)))
    ...     writer.finish(Labels.from_names(["anna", "ben"], ["smile", "smile"]))
    >>> sorted(h5py.File(folder / "faces.h5"))[:4]
    ['expression', 'expressions', 'frame', 'neutral']
    """

    def __init__(
        self,
        path: str | os.PathLike,
        topology: Topology,
        attributes: Mapping[str, Attribute] | None = None,
        overwrite: bool = False,
    ):
        self.path = str(path)
        self.topology = topology
        self.attributes = dict(attributes or {})
        for name, value in self.attributes.items():
            if name in OWN_ATTRIBUTES or not isinstance(value, str | int | float | bool):
                raise DataError(
                    f"The attribute {name!r} is {value!r}; wanted a string or a number under another name "
                    f"than {', '.join(OWN_ATTRIBUTES)}. Rename it, or store it as JSON text."
                )
        self._overwrite = overwrite
        self._is_finished = False

    def __enter__(self) -> "DatasetWriter":
        self._aside: AbstractContextManager = writing(self.path, self._overwrite)
        aside = self._aside.__enter__()
        try:
            self._file = h5py.File(aside, "w")
            shape = (0, self.topology.vertex_count, 3)
            chunk = (1, max(1, self.topology.vertex_count), 3)
            self._vertices = self._file.create_dataset(
                "vertices", shape, "<f4", maxshape=(None, *shape[1:]), chunks=chunk, fletcher32=True
            )
        except BaseException as error:
            self._aside.__exit__(type(error), error, error.__traceback__)
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        under_way = error
        try:
            self._file.close()
        except (OSError, RuntimeError) as failure:  # a full disk shows when the last blocks are flushed
            error = error or failure
        if error is None and not self._is_finished:
            error = RuntimeError(f"{self.path} was left without finish()")
        error = disk_full(error)
        self._aside.__exit__(type(error) if error else None, error, error.__traceback__ if error else None)
        if error is not under_way and error is not None:
            raise error

    def __len__(self) -> int:
        return len(self._vertices)

    def append(self, vertices: Float[np.ndarray, "scan vertex 3"]) -> None:
        """Add scans, in mm, at the end."""
        _check_finite(vertices, len(self))
        start = len(self)
        self._vertices.resize(start + len(vertices), axis=0)
        self._vertices[start:] = vertices.astype(np.float32)

    def read(self, rows: Int[np.ndarray, " scan"]) -> Float32[np.ndarray, "scan vertex 3"]:
        """Scans that were appended before."""
        return read_scans(self._file, rows, self.path)

    def rewrite(self, first: int, vertices: Float[np.ndarray, "scan vertex 3"]) -> None:
        """Replace the scans from row ``first`` on, for a step that had to see all scans before it could change any."""
        _check_finite(vertices, first)
        self._vertices[first : first + len(vertices)] = vertices.astype(np.float32)

    def finish(
        self,
        labels: Labels,
        truth: Float[np.ndarray, "subject vertex 3"] | None = None,
        transforms: Transforms | None = None,
        full: FullResolution | None = None,
    ) -> None:
        """Write everything but the scans.

        Parameters
        ----------
        labels : One row a scan that was appended.
        truth : (S, V, 3) True neutrals in mm; NaN throughout for a subject whose neutral is unknown.
        transforms : What alignment did to each scan.
        full : The template before decimation and the map from it.
        """
        if len(labels) != len(self):
            raise DataError(
                f"{self.path}: {len(labels)} rows of labels were given for {len(self)} scans; give one to each scan."
            )
        labels.check(self.path)
        tables = {"subjects": labels.subjects, "expressions": labels.expressions}
        if labels.set_of_scan is not None:
            tables["sets"] = labels.sets
            self._file["set"] = labels.set_of_scan.astype("<i4")
        for name, table in tables.items():
            names = [entry.encode() for entry in table]
            # Of fixed length: then they lie in the array itself, and not as objects in a heap without checksums.
            kind = h5py.string_dtype("utf-8", length=max([1, *map(len, names)]))
            self._file.create_dataset(name, data=np.array(names, dtype=kind), dtype=kind)
        for name, index in (("subject", labels.subject), ("expression", labels.expression), ("frame", labels.frame)):
            self._file[name] = index.astype("<i4" if name != "frame" else "<i8")
        self._file["split"] = labels.split.astype("i1")
        self._file["neutral/row"] = labels.neutral_row.astype("<i8")
        if truth is not None:
            self._file["neutral/truth"] = truth.astype("<f4")
        self._write_topology(full)
        if transforms is not None:
            for name, values in transforms._asdict().items():
                self._file[f"transform/{name}"] = values.astype("<f8")
        self._write_attributes()
        self._is_finished = True

    def _write_topology(self, full: FullResolution | None) -> None:
        self._file["topology/template"] = self.topology.template.astype("<f8")
        self._file["topology/faces"] = self.topology.faces.astype("<i4")
        for name, members in self.topology.regions.items():
            self._file[f"topology/regions/{name}"] = members.astype("<i4")
        if full is not None:
            entries = sparse.coo_array(full.map)
            self._file["topology/full/template"] = full.template.astype("<f8")
            self._file["topology/full/faces"] = full.faces.astype("<i4")
            self._file["topology/full/map/row"] = entries.coords[0].astype("<i4")
            self._file["topology/full/map/column"] = entries.coords[1].astype("<i4")
            self._file["topology/full/map/weight"] = entries.data.astype("<f8")

    def _write_attributes(self) -> None:
        defaults: dict[str, Attribute] = {"unit": "mm", "axes": "y up, z towards the viewer"}
        for name, value in {**defaults, **self.attributes}.items():
            self._file.attrs[name] = value
        self._file.attrs["format"] = FORMAT
        self._file.attrs["format_version"] = FORMAT_VERSION
        self._file.attrs["vertices_hash"] = hash_vertices(
            self.read(rows) for rows in blocks(len(self), self.topology.vertex_count)
        )


def hash_vertices(parts: Iterable[np.ndarray]) -> str:
    """SHA-256 of the coordinates of all scans, given block by block."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(np.ascontiguousarray(part, dtype="<f4").data)
    return digest.hexdigest()


def _check_finite(vertices: np.ndarray, first: int) -> None:
    finite = np.isfinite(vertices).all(axis=(1, 2))
    if not finite.all():
        raise DataError(
            f"Scan {first + int(np.argmin(finite))} has a coordinate that is not finite; wanted finite "
            "millimeters. Leave the scan out, or export it again."
        )
