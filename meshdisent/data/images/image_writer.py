"""Writes images.h5 block by block; the file appears whole at the end or not at all."""

import hashlib
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType

import h5py
import numpy as np
from jaxtyping import UInt8

from meshdisent.data.checked_file import disk_full
from meshdisent.data.images.image_file import (
    FORMAT,
    FORMAT_VERSION,
    OWN_ATTRIBUTES,
    TRUTH,
    checked_truth,
    chunk_length,
    write_image_labels,
)
from meshdisent.data.images.image_labels import ImageLabels
from meshdisent.errors import DataError, UsageError
from meshdisent.files import writing

Attribute = str | int | float | bool


class ImageWriter:
    """Append images in blocks, then finish with labels; nothing is held but the block at hand.

    Leaving the block with an error, or without :meth:`finish`, leaves no file behind.

    Parameters
    ----------
    path : The file to appear.
    image_size : Side S of the images, in pixels.
    truth : Names out of ``TRUTH`` that come with every block.
    attributes : Strings and numbers that say how the images were made.
    overwrite : Replace an existing file.

    Raises
    ------
    UsageError : If ``path`` exists and ``overwrite`` is false.
    DataError : If the size, a truth or an attribute is impossible.

    Examples
    --------
    >>> with ImageWriter(folder / "images.h5", 8) as writer:
    ...     writer.append(np.zeros((2, 8, 8, 3), np.uint8))
    ...     writer.finish(ImageLabels.from_names(["anna", "ben"]))
    >>> h5py.File(folder / "images.h5")["images"].shape
    (2, 8, 8, 3)
    """

    def __init__(
        self,
        path: str | os.PathLike,
        image_size: int,
        *,
        truth: tuple[str, ...] = (),
        attributes: Mapping[str, Attribute] | None = None,
        overwrite: bool = False,
    ):
        self.path, self.image_size, self.truth = str(path), image_size, truth
        self.attributes = dict(attributes or {})
        if image_size < 1:
            raise UsageError(f"Images of {image_size} pixels were asked for; wanted at least 1, such as 64.")
        for name in truth:
            if name not in TRUTH:
                raise DataError(f"There is no truth {name!r}; wanted {', '.join(TRUTH)}. Correct the name.")
        for name, value in self.attributes.items():
            if name in OWN_ATTRIBUTES or not isinstance(value, str | int | float | bool):
                raise DataError(
                    f"The attribute {name!r} is {value!r}; wanted a string or a number under another name than "
                    f"{', '.join(OWN_ATTRIBUTES)}. Rename it, or store it as JSON text."
                )
        self._overwrite, self._is_finished = overwrite, False

    def __enter__(self) -> "ImageWriter":
        self._aside: AbstractContextManager = writing(self.path, self._overwrite)
        aside = self._aside.__enter__()
        self._digests = {name: hashlib.sha256() for name in ("images", *(f"truth/{name}" for name in self.truth))}
        try:
            self._file = h5py.File(aside, "w")
            self._grow("images", np.empty((0, self.image_size, self.image_size, 3), np.uint8))
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
        return len(self._file["images"])

    def append(
        self, pixels: UInt8[np.ndarray, "image height width 3"], truth: Mapping[str, np.ndarray] | None = None
    ) -> None:
        """Add images at the end, and every truth that was announced.

        Raises
        ------
        DataError : If sizes differ, a truth is missing or was not announced, or a number is not finite.
        """
        size, given = self.image_size, dict(truth or {})
        if pixels.shape[1:] != (size, size, 3):
            raise DataError(f"{self.path}: images of {pixels.shape[1:]} were given; wanted ({size}, {size}, 3).")
        if set(given) != set(self.truth):
            raise DataError(
                f"{self.path}: the block has the truths {sorted(given)}; wanted {sorted(self.truth)}, as announced. "
                "Give all of them with every block."
            )
        arrays = {"images": pixels}
        for name, values in given.items():
            arrays[f"truth/{name}"] = checked_truth(name, np.asarray(values), size, self.path)
            if len(values) != len(pixels):
                raise DataError(f"{self.path}: {len(values)} rows of truth {name!r} for {len(pixels)} images.")
        for name, values in arrays.items():
            if name in self._file and self._file[name].shape[1:] != values.shape[1:]:
                raise DataError(
                    f"{self.path}: {name} is {values.shape[1:]} an image, and {self._file[name].shape[1:]} before; "
                    "wanted one shape. Write two files."
                )
        for name, values in arrays.items():
            self._grow(name, values)

    def finish(self, labels: ImageLabels) -> None:
        """Write the labels, one row an image that was appended."""
        if len(labels) != len(self):
            raise DataError(
                f"{self.path}: {len(labels)} rows of labels were given for {len(self)} images; give one to each image."
            )
        labels.check(self.path)
        write_image_labels(self._file, labels)
        for name, digest in self._digests.items():
            if name in self._file:
                self._file[name].attrs["sha256"] = digest.hexdigest()
        for name, value in {**_made_by(), **self.attributes}.items():
            self._file.attrs[name] = value
        self._file.attrs["image_size"] = self.image_size
        self._file.attrs["format"], self._file.attrs["format_version"] = FORMAT, FORMAT_VERSION
        self._is_finished = True

    def _grow(self, name: str, values: np.ndarray) -> None:
        if name not in self._file:
            shape = values.shape[1:]
            chunk = (chunk_length(int(np.prod(shape)) * values.itemsize), *(max(1, axis) for axis in shape))
            self._file.create_dataset(
                name, (0, *shape), values.dtype, maxshape=(None, *shape), chunks=chunk, fletcher32=True
            )
        array = self._file[name]
        start = len(array)
        array.resize(start + len(values), axis=0)
        array[start:] = values
        self._digests[name].update(np.ascontiguousarray(values).data)


def _made_by() -> dict[str, Attribute]:
    from meshdisent import __version__

    return {"made_by": f"meshdisent {__version__}"}
