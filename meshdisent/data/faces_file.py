"""The file that training reads, faces.h5: its names, its checks, and how scans are read from it in blocks.

The file is plain HDF5, readable with h5py alone: numbers and UTF-8 strings, no pickled objects, no links elsewhere.
``docs/file-format.md`` lists every array. A file is foreign until it has passed :func:`open_faces`.
"""

import os
import re
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Int

from meshdisent.data.checked_file import FileKind
from meshdisent.data.labels import Labels
from meshdisent.errors import DataError

FORMAT = "meshdisent.faces"
FORMAT_VERSION = 1
OWN_ATTRIBUTES = ("format", "format_version", "vertices_hash")
SCANS = FileKind(
    form=FORMAT,
    version=FORMAT_VERSION,
    noun="a file of scans",
    example="faces.h5",
    maker="meshdisent prepare",
    command="meshdisent prepare LAYOUT RAW --out {out}",
)
AGAIN = SCANS.again
damage_as_error, refuse_if_cut = SCANS.damage_as_error, SCANS.refuse_if_cut
_BLOCK_BYTES = 4 << 20  # what a pass over all scans holds in memory at a time
_EAGER_BYTES = 256 << 20  # up to this size every coordinate is checked when the file is opened, else when it is read


def open_faces(path: str | os.PathLike) -> h5py.File:
    """Open a file of scans for reading after checking its format, its arrays and its links.

    Raises
    ------
    DataError : If the file is absent, no HDF5, cut short, of another format or a later version, or if an array is
        missing, has another shape, is not numeric, or lies in another file.
    """
    return SCANS.opened(path, _check_arrays)


def read_labels(file: h5py.File, where: str) -> Labels:
    """The tables of names and indices, checked."""
    labels = Labels(
        subjects=tuple(file["subjects"].asstr()[...].tolist()),
        expressions=tuple(file["expressions"].asstr()[...].tolist()),
        subject=file["subject"][...].astype(np.int64),
        expression=file["expression"][...].astype(np.int64),
        frame=file["frame"][...].astype(np.int64),
        split=file["split"][...].astype(np.int8),
        neutral_row=file["neutral/row"][...].astype(np.int64),
        sets=tuple(file["sets"].asstr()[...].tolist()) if "sets" in file else (),
        set_of_scan=file["set"][...].astype(np.int64) if "sets" in file else None,
    )
    labels.check(where)
    return labels


def read_attributes(file: h5py.File) -> dict[str, Any]:
    """The attributes that are single strings or numbers, without those that belong to the format itself."""
    found = {}
    for name, value in file.attrs.items():
        plain = value.item() if isinstance(value, np.generic) else value
        if name not in OWN_ATTRIBUTES and isinstance(plain, str | int | float | bool):
            f"{name} {plain}".encode()  # bytes that are no UTF-8 come as surrogates, which nothing can write
            found[name] = plain
    return found


def read_vertices_hash(file: h5py.File, where: str) -> str | None:
    """The stored hash of all coordinates; None if the file has none."""
    found = file.attrs.get("vertices_hash")
    if found is not None and not re.fullmatch("[0-9a-f]{64}", str(found)):
        raise DataError(f"{where}: vertices_hash is {found!r}; wanted 64 hexadecimal digits. {AGAIN}")
    return found


def read_scans(file: h5py.File, rows: Int[np.ndarray, " scan"], where: str) -> Float32[np.ndarray, "scan vertex 3"]:
    """Read scans by row, in any order and with repetitions; neighbors in the file are read in one go.

    Raises
    ------
    DataError : If the data are damaged or a coordinate is not finite.
    """
    source = file["vertices"]
    wanted, inverse = np.unique(rows, return_inverse=True)
    found = np.empty((len(wanted), *source.shape[1:]), np.float32)
    start = 0
    with damage_as_error(where):
        for stop in [*(np.flatnonzero(np.diff(wanted) > 1) + 1), len(wanted)]:
            if stop > start:
                source.read_direct(found, np.s_[wanted[start] : wanted[stop - 1] + 1], np.s_[start:stop])
            start = stop
    if not np.isfinite(found).all():
        row = wanted[~np.isfinite(found).all(axis=(1, 2))][0]
        raise DataError(f"{where}: scan {row} has a coordinate that is not finite; wanted finite millimeters. {AGAIN}")
    return found if len(wanted) == len(rows) and (inverse == np.arange(len(rows))).all() else found[inverse]


def blocks(row_count: int, vertex_count: int) -> Iterator[np.ndarray]:
    """Consecutive rows in blocks of a few megabytes."""
    step = max(1, _BLOCK_BYTES // (12 * max(vertex_count, 1)))
    for start in range(0, row_count, step):
        yield np.arange(start, min(start + step, row_count))


def _check_arrays(file: h5py.File, where: str) -> None:
    if file.attrs.get("unit", "mm") != "mm":
        raise DataError(f"{where} is in {file.attrs['unit']!r}; wanted millimeters, unit 'mm'. {AGAIN}")
    scan_count, vertex_count = SCANS.array(file, "vertices", where, "f", (None, None, 3)).shape[:2]
    for name in ("subject", "expression", "frame", "split"):
        SCANS.array(file, name, where, "iu", (scan_count,))
    subject_count = SCANS.array(file, "subjects", where, "text", (None,)).shape[0]
    SCANS.array(file, "expressions", where, "text", (None,))
    if SCANS.has(file, "set", where) or SCANS.has(file, "sets", where):
        SCANS.array(file, "set", where, "iu", (scan_count,))
        SCANS.array(file, "sets", where, "text", (None,))
    SCANS.array(file, "neutral/row", where, "iu", (subject_count,))
    if SCANS.has(file, "neutral/truth", where):
        truth = SCANS.array(file, "neutral/truth", where, "f", (subject_count, vertex_count, 3))
        _check_truth(truth, where)
    template = SCANS.array(file, "topology/template", where, "f", (vertex_count, 3))
    SCANS.finite(template, "topology/template", where)
    SCANS.indices(SCANS.array(file, "topology/faces", where, "iu", (None, 3)), "topology/faces", where, vertex_count)
    if SCANS.has(file, "topology/regions", where):
        for name in file["topology/regions"]:
            region = SCANS.array(file, f"topology/regions/{name}", where, "iu", (None,))
            SCANS.indices(region, f"topology/regions/{name}", where, vertex_count)
    if SCANS.has(file, "transform", where):
        for name, shape in (("scale", ()), ("rotation", (3, 3)), ("translation", (3,))):
            SCANS.finite(
                SCANS.array(file, f"transform/{name}", where, "f", (scan_count, *shape)), f"transform/{name}", where
            )
    if SCANS.has(file, "topology/full", where):
        _check_full(file, where, vertex_count)
    if file["vertices"].size * 4 <= _EAGER_BYTES:
        for rows in blocks(scan_count, vertex_count):
            read_scans(file, rows, where)


def _check_full(file: h5py.File, where: str, vertex_count: int) -> None:
    group = "topology/full"
    full_count = SCANS.array(file, f"{group}/template", where, "f", (None, 3)).shape[0]
    SCANS.finite(file[f"{group}/template"], f"{group}/template", where)
    SCANS.indices(SCANS.array(file, f"{group}/faces", where, "iu", (None, 3)), f"{group}/faces", where, full_count)
    entry_count = SCANS.array(file, f"{group}/map/weight", where, "f", (None,)).shape[0]
    SCANS.finite(file[f"{group}/map/weight"], f"{group}/map/weight", where)
    for name, limit in (("row", vertex_count), ("column", full_count)):
        SCANS.indices(
            SCANS.array(file, f"{group}/map/{name}", where, "iu", (entry_count,)), f"{group}/map/{name}", where, limit
        )


def _check_truth(truth: h5py.Dataset, where: str) -> None:
    for k in range(truth.shape[0]):
        finite = np.isfinite(truth[k])
        if finite.any() and not finite.all():
            raise DataError(
                f"{where}: neutral/truth[{k}] is finite in part; wanted a whole neutral, or NaN throughout "
                f"where it is unknown. {AGAIN}"
            )
