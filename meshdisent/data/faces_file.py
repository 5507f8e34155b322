"""The file that training reads, faces.h5: its names, its checks, and how scans are read from it in blocks.

The file is plain HDF5, readable with h5py alone: numbers and UTF-8 strings, no pickled objects, no links elsewhere.
``docs/file-format.md`` lists every array. A file is foreign until it has passed :func:`open_faces`.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Int

from meshdisent.data.labels import Labels
from meshdisent.errors import DataError

FORMAT = "meshdisent.faces"
FORMAT_VERSION = 1
OWN_ATTRIBUTES = ("format", "format_version", "vertices_hash")
AGAIN = "Prepare it again (meshdisent prepare)."
_BLOCK_BYTES = 4 << 20  # what a pass over all scans holds in memory at a time
_EAGER_BYTES = 256 << 20  # up to this size every coordinate is checked when the file is opened, else when it is read
_DEFLATE_LIMIT = 1100  # no compressor that HDF5 ships shrinks more; a larger claim is a file without its data


def open_faces(path: str | os.PathLike) -> h5py.File:
    """Open a file of scans for reading after checking its format, its arrays and its links.

    Raises
    ------
    DataError : If the file is absent, no HDF5, cut short, of another format or a later version, or if an array is
        missing, has another shape, is not numeric, or lies in another file.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(
            f"{path} is {'a folder' if path.is_dir() else 'absent'}; wanted a file of scans, faces.h5. "
            "Check the name, or make one (meshdisent prepare LAYOUT RAW --out faces.h5)."
        )
    if not h5py.is_hdf5(path):
        raise DataError(
            f"{path} is no HDF5 file; wanted a file of scans, as meshdisent prepare writes it. "
            f"Check the name, or prepare it (meshdisent prepare LAYOUT RAW --out {path})."
        )
    with damage_as_error(path):
        file = h5py.File(path, "r", locking="best-effort")
        try:
            _check_format(file, str(path))
            _check_arrays(file, str(path))
        except BaseException:
            file.close()
            raise
    return file


@contextmanager
def damage_as_error(where: str | os.PathLike) -> Iterator[None]:
    """Turn whatever HDF5 raises on a damaged file into a :class:`DataError` that names the file."""
    try:
        yield
    except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0].strip()
        raise DataError(
            f"{where} is damaged or cut short ({reason}); wanted a whole file of scans. "
            "Copy it again, or prepare it again (meshdisent prepare)."
        ) from error


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


def size_on_disk(file: h5py.File) -> int:
    """Bytes of an open file as the system counts them now; HDF5 remembers what it found when the file was opened."""
    return os.fstat(file.id.get_vfd_handle()).st_size


def refuse_if_cut(file: h5py.File, size: int, where: str) -> None:
    """Raise :class:`DataError` if a file has lost bytes since it was opened with ``size`` of them.

    HDF5 gives zeros for what lies behind the end of a file that was whole when it was opened; their checksum is right.
    """
    if (left := size_on_disk(file)) < size:
        raise DataError(
            f"{where} has been cut short from {size:,} to {left:,} bytes while it was read; wanted a whole file of "
            "scans. Copy it again, or prepare it again (meshdisent prepare)."
        )


def blocks(row_count: int, vertex_count: int) -> Iterator[np.ndarray]:
    """Consecutive rows in blocks of a few megabytes."""
    step = max(1, _BLOCK_BYTES // (12 * max(vertex_count, 1)))
    for start in range(0, row_count, step):
        yield np.arange(start, min(start + step, row_count))


def _check_format(file: h5py.File, where: str) -> None:
    form, version = file.attrs.get("format"), file.attrs.get("format_version")
    if form != FORMAT:
        raise DataError(
            f"{where} is HDF5 of another kind (format {form!r}); wanted format {FORMAT!r}. "
            "Give a file that meshdisent prepare has written."
        )
    if not isinstance(version, int | np.integer) or version < 1:
        raise DataError(f"{where} has format_version {version!r}; wanted a whole number from 1. {AGAIN}")
    if version > FORMAT_VERSION:
        raise DataError(
            f"{where} has format_version {version}, written by a later meshdisent; this one reads up to "
            f"{FORMAT_VERSION}. Install a newer meshdisent."
        )
    if file.attrs.get("unit", "mm") != "mm":
        raise DataError(f"{where} is in {file.attrs['unit']!r}; wanted millimeters, unit 'mm'. {AGAIN}")


def _check_arrays(file: h5py.File, where: str) -> None:
    scan_count, vertex_count = _array(file, "vertices", where, "f", (None, None, 3)).shape[:2]
    for name in ("subject", "expression", "frame", "split"):
        _array(file, name, where, "iu", (scan_count,))
    subject_count = _array(file, "subjects", where, "text", (None,)).shape[0]
    _array(file, "expressions", where, "text", (None,))
    if _has(file, "set", where) or _has(file, "sets", where):
        _array(file, "set", where, "iu", (scan_count,))
        _array(file, "sets", where, "text", (None,))
    _array(file, "neutral/row", where, "iu", (subject_count,))
    if _has(file, "neutral/truth", where):
        truth = _array(file, "neutral/truth", where, "f", (subject_count, vertex_count, 3))
        _check_truth(truth, where)
    template = _array(file, "topology/template", where, "f", (vertex_count, 3))
    _finite(template, "topology/template", where)
    _indices(_array(file, "topology/faces", where, "iu", (None, 3)), "topology/faces", where, vertex_count)
    if _has(file, "topology/regions", where):
        for name in file["topology/regions"]:
            region = _array(file, f"topology/regions/{name}", where, "iu", (None,))
            _indices(region, f"topology/regions/{name}", where, vertex_count)
    if _has(file, "transform", where):
        for name, shape in (("scale", ()), ("rotation", (3, 3)), ("translation", (3,))):
            _finite(_array(file, f"transform/{name}", where, "f", (scan_count, *shape)), f"transform/{name}", where)
    if _has(file, "topology/full", where):
        _check_full(file, where, vertex_count)
    if file["vertices"].size * 4 <= _EAGER_BYTES:
        for rows in blocks(scan_count, vertex_count):
            read_scans(file, rows, where)


def _check_full(file: h5py.File, where: str, vertex_count: int) -> None:
    group = "topology/full"
    full_count = _array(file, f"{group}/template", where, "f", (None, 3)).shape[0]
    _finite(file[f"{group}/template"], f"{group}/template", where)
    _indices(_array(file, f"{group}/faces", where, "iu", (None, 3)), f"{group}/faces", where, full_count)
    entry_count = _array(file, f"{group}/map/weight", where, "f", (None,)).shape[0]
    _finite(file[f"{group}/map/weight"], f"{group}/map/weight", where)
    for name, limit in (("row", vertex_count), ("column", full_count)):
        _indices(_array(file, f"{group}/map/{name}", where, "iu", (entry_count,)), f"{group}/map/{name}", where, limit)


def _check_truth(truth: h5py.Dataset, where: str) -> None:
    for k in range(truth.shape[0]):
        finite = np.isfinite(truth[k])
        if finite.any() and not finite.all():
            raise DataError(
                f"{where}: neutral/truth[{k}] is finite in part; wanted a whole neutral, or NaN throughout "
                f"where it is unknown. {AGAIN}"
            )


def _has(file: h5py.File, name: str, where: str) -> bool:
    _walk(file, name, where)
    return name in file


def _walk(file: h5py.File, name: str, where: str) -> None:
    """Refuse links on the way to a name: only what lies in this very file is read."""
    here = file
    for part in name.split("/"):
        link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
        if link is None:
            return
        if not isinstance(link, h5py.HardLink):
            raise DataError(
                f"{where}: {name} is a link to another place; wanted the array itself in the file, since "
                f"links can point anywhere. {AGAIN}"
            )
        here = here[part]


def _array(file: h5py.File, name: str, where: str, kind: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
    if not _has(file, name, where) or not isinstance(file[name], h5py.Dataset):
        raise DataError(f"{where} has no array {name}; a file of scans must have it. {AGAIN}")
    array = file[name]
    is_text = h5py.check_string_dtype(array.dtype) is not None
    if not (is_text if kind == "text" else array.dtype.kind in kind):
        wanted = {"f": "floating-point numbers", "iu": "whole numbers", "text": "strings"}[kind]
        raise DataError(f"{where}: {name} holds {array.dtype}; wanted {wanted}. {AGAIN}")
    if (
        array.shape is None
        or len(array.shape) != len(shape)
        or any(want is not None and want != have for have, want in zip(array.shape, shape, strict=True))
    ):
        wanted = "x".join("any" if want is None else str(want) for want in shape)
        have = "nothing" if array.shape is None else "x".join(map(str, array.shape))
        raise DataError(f"{where}: {name} is {have}; wanted {wanted}. {AGAIN}")
    if array.external or array.is_virtual:
        raise DataError(f"{where}: the data of {name} lie in another file; wanted them inside this one. {AGAIN}")
    stored = array.id.get_storage_size() * (_DEFLATE_LIMIT if array.compression else 1)
    if stored < array.nbytes:
        raise DataError(
            f"{where}: {name} claims {array.nbytes} bytes and stores {array.id.get_storage_size()}; "
            f"its data are missing. {AGAIN}"
        )
    return array


def _finite(array: h5py.Dataset, name: str, where: str) -> None:
    with np.errstate(over="ignore"):
        is_finite = np.isfinite(array[...].astype(np.float32)).all()
    if not is_finite:
        raise DataError(f"{where}: {name} has a value that is not finite; wanted finite numbers. {AGAIN}")


def _indices(array: h5py.Dataset, name: str, where: str, limit: int) -> None:
    index = array[...]
    if index.size and (index.min() < 0 or index.max() >= limit):
        wrong = index.min() if index.min() < 0 else index.max()
        raise DataError(f"{where}: {name} holds the index {wrong}; wanted 0 to {limit - 1}. {AGAIN}")
