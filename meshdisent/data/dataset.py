"""A set of registered scans: one topology, known subjects, everything in millimeters.

The scans lie in a file (faces.h5) and are read in blocks, or in memory; both behave alike.
"""

import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import h5py
import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float, Float32, Int

from meshdisent.data.checked_file import size_on_disk
from meshdisent.data.faces_file import (
    blocks,
    damage_as_error,
    open_faces,
    read_attributes,
    read_labels,
    read_scans,
    read_vertices_hash,
    refuse_if_cut,
)
from meshdisent.data.faces_writer import Attribute, DatasetWriter, FullResolution, Transforms, hash_vertices
from meshdisent.data.labels import SPLITS, UNKNOWN, Labels, split_index
from meshdisent.data.true_neutrals import truth_array
from meshdisent.errors import DataError, MeshError
from meshdisent.mesh.topology import Topology

if TYPE_CHECKING:
    from torch_geometric.data import Data

__all__ = ["SPLITS", "UNKNOWN", "DatasetWriter", "FullResolution", "Labels", "ScanDataset", "Transforms"]


class ScanDataset:
    """N scans of S subjects on one topology with V vertices; made by :meth:`open` or :meth:`from_arrays`.

    Attributes
    ----------
    topology : Template, faces and regions of all scans.
    labels : The tables below, as one object.
    subjects, expressions : Names; ``subject`` and ``expression`` point into them.
    subject, expression, frame : (N,) int64; -1 where expression or frame is unknown.
    split : (N,) int8 index into ``SPLITS``: train, val, test, dropped.
    neutral_row : (S,) int64 The scan that shows the subject at rest, -1 where there is none.
    sets : Names of the datasets that were combined (``meshdisent combine``); empty where the scans are of one.
    set_of_scan : (N,) int64 The set of each scan, a row of ``sets``; all 0 where the scans are of one.
    transforms : What alignment did to each scan, None if nothing was done.
    attributes : Strings and numbers that say how the scans were made (unit, axes, ...).

    Examples
    --------
    >>> scans = ScanDataset.from_arrays(
    ...     np.ones((3, 3, 3)), np.array([[0, 1, 2]]), ["anna", "anna", "ben"], ["neutral", "smile", "smile"]
    ... )
    >>> len(scans), scans.subjects, scans.scan("anna/smile"), scans.neutral_row.tolist()
    (3, ('anna', 'ben'), 1, [0, -1])
    """

    def __init__(
        self,
        topology: Topology,
        labels: Labels,
        vertices: Float32[np.ndarray, "scan vertex 3"] | None,
        *,
        path: str | None = None,
        truth: Float32[np.ndarray, "subject vertex 3"] | None = None,
        transforms: Transforms | None = None,
        attributes: Mapping[str, Attribute] | None = None,
        vertices_hash: str | None = None,
    ):
        self.topology, self.labels, self.transforms = topology, labels, transforms
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.path = path
        self.subjects, self.expressions = labels.subjects, labels.expressions
        self.subject, self.expression, self.frame = labels.subject, labels.expression, labels.frame
        self.split, self.neutral_row = labels.split, labels.neutral_row
        one_set = np.zeros(len(labels), np.int64)
        self.sets, self.set_of_scan = labels.sets, one_set if labels.set_of_scan is None else labels.set_of_scan
        self._memory, self._vertices_hash = vertices, vertices_hash
        self._file: h5py.File | None = None
        self._pid = os.getpid()
        if path is None:
            self.truth = truth

    @classmethod
    def open(cls, path: str | os.PathLike) -> "ScanDataset":
        """Open a faces.h5 after checking it; scans are read when they are asked for.

        Raises
        ------
        DataError : If the file is absent, damaged, of another format, or inconsistent.
        """
        with damage_as_error(path), open_faces(path) as file:
            labels = read_labels(file, str(path))
            regions = {name: file[f"topology/regions/{name}"][...] for name in file.get("topology/regions", {})}
            try:
                faces = file["topology/faces"][...].astype(np.int64)
                topology = Topology(file["topology/template"][...], faces, regions)
            except MeshError as error:
                raise DataError(f"{path}: {error}") from error
            transforms = None
            if "transform" in file:
                transforms = Transforms(*(file[f"transform/{name}"][...] for name in Transforms._fields))
            return cls(
                topology,
                labels,
                None,
                path=str(Path(path).absolute()),
                transforms=transforms,
                attributes=read_attributes(file),
                vertices_hash=read_vertices_hash(file, str(path)),
            )

    @classmethod
    def from_arrays(
        cls,
        vertices: Float[np.ndarray, "scan vertex 3"],
        faces: Int[np.ndarray, "face 3"],
        subject_names: Sequence[str],
        expression_names: Sequence[str | None] | None = None,
        *,
        template: Float[np.ndarray, "reference 3"] | None = None,
        regions: Mapping[str, Int[np.ndarray, " member"]] | None = None,
        frame: Sequence[int] | None = None,
        split: Sequence[str] | None = None,
        neutral: str = "neutral",
        truth: Mapping[str, Float[np.ndarray, "..."]] | None = None,
        set_names: Sequence[str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> "ScanDataset":
        """Make a dataset in memory.

        Parameters
        ----------
        vertices : (N, V, 3) Scans in mm.
        faces : (F, 3) Triangles that all scans share, counter-clockwise seen from outside.
        subject_names : (N,) Who is seen in each scan.
        expression_names : (N,) What each scan shows; None where it is unknown.
        template : (V, 3) Reference shape; the first scan if not given.
        regions : Named sets of vertices.
        frame : (N,) Frame numbers, -1 where there is none.
        split : (N,) Names out of ``SPLITS``; all "train" if not given.
        neutral : Name of the expression at rest.
        truth : True neutral of each subject whose neutral is known, by name.
        set_names : (N,) Which of several combined datasets each scan comes from.
        attributes : Strings and numbers to keep.

        Raises
        ------
        DataError : If counts differ, a coordinate is not finite, or a name cannot be used.
        """
        if len(vertices) == 0:
            raise DataError("A dataset without scans was asked for; give at least one scan.")
        if not np.isfinite(vertices).all():
            row = int(np.argmin(np.isfinite(vertices).all(axis=(1, 2))))
            raise DataError(f"Scan {row} has a coordinate that is not finite; wanted finite millimeters. Leave it out.")
        if len(subject_names) != len(vertices):
            raise DataError(f"{len(subject_names)} subject names for {len(vertices)} scans; give one to each scan.")
        reference = np.asarray(vertices[0] if template is None else template, np.float64)
        if len(reference) != vertices.shape[1]:
            raise DataError(
                f"The template has {len(reference)} vertices and the scans {vertices.shape[1]}; wanted the same. "
                "Give the template that the scans are registered to."
            )
        labels = Labels.from_names(
            subject_names, expression_names, frame=frame, split=split, neutral=neutral, set_names=set_names
        )
        return cls(
            Topology(reference, faces, dict(regions or {})),
            labels,
            np.ascontiguousarray(vertices, dtype=np.float32),
            truth=truth_array(truth, labels.subjects, vertices.shape[1]) if truth else None,
            attributes=attributes,
        )

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return (
            f"ScanDataset({len(self)} scans of {len(self.subjects)} subjects, {self.topology.vertex_count} vertices"
            f"{where})"
        )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None}  # an open file cannot travel to another process

    def vertices(self, rows: Int[np.ndarray, " row"] | None = None) -> Float32[np.ndarray, "row vertex 3"]:
        """Scans in mm: all of them, or those in ``rows`` (any order, repetitions allowed).

        Raises
        ------
        DataError : If a row does not exist, or the file is damaged.
        """
        if rows is None:
            rows = np.arange(len(self))
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise DataError(f"Scan {wrong} was asked for; the dataset has the rows 0 to {len(self) - 1}.")
        if self._memory is not None:
            return self._memory[rows]
        found = read_scans(self._open(), rows, self.path or "")
        refuse_if_cut(self._open(), self._size, self.path or "")
        return found

    def in_blocks(self, rows: Int[np.ndarray, " row"]) -> Iterator[Float32[np.ndarray, "_ vertex 3"]]:
        """The scans in ``rows``, in mm and in their order, a few megabytes at a time."""
        for block in blocks(len(rows), self.topology.vertex_count):
            yield self.vertices(rows[block])

    def load(self) -> "ScanDataset":
        """Read all scans into memory once, so that training does not go to the disk; returns the dataset itself."""
        if self._memory is None:
            self._memory = self.vertices()
        return self

    def rows(self, split: str) -> Int[np.ndarray, " row"]:
        """Rows of a split, ascending."""
        return np.flatnonzero(self.split == split_index(split))

    @cached_property
    def truth(self) -> Float32[np.ndarray, "subject vertex 3"] | None:
        """(S, V, 3) True neutrals in mm where they are known; NaN rows for subjects without one; None if none is."""
        file = self._open()
        with damage_as_error(self.path or ""):
            return file["neutral/truth"][...].astype(np.float32) if "neutral/truth" in file else None

    def neutrals(self) -> tuple[Float32[np.ndarray, "subject vertex 3"], Bool[np.ndarray, " subject"]]:
        """Face of each subject at rest, and whether it is known: the true one, else its scan of the neutral expression.

        Rows of unknown neutrals are NaN.
        """
        found = np.full((len(self.subjects), self.topology.vertex_count, 3), np.nan, np.float32)
        seen = self.neutral_row >= 0
        found[seen] = self.vertices(self.neutral_row[seen])
        if self.truth is not None:
            is_true = ~np.isnan(self.truth[:, 0, 0])
            found[is_true] = self.truth[is_true]
            seen = seen | is_true
        return found, seen

    def scan(self, name: str) -> int:
        """Row of the scan called ``SUBJECT/EXPRESSION`` or ``SUBJECT/EXPRESSION/FRAME``.

        Raises
        ------
        DataError : If there is no such scan, or the frame is missing from the name and there are several.
        """
        rows = self._rows_by_name.get(name, [])
        if not rows and name.count("/") == 2 and name.rpartition("/")[2].isdecimal():
            subject_expression, _, frame = name.rpartition("/")
            rows = self._rows_by_name.get(f"{subject_expression}/{int(frame)}", [])  # 000001 is frame 1
        if len(rows) == 1:
            return rows[0]
        where = self.path or "the dataset"
        if rows:
            raise DataError(
                f"{name!r} names {len(rows)} scans of {where}; wanted one, SUBJECT/EXPRESSION/FRAME, "
                f"such as {self.labels.name(rows[0])!r}."
            )
        raise DataError(
            f"{where} has no scan {name!r}; wanted SUBJECT/EXPRESSION or SUBJECT/EXPRESSION/FRAME. "
            f"{self._nearest(name)}"
        )

    def names(self, rows: Int[np.ndarray, " row"] | None = None) -> list[str]:
        """``SUBJECT/EXPRESSION[/FRAME]`` of each scan; an unknown expression is written ``?``."""
        return [self.labels.name(int(row)) for row in (range(len(self)) if rows is None else rows)]

    @cached_property
    def data_hash(self) -> str:
        """16 hexadecimal digits of the content, however it is stored: coordinates, labels, split, neutrals, topology.

        The hash of the coordinates is kept in the file; :meth:`verify` computes it again.
        """
        digest = hashlib.sha256(self.topology.template_hash.encode())
        digest.update((self._vertices_hash or self._hash_vertices()).encode())
        digest.update(repr((self.subjects, self.expressions)).encode())
        for index in (self.subject, self.expression, self.frame, self.split, self.neutral_row):
            digest.update(index.astype("<i8").tobytes())
        if self.sets:
            digest.update(repr(self.sets).encode() + self.set_of_scan.astype("<i8").tobytes())
        digest.update(b"" if self.truth is None else self.truth.astype("<f4").tobytes())
        return digest.hexdigest()[:16]

    def verify(self) -> None:
        """Read every coordinate and compare with the hash in the file; raises :class:`DataError` if they differ."""
        if self._vertices_hash is not None and self._hash_vertices() != self._vertices_hash:
            raise DataError(
                f"{self.path}: the coordinates are not those that were written (their hash differs). "
                "Prepare it again (meshdisent prepare)."
            )

    def original_vertices(self, rows: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row vertex 3"]:
        """Scans as they lay before alignment, in mm: the stored transforms undone."""
        vertices = self.vertices(rows).astype(np.float64)
        if self.transforms is None:
            return vertices
        scale, rotation, translation = (values[rows] for values in self.transforms)
        # aligned = scale * original @ rotation + translation, and the inverse of a rotation is its transpose
        return (vertices - translation[:, None]) @ rotation.transpose(0, 2, 1) / scale[:, None, None]

    def full_resolution(self) -> FullResolution | None:
        """The template before decimation and the map from it to this topology; None if nothing was decimated."""
        if self.path is None or "topology/full" not in self._open():
            return None
        with damage_as_error(self.path):
            group = self._open()["topology/full"]
            entries = (group["map/weight"][...], (group["map/row"][...], group["map/column"][...]))
            shape = (self.topology.vertex_count, len(group["template"]))
            return FullResolution(
                group["template"][...], group["faces"][...].astype(np.int64), sparse.csr_array(entries, shape=shape)
            )

    def summary(self) -> dict[str, Any]:
        """Counts: scans, subjects, expressions, frames, vertices, faces, and the scans and subjects of each split."""
        return {
            "scans": len(self),
            "subjects": len(self.subjects),
            "expressions": len(self.expressions),
            "frames": int((self.frame >= 0).sum()),
            "vertices": self.topology.vertex_count,
            "faces": self.topology.face_count,
            "splits": {
                name: {"scans": len(self.rows(name)), "subjects": len(np.unique(self.subject[self.rows(name)]))}
                for name in SPLITS
            },
        }

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write everything as a faces.h5; the file appears whole or not at all."""
        with DatasetWriter(path, self.topology, self.attributes, overwrite) as writer:
            for rows in blocks(len(self), self.topology.vertex_count):
                writer.append(self.vertices(rows))
            writer.finish(self.labels, self.truth, self.transforms, self.full_resolution())

    def to_pyg(self, rows: Int[np.ndarray, " row"] | None = None) -> "list[Data]":
        """Scans as PyTorch Geometric ``Data`` (pos in mm, face, edge_index, subject, expression, row)."""
        import torch
        from torch_geometric.data import Data

        rows = np.arange(len(self)) if rows is None else rows
        face = torch.from_numpy(self.topology.faces.T.copy())
        edges = self.topology.edges
        edge_index = torch.from_numpy(np.concatenate([edges, edges[:, ::-1]]).T.copy())
        scans = torch.from_numpy(self.vertices(rows))
        return [
            Data(
                pos=scan,
                face=face,
                edge_index=edge_index,
                subject=int(self.subject[row]),
                row=int(row),
                expression=int(self.expression[row]),
            )
            for scan, row in zip(scans, rows, strict=True)
        ]

    def _open(self) -> h5py.File:
        if self._file is None or self._pid != os.getpid():  # a forked process must not share the file's position
            self._file, self._pid = h5py.File(self.path, "r", locking="best-effort"), os.getpid()
            self._size = size_on_disk(self._file)
        return self._file

    def _hash_vertices(self) -> str:
        return hash_vertices(self.vertices(rows) for rows in blocks(len(self), self.topology.vertex_count))

    @cached_property
    def _rows_by_name(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for row, name in enumerate(self.names()):
            found.setdefault(name, []).append(row)
            if self.frame[row] >= 0:
                found.setdefault(name.rpartition("/")[0], []).append(row)
        return found

    def _nearest(self, name: str) -> str:
        import difflib

        near = difflib.get_close_matches(name, self._rows_by_name, n=1, cutoff=0.0)
        return f"Did you mean {near[0]!r}?" if near else ""
