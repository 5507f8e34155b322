"""A set of prepared face images of one size, with what is known of each: in images.h5, or in memory."""

import hashlib
import os
import threading
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from jaxtyping import Float32, Int, UInt8

from meshdisent.data.checked_file import size_on_disk
from meshdisent.data.faces_file import read_attributes
from meshdisent.data.images.image_file import (
    IMAGES,
    OWN_ATTRIBUTES,
    checked_truth,
    image_blocks,
    open_images,
    read_image_labels,
    read_rows,
    to_unit,
)
from meshdisent.data.images.image_labels import ImageLabels, VerificationPairs
from meshdisent.data.images.image_writer import Attribute, ImageWriter
from meshdisent.data.labels import SPLITS, split_index
from meshdisent.errors import DataError


class ImageDataset:
    """N images of S x S pixels; made by :meth:`open` or :meth:`from_arrays`. Threads may read one object together.

    Attributes
    ----------
    labels : The tables below, as one object.
    image_size : Pixels a side.
    subjects, expressions, sequences : Names; ``subject``, ``expression`` and ``sequence`` point into them.
    subject, expression, sequence, frame : (N,) int64; -1 where unknown.
    split : (N,) int8 index into ``SPLITS``.
    pairs : Verification pairs, None if the data set has none.
    truth_names : The truths that the images come with, such as ``depth``.
    attributes : Strings and numbers that say how the images were made.

    Examples
    --------
    >>> labels = ImageLabels.from_names(["anna", "ben", "ben"], splits=["train", "test", "test"])
    >>> images = ImageDataset.from_arrays(np.full((3, 4, 4, 3), 255, np.uint8), labels)
    >>> images.rows("test").tolist(), images.images(images.rows("test")).shape, float(images.images().min())
    ([1, 2], (2, 3, 4, 4), 1.0)
    """

    def __init__(
        self,
        labels: ImageLabels,
        image_size: int,
        *,
        path: str | None = None,
        memory: Mapping[str, np.ndarray] | None = None,
        truth_names: tuple[str, ...] = (),
        hashes: Mapping[str, str] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ):
        self.labels, self.image_size, self.path, self.truth_names = labels, image_size, path, truth_names
        self.subjects, self.expressions, self.sequences = labels.subjects, labels.expressions, labels.sequences
        self.subject, self.expression, self.sequence = labels.subject, labels.expression, labels.sequence
        self.frame, self.split = labels.frame, labels.split
        self.pairs: VerificationPairs | None = labels.pairs
        self.attributes: dict[str, Any] = dict(attributes or {})
        self._memory, self._hashes = dict(memory or {}), dict(hashes or {})
        self._file: h5py.File | None = None
        self._pid, self._lock = os.getpid(), threading.Lock()

    @classmethod
    def open(cls, path: str | os.PathLike) -> "ImageDataset":
        """Open an images.h5 after checking it; images are read when they are asked for.

        Raises
        ------
        DataError : If the file is absent, damaged, of another format, or inconsistent.
        """
        with IMAGES.damage_as_error(path), open_images(path) as file:
            truth_names = tuple(file.get("truth", {}))
            stored = {name: file[name].attrs.get("sha256") for name in ("images", *(f"truth/{n}" for n in truth_names))}
            attributes = {k: value for k, value in read_attributes(file).items() if k not in OWN_ATTRIBUTES}
            return cls(
                read_image_labels(file, str(path)),
                int(file["images"].shape[1]),
                path=str(Path(path).absolute()),
                truth_names=truth_names,
                hashes={name: str(value) for name, value in stored.items() if value is not None},
                attributes=attributes,
            )

    @classmethod
    def from_arrays(
        cls,
        pixels: UInt8[np.ndarray, "image height width 3"],
        labels: ImageLabels,
        *,
        truth: Mapping[str, np.ndarray] | None = None,
        attributes: Mapping[str, Attribute] | None = None,
    ) -> "ImageDataset":
        """Make a dataset in memory; truth arrays are named and shaped as in the file.

        Raises
        ------
        DataError : If the counts differ, the images are no squares, or a truth has another shape or kind.
        """
        size = pixels.shape[1]
        arrays = {name: checked_truth(name, values, size, "The images") for name, values in (truth or {}).items()}
        memory = {"images": pixels, **{f"truth/{name}": values for name, values in arrays.items()}}
        if pixels.shape[2] != size or any(len(values) != len(labels) for values in memory.values()):
            raise DataError(
                f"Images of {pixels.shape}, {[len(values) for values in memory.values()]} rows and {len(labels)} rows "
                "of labels were given; wanted squares, and one row each. Give arrays of one length."
            )
        return cls(labels, size, memory=memory, truth_names=tuple(truth or {}), attributes=attributes)

    def __len__(self) -> int:
        return len(self.labels)

    def __repr__(self) -> str:
        where = f" in {self.path}" if self.path else ""
        return f"ImageDataset({len(self)} images of {self.image_size} pixels, {len(self.subjects)} subjects{where})"

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_file": None, "_lock": None}  # neither travels to another process

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _lock=threading.Lock())

    def rows(self, split: str) -> Int[np.ndarray, " row"]:
        """Rows of a split, ascending."""
        return np.flatnonzero(self.split == split_index(split))

    def list_rows(self, name: str) -> Int[np.ndarray, " row"]:
        """Rows of a named list.

        Raises
        ------
        DataError : If there is no such list.
        """
        if name not in self.labels.lists:
            raise DataError(
                f"{self.path or 'The dataset'} has no list {name!r}; its lists are "
                f"{', '.join(self.labels.lists) or 'none at all'}. Prepare the images with it."
            )
        return self.labels.lists[name]

    def sequences_of(self, rows: Int[np.ndarray, " row"]) -> list[Int[np.ndarray, " frame"]]:
        """The given rows by sequence: an array of rows each, frames in order; images without a sequence are left out.

        Examples
        --------
        >>> labels = ImageLabels.from_names(["anna"] * 4, sequences=["b", "a", "b", None])
        >>> images = ImageDataset.from_arrays(np.zeros((4, 1, 1, 3), np.uint8), labels)
        >>> [rows.tolist() for rows in images.sequences_of(np.array([2, 1, 0, 3]))]
        [[0, 2], [1]]
        """
        rows = np.sort(rows)  # along the rows of a sequence frames grow
        rows = rows[self.sequence[rows] >= 0]
        ordered = rows[np.argsort(self.sequence[rows], kind="stable")]
        if len(ordered) == 0:
            return []
        return np.split(ordered, np.flatnonzero(np.diff(self.sequence[ordered])) + 1)

    def pixels(self, rows: Int[np.ndarray, " row"] | None = None) -> UInt8[np.ndarray, "row height width 3"]:
        """Images as they are stored, all or those in ``rows`` (any order, repetitions allowed).

        Raises
        ------
        DataError : If a row does not exist, or the file is damaged.
        """
        return self._read("images", rows)

    def images(self, rows: Int[np.ndarray, " row"] | None = None) -> Float32[np.ndarray, "row 3 height width"]:
        """The same as networks take them: (n, 3, S, S), red, green, blue from 0 to 1."""
        return to_unit(self.pixels(rows))

    def truth(self, name: str, rows: Int[np.ndarray, " row"] | None = None) -> np.ndarray:
        """What made the images, such as ``depth`` (n, S, S).

        Raises
        ------
        DataError : If the images come without it.
        """
        if name not in self.truth_names:
            raise DataError(
                f"{self.path or 'The dataset'} has no truth {name!r}; it has {', '.join(self.truth_names) or 'none'}. "
                "Render images with it."
            )
        return self._read(f"truth/{name}", rows)

    def in_blocks(self, rows: Int[np.ndarray, " row"]) -> Iterator[Float32[np.ndarray, "_ 3 height width"]]:
        """The images in ``rows``, in their order, a few megabytes at a time."""
        for block in image_blocks(len(rows), self.image_size):
            yield self.images(rows[block])

    def load(self) -> "ImageDataset":
        """Read all images (not the truths) into memory once, as bytes; returns the dataset itself."""
        if "images" not in self._memory:
            self._memory["images"] = self.pixels()
        return self

    @cached_property
    def data_hash(self) -> str:
        """16 hexadecimal digits of the content, however it is stored: pixels, truths, labels, lists and pairs."""
        labels, digest = self.labels, hashlib.sha256()
        for name in self._arrays():
            digest.update(f"{name} {self._hashes.get(name) or self._hash(name)}".encode())
        digest.update(repr((labels.subjects, labels.expressions, labels.sequences)).encode())
        for index in (labels.subject, labels.expression, labels.sequence, labels.frame, labels.split):
            digest.update(index.astype("<i8").tobytes())
        for name in sorted(labels.lists):
            digest.update(name.encode() + labels.lists[name].astype("<i8").tobytes())
        if labels.pairs is not None:
            for values in (labels.pairs.rows, labels.pairs.is_same, labels.pairs.fold):
                digest.update(values.astype("<i8").tobytes())
        return digest.hexdigest()[:16]

    def verify(self) -> None:
        """Read every pixel and truth and compare with the stored hashes; raises :class:`DataError` if they differ."""
        for name, stored in self._hashes.items():
            if self._hash(name) != stored:
                raise DataError(f"{self.path}: {name} is not what was written (its hash differs). {IMAGES.again}")

    def save(self, path: str | os.PathLike, overwrite: bool = False) -> None:
        """Write everything as an images.h5; the file appears whole or not at all."""
        with ImageWriter(
            path, self.image_size, truth=self.truth_names, attributes=self.attributes, overwrite=overwrite
        ) as writer:
            for rows in image_blocks(len(self), self.image_size):
                writer.append(self.pixels(rows), {name: self.truth(name, rows) for name in self.truth_names})
            writer.finish(self.labels)

    def summary(self) -> dict[str, Any]:
        """Counts: images, pixels a side, subjects, expressions, sequences, and the images of each split."""
        return {
            "images": len(self),
            "image_size": self.image_size,
            "subjects": len(self.subjects),
            "expressions": len(self.expressions),
            "sequences": len(self.sequences),
            "splits": {name: len(self.rows(name)) for name in SPLITS},
        }

    def _read(self, name: str, rows: np.ndarray | None) -> np.ndarray:
        rows = np.arange(len(self)) if rows is None else rows
        if len(rows) and (rows.min() < 0 or rows.max() >= len(self)):
            wrong = rows.min() if rows.min() < 0 else rows.max()
            raise DataError(f"Image {wrong} was asked for; the dataset has the rows 0 to {len(self) - 1}.")
        if name in self._memory:
            return self._memory[name][rows]
        file = self._open()
        found = read_rows(file, name, rows, self.path or "")
        IMAGES.refuse_if_cut(file, self._size, self.path or "")
        return found

    def _open(self) -> h5py.File:
        with self._lock:
            if self._file is None or self._pid != os.getpid():  # a forked process must not share the file's position
                with IMAGES.damage_as_error(self.path or ""):
                    self._file, self._pid = h5py.File(self.path, "r", locking="best-effort"), os.getpid()
                self._size = size_on_disk(self._file)
            return self._file

    def _arrays(self) -> tuple[str, ...]:
        return "images", *sorted(f"truth/{name}" for name in self.truth_names)

    def _hash(self, name: str) -> str:
        digest = hashlib.sha256()
        for rows in image_blocks(len(self), self.image_size):
            digest.update(np.ascontiguousarray(self._read(name, rows)).data)
        return digest.hexdigest()
