"""The file of prepared images, images.h5: its names, its checks, and how images are read from it in blocks.

Plain HDF5, readable with h5py alone, no pickled objects:

===================== ====================== ==================================================================
``images``            (N, S, S, 3) uint8     red, green, blue, row 0 on top; stored image by image
``subject`` etc.      (N,) int32             rows of ``subjects``, ``expressions``, ``sequences``; -1: unknown
``frame``             (N,) int32             number in the sequence, -1: none; grows along the rows of a sequence
``split``             (N,) int8              0 train, 1 val, 2 test, 3 dropped
``lists/NAME``        (any,) int64           rows that belong together, such as turned heads
``pairs``             (P, 2) int64           with ``pair_is_same`` (P,) and ``pair_fold`` (P,): verification
``truth/NAME``        (N, ...)               what made the image, where that is known: see ``TRUTH``
===================== ====================== ==================================================================

Attributes: ``format``, ``format_version``, ``image_size``, ``made_by`` and whatever says how the file was made.
"""

import os
from collections.abc import Iterator
from typing import Any

import h5py
import numpy as np
from jaxtyping import Int, UInt8

from meshdisent.data.checked_file import FileKind
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs
from meshdisent.errors import DataError

FORMAT, FORMAT_VERSION = "meshdisent.images", 1
OWN_ATTRIBUTES = ("format", "format_version", "image_size")
IMAGES = FileKind(
    form=FORMAT,
    version=FORMAT_VERSION,
    noun="a file of images",
    example="images.h5",
    maker="prepare_images",
    command="python data_prep/images.py LAYOUT RAW {out}",
)
AGAIN = IMAGES.again
#: Name, kind on disk and shape behind the image axis; "S" is the image size, None is free. Depth and vertices are in
#: the unit of whoever rendered them; light and view as the networks give them (ambient, diffuse, dx, dy; rotation about
#: x, y, z and translation).
TRUTH: dict[str, tuple[str, tuple[int | str | None, ...]]] = {
    "depth": ("<f4", ("S", "S")),
    "normal": ("<f4", ("S", "S", 3)),
    "albedo": ("u1", ("S", "S", 3)),
    "mask": ("?", ("S", "S")),
    "light": ("<f4", (4,)),
    "view": ("<f4", (6,)),
    "vertices": ("<f4", (None, 3)),
}
_TABLES = (("subject", "subjects"), ("expression", "expressions"), ("sequence", "sequences"))
_BLOCK_BYTES = 8 << 20  # what a pass over all images holds in memory at a time
_GAP = 4  # unwanted images between two wanted ones that cost less to read than a second call


def open_images(path: str | os.PathLike) -> h5py.File:
    """Open a file of images for reading after checking its format, its arrays and its links.

    Raises
    ------
    DataError : If the file is absent, no HDF5, cut short, of another format or a later version, or if an array is
        missing, has another shape or kind, or lies in another file.
    """
    return IMAGES.opened(path, _check_arrays)


def read_image_labels(file: h5py.File, where: str) -> ImageLabels:
    """The tables, indices, lists and pairs, checked."""
    pairs = None
    if "pairs" in file:
        pairs = VerificationPairs(
            rows=file["pairs"][...].astype(np.int64),
            is_same=file["pair_is_same"][...].astype(bool),
            fold=file["pair_fold"][...].astype(np.int64),
        )
    tables: dict[str, Any] = {table: tuple(file[table].asstr()[...].tolist()) for _, table in _TABLES}
    labels = ImageLabels(
        **tables,
        subject=file["subject"][...].astype(np.int64),
        expression=file["expression"][...].astype(np.int64),
        sequence=file["sequence"][...].astype(np.int64),
        frame=file["frame"][...].astype(np.int64),
        split=file["split"][...].astype(np.int8),
        lists={name: file[f"lists/{name}"][...].astype(np.int64) for name in file.get("lists", {})},
        pairs=pairs,
    )
    labels.check(where)
    return labels


def write_image_labels(file: h5py.File, labels: ImageLabels) -> None:
    """The other direction; the labels were checked."""
    for index, table in _TABLES:
        names = [name.encode() for name in getattr(labels, table)]
        # Of fixed length: then they lie in the array itself, and not as objects in a heap without checksums.
        kind = h5py.string_dtype("utf-8", length=max([1, *map(len, names)]))
        file.create_dataset(table, data=np.array(names, dtype=kind), dtype=kind)
        file[index] = getattr(labels, index).astype("<i4")
    file["frame"], file["split"] = labels.frame.astype("<i4"), labels.split.astype("i1")
    for name, rows in labels.lists.items():
        file[f"lists/{name}"] = rows.astype("<i8")
    if labels.pairs is not None:
        file["pairs"] = labels.pairs.rows.astype("<i8")
        file["pair_is_same"], file["pair_fold"] = labels.pairs.is_same, labels.pairs.fold.astype("<i4")


def truth_shape(name: str, image_size: int) -> tuple[int | None, ...]:
    """Shape of a truth array behind its image axis.

    Examples
    --------
    >>> truth_shape("normal", 64), truth_shape("vertices", 64)
    ((64, 64, 3), (None, 3))
    """
    return tuple(image_size if axis == "S" else axis for axis in TRUTH[name][1])  # type: ignore[misc]


def checked_truth(name: str, values: np.ndarray, image_size: int, where: str) -> np.ndarray:
    """A truth array in the form of the file.

    Raises
    ------
    DataError : If there is no such truth, its shape or kind is another, or a number is not finite.
    """
    if name not in TRUTH:
        raise DataError(f"There is no truth {name!r}; wanted {', '.join(TRUTH)}. Correct the name.")
    kind, shape = np.dtype(TRUTH[name][0]), truth_shape(name, image_size)
    fits = values.ndim == len(shape) + 1 and all(
        want in (None, have) for want, have in zip(shape, values.shape[1:], strict=True)
    )
    if not fits or values.dtype.kind != kind.kind:
        raise DataError(
            f"{where}: truth {name!r} is {values.shape} of {values.dtype}; wanted {('any', *shape)} of {kind}. "
            "Bring it into this form."
        )
    if kind.kind == "f" and not np.isfinite(values).all():
        raise DataError(
            f"{where}: truth {name!r} has a value that is not finite; wanted finite numbers. "
            "Give the background a depth, and mark it in the mask."
        )
    return values.astype(kind)


def read_rows(file: h5py.File, name: str, rows: Int[np.ndarray, " row"], where: str) -> np.ndarray:
    """Read rows of an array in any order and with repetitions; neighbors in the file are read in one go.

    Raises
    ------
    DataError : If the data are damaged, or a number is not finite.
    """
    source = file[name]
    wanted, inverse = np.unique(rows, return_inverse=True)
    breaks = np.flatnonzero(np.diff(wanted) > _GAP) + 1
    found = np.empty((len(wanted), *source.shape[1:]), source.dtype)
    with IMAGES.damage_as_error(where):
        for start, stop in zip([0, *breaks], [*breaks, len(wanted)], strict=True):
            if start < stop:
                first, last = wanted[start], wanted[stop - 1]
                if last - first == stop - start - 1:
                    source.read_direct(found, np.s_[first : last + 1], np.s_[start:stop])
                else:
                    found[start:stop] = source[first : last + 1][wanted[start:stop] - first]
    if found.dtype.kind == "f" and not np.isfinite(found).all():
        raise DataError(f"{where}: {name} has a value that is not finite; wanted finite numbers. {AGAIN}")
    return found if len(wanted) == len(rows) and (inverse == np.arange(len(rows))).all() else found[inverse]


def image_blocks(row_count: int, image_size: int) -> Iterator[np.ndarray]:
    """Consecutive rows in blocks of a few megabytes."""
    step = max(1, _BLOCK_BYTES // (3 * max(image_size, 1) ** 2))
    for start in range(0, row_count, step):
        yield np.arange(start, min(start + step, row_count))


def chunk_length(image_bytes: int) -> int:
    """How many images lie together: one, unless they are so small that looking them up would cost more than reading."""
    return max(1, (8 << 10) // max(image_bytes, 1))


def to_unit(pixels: UInt8[np.ndarray, "image height width 3"]) -> np.ndarray:
    """(n, 3, S, S) float32 from 0 to 1, as networks take images."""
    channels_first = pixels.transpose(0, 3, 1, 2)
    return np.divide(channels_first, np.float32(255), out=np.empty(channels_first.shape, np.float32))


def _check_arrays(file: h5py.File, where: str) -> None:
    count, size, width, _ = IMAGES.array(file, "images", where, "iu", (None, None, None, 3)).shape
    if file["images"].dtype != np.uint8 or size != width or size == 0:
        raise DataError(
            f"{where}: images is {count}x{size}x{width}x3 of {file['images'].dtype}; wanted squares of uint8. {AGAIN}"
        )
    if file.attrs.get("image_size") != size:
        raise DataError(f"{where}: image_size is {file.attrs.get('image_size')!r}; the images have {size}. {AGAIN}")
    for index, table in _TABLES:
        IMAGES.array(file, index, where, "iu", (count,))
        IMAGES.array(file, table, where, "text", (None,))
    for name in ("frame", "split"):
        IMAGES.array(file, name, where, "iu", (count,))
    if IMAGES.has(file, "pairs", where):
        pair_count = IMAGES.array(file, "pairs", where, "iu", (None, 2)).shape[0]
        IMAGES.array(file, "pair_is_same", where, "b", (pair_count,))
        IMAGES.array(file, "pair_fold", where, "iu", (pair_count,))
    if IMAGES.has(file, "lists", where):
        for name in file["lists"]:
            IMAGES.array(file, f"lists/{name}", where, "iu", (None,))
    if IMAGES.has(file, "truth", where):
        for name in file["truth"]:
            if name not in TRUTH:
                raise DataError(f"{where} has truth/{name}; wanted {', '.join(TRUTH)}. {AGAIN}")
            kind = np.dtype(TRUTH[name][0]).kind
            IMAGES.array(file, f"truth/{name}", where, {"u": "iu"}.get(kind, kind), (count, *truth_shape(name, size)))
