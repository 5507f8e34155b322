"""What every HDF5 file of ours is checked for before anything is read: format, arrays, links, missing data.

A file is foreign until it has passed :meth:`FileKind.opened`. The two kinds are files of scans (``faces_file.py``) and
of images (``images/image_file.py``).
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np

from meshdisent.data.global_heap import endless_text
from meshdisent.errors import DataError

_DEFLATE_LIMIT = 1100  # no compressor that HDF5 ships shrinks more; a larger claim is a file without its data


@dataclass(frozen=True, kw_only=True)
class FileKind:
    """A format, and the words that its errors are made of.

    Attributes
    ----------
    form, version : The attributes ``format`` and, at most, ``format_version``.
    noun : "a file of scans".
    example : What such a file is usually called.
    maker : What writes it.
    command : How it is made, with ``{out}`` for its name.
    """

    form: str
    version: int
    noun: str
    example: str
    maker: str
    command: str

    @property
    def again(self) -> str:
        """The advice at the end of most errors."""
        return f"Prepare it again ({self.maker})."

    def opened(self, path: str | os.PathLike, check: Callable[[h5py.File, str], None]) -> h5py.File:
        """Open a file for reading after checking its format, and by ``check`` its arrays.

        Raises
        ------
        DataError : If the file is absent, no HDF5, cut short, of another format or a later version, or fails the check.
        """
        path = Path(path)
        if not path.is_file():
            raise DataError(
                f"{path} is {'a folder' if path.is_dir() else 'absent'}; wanted {self.noun}, {self.example}. "
                f"Check the name, or make one ({self.command.format(out=self.example)})."
            )
        if not h5py.is_hdf5(path):
            raise DataError(
                f"{path} is no HDF5 file; wanted {self.noun}, as {self.maker} writes it. "
                f"Check the name, or prepare it ({self.command.format(out=path)})."
            )
        with self.damage_as_error(path):
            if (place := endless_text(path)) is not None:
                raise ValueError(f"the text at byte {place} has lengths that do not add up")
            file = h5py.File(path, "r", locking="best-effort")
            try:
                self._check_format(file, str(path))
                check(file, str(path))
            except BaseException:
                file.close()
                raise
        return file

    @contextmanager
    def damage_as_error(self, where: str | os.PathLike) -> Iterator[None]:
        """Turn whatever HDF5 raises on a damaged file into a :class:`DataError` that names the file."""
        try:
            yield
        except (OSError, RuntimeError, LookupError, ValueError, TypeError, ArithmeticError, MemoryError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0].strip()
            raise DataError(
                f"{where} is damaged or cut short ({reason}); wanted a whole {self.noun.removeprefix('a ')}. "
                f"Copy it again, or prepare it again ({self.maker})."
            ) from error

    def refuse_if_cut(self, file: h5py.File, size: int, where: str) -> None:
        """Raise :class:`DataError` if a file has lost bytes since it was opened with ``size`` of them.

        HDF5 gives zeros for what lies behind the end of a file that was whole when it was opened; their checksum is
        right.
        """
        if (left := size_on_disk(file)) < size:
            raise DataError(
                f"{where} has been cut short from {size:,} to {left:,} bytes while it was read; wanted a whole "
                f"{self.noun.removeprefix('a ')}. Copy it again, or prepare it again ({self.maker})."
            )

    def has(self, file: h5py.File, name: str, where: str) -> bool:
        """Whether the file itself has something of that name; a link to another place is refused."""
        here = file
        for part in name.split("/"):
            link = here.get(part, getlink=True) if isinstance(here, h5py.Group) else None
            if link is None:
                break
            if not isinstance(link, h5py.HardLink):
                raise DataError(
                    f"{where}: {name} is a link to another place; wanted the array itself in the file, since "
                    f"links can point anywhere. {self.again}"
                )
            here = here[part]
        return name in file

    def array(self, file: h5py.File, name: str, where: str, kind: str, shape: tuple[int | None, ...]) -> h5py.Dataset:
        """An array that the file must have, of a kind (letters of numpy's kinds, or "text") and a shape."""
        if not self.has(file, name, where) or not isinstance(file[name], h5py.Dataset):
            raise DataError(f"{where} has no array {name}; {self.noun} must have it. {self.again}")
        array = file[name]
        is_text = h5py.check_string_dtype(array.dtype) is not None
        if not (is_text if kind == "text" else array.dtype.kind in kind):
            wanted = {"f": "floating-point numbers", "iu": "whole numbers", "text": "strings", "b": "true or false"}
            raise DataError(f"{where}: {name} holds {array.dtype}; wanted {wanted[kind]}. {self.again}")
        if (
            array.shape is None
            or len(array.shape) != len(shape)
            or any(want is not None and want != have for have, want in zip(array.shape, shape, strict=True))
        ):
            wanted_shape = "x".join("any" if want is None else str(want) for want in shape)
            have = "nothing" if array.shape is None else "x".join(map(str, array.shape))
            raise DataError(f"{where}: {name} is {have}; wanted {wanted_shape}. {self.again}")
        if array.external or array.is_virtual:
            raise DataError(
                f"{where}: the data of {name} lie in another file; wanted them inside this one. {self.again}"
            )
        stored = array.id.get_storage_size() * (_DEFLATE_LIMIT if array.compression else 1)
        if stored < array.nbytes:
            raise DataError(
                f"{where}: {name} claims {array.nbytes} bytes and stores {array.id.get_storage_size()}; "
                f"its data are missing. {self.again}"
            )
        return array

    def finite(self, array: h5py.Dataset, name: str, where: str) -> None:
        """Refuse an array with a value that is not finite."""
        with np.errstate(over="ignore"):
            is_finite = np.isfinite(array[...].astype(np.float32)).all()
        if not is_finite:
            raise DataError(f"{where}: {name} has a value that is not finite; wanted finite numbers. {self.again}")

    def indices(self, array: h5py.Dataset, name: str, where: str, limit: int) -> None:
        """Refuse an array with an index outside 0 to ``limit - 1``."""
        index = array[...]
        if index.size and (index.min() < 0 or index.max() >= limit):
            wrong = index.min() if index.min() < 0 else index.max()
            raise DataError(f"{where}: {name} holds the index {wrong}; wanted 0 to {limit - 1}. {self.again}")

    def _check_format(self, file: h5py.File, where: str) -> None:
        form, version = file.attrs.get("format"), file.attrs.get("format_version")
        if form != self.form:
            raise DataError(
                f"{where} is HDF5 of another kind (format {form!r}); wanted format {self.form!r}. "
                f"Give a file that {self.maker} has written."
            )
        if not isinstance(version, int | np.integer) or version < 1:
            raise DataError(f"{where} has format_version {version!r}; wanted a whole number from 1. {self.again}")
        if version > self.version:
            raise DataError(
                f"{where} has format_version {version}, written by a later meshdisent; this one reads up to "
                f"{self.version}. Install a newer meshdisent."
            )


def size_on_disk(file: h5py.File) -> int:
    """Bytes of an open file as the system counts them now; HDF5 remembers what it found when the file was opened."""
    return os.fstat(file.id.get_vfd_handle()).st_size


def disk_full(error: BaseException | None) -> BaseException | None:
    """Give the number of the system's error back to what HDF5 reports as a text."""
    if error is not None and "No space left on device" in str(error) and getattr(error, "errno", None) != errno.ENOSPC:
        return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)).with_traceback(error.__traceback__)
    return error
