"""Looks through the text of an HDF5 file before HDF5 does, which a damaged length sends round in a circle for good.

Text of any length lies in collections (HDF5 file format 3.0, III.E): ``GCOL``, version 1, three zeros, the size of the
collection, then objects, each with its index, the number of its users, four zeros, its size, and its bytes, filled up
to a multiple of eight. The last one has index 0: what is free, its own header counted. libhdf5 steps from one to the
next; where the step is nothing, it never arrives (2.0.0, and all before).
"""

import mmap
import os
import struct
from collections.abc import Iterator

_START = b"GCOL\x01\x00\x00\x00"
_HEAD, _OBJECT = 16, struct.Struct("<HHIQ")
#: Of a larger file the beginning and the end are looked through: attributes and labels are written there.
_WHOLE, _ENDS = 128 * 2**20, 32 * 2**20


def endless_text(path: str | os.PathLike) -> int | None:
    """Where a collection of text begins whose objects do not add up; None if there is none.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> free = _OBJECT.pack(0, 0, 0, 4096 - _HEAD)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder, "x.h5")
    ...     _ = file.write_bytes(b"12345678" + _START + struct.pack("<Q", 4096) + free.ljust(4096 - _HEAD, b"-"))
    ...     whole = endless_text(file)
    ...     _ = file.write_bytes(b"12345678" + _START + struct.pack("<Q", 4096) + bytes(4096 - _HEAD))
    ...     (whole, endless_text(file))
    (None, 8)
    """
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            return None
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            return next((start for start in _collections(content, size) if not _adds_up(content, start, size)), None)


def _collections(content: mmap.mmap, size: int) -> Iterator[int]:
    parts = [(0, size)] if size <= _WHOLE else [(0, _ENDS), (size - _ENDS, size)]
    for begin, end in parts:
        start = content.find(_START, begin, end)
        while start >= 0:
            yield start
            start = content.find(_START, start + 1, end)


def _adds_up(content: mmap.mmap, start: int, size: int) -> bool:
    """Whether each step leads further, and none behind the end."""
    if start + _HEAD > size:
        return True  # cut short, which HDF5 notices
    end = start + int.from_bytes(content[start + 8 : start + _HEAD], "little")
    if end > size:
        return True
    place = start + _HEAD
    while place + _OBJECT.size <= end:
        index, _, _, length = _OBJECT.unpack_from(content, place)
        step = length if index == 0 else _OBJECT.size + (length + 7) // 8 * 8
        if step == 0 or place + step > end:
            return False
        place += step
    return True
