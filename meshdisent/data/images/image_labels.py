"""Who is seen in which image: subject, expression, sequence, frame, split, and rows that have names of their own."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import repeat
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from meshdisent.data.labels import SPLITS, UNKNOWN, split_index
from meshdisent.errors import DataError


@dataclass(frozen=True, eq=False, kw_only=True)
class VerificationPairs:
    """Pairs of images that show one person or two, in the folds of a published protocol.

    Attributes
    ----------
    rows : (P, 2) Rows of the images.
    is_same : (P,) Whether both show the same person.
    fold : (P,) Which fold the pair belongs to, from 0.
    """

    rows: Int[np.ndarray, "pair 2"]
    is_same: Bool[np.ndarray, " answer"]
    fold: Int[np.ndarray, " fold"]

    def __len__(self) -> int:
        return len(self.rows)


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageLabels:
    """The labels of N images; what is not known is -1.

    Attributes
    ----------
    subjects, expressions, sequences : Tables of names; expressions stand in the order of the data set's classes.
    subject, expression, sequence : (N,) Rows of these tables, -1 where unknown.
    frame : (N,) Frame number within the sequence, -1 where there is none; grows along a sequence.
    split : (N,) Index into ``SPLITS``.
    lists : Named rows, such as those of a subset with turned heads.
    pairs : Verification pairs, if the data set has a protocol.

    Examples
    --------
    >>> labels = ImageLabels.from_names(["anna", "anna", None], expressions=["smile", None, "smile"])
    >>> labels.subject.tolist(), labels.expression.tolist(), labels.sequence.tolist()
    ([0, 0, -1], [0, -1, 0], [-1, -1, -1])
    """

    subjects: tuple[str, ...]
    expressions: tuple[str, ...]
    sequences: tuple[str, ...]
    subject: Int[np.ndarray, " image"]
    expression: Int[np.ndarray, " image"]
    sequence: Int[np.ndarray, " image"]
    frame: Int[np.ndarray, " image"]
    split: Int[np.ndarray, " image"]
    lists: Mapping[str, Int[np.ndarray, " row"]] = field(default_factory=dict)
    pairs: VerificationPairs | None = None

    @classmethod
    def from_names(
        cls,
        subjects: Sequence[str | None],
        *,
        expressions: Sequence[str | None] | None = None,
        sequences: Sequence[str | None] | None = None,
        frames: Iterable[int] | None = None,
        splits: Iterable[str] | None = None,
        expression_table: Sequence[str] | None = None,
        lists: Mapping[str, Sequence[int]] | None = None,
        pairs: VerificationPairs | None = None,
    ) -> "ImageLabels":
        """Build the tables from one name an image; names are numbered by first appearance, None is unknown.

        Parameters
        ----------
        subjects, expressions, sequences : Name of each image.
        frames, splits : Frame number (-1: none) and split ("train" if not given) of each image.
        expression_table : Names of all classes in their order, where the data set numbers them.
        lists, pairs : As in the class.

        Raises
        ------
        DataError : If the lists differ in length, or a name cannot be used.
        """
        count = len(subjects)
        columns: dict[str, list[Any]] = {
            "expressions": list(expressions if expressions is not None else repeat(None, count)),
            "sequences": list(sequences if sequences is not None else repeat(None, count)),
            "frames": list(frames if frames is not None else repeat(UNKNOWN, count)),
            "splits": list(splits if splits is not None else repeat("train", count)),
        }
        for what, values in columns.items():
            if len(values) != count:
                raise DataError(f"{len(values)} {what} were given for {count} images; give one to each image.")
        subject_table, subject = _numbered(subjects)
        expression_names, expression = _numbered(columns["expressions"], expression_table)
        sequence_table, sequence = _numbered(columns["sequences"])
        labels = cls(
            subjects=subject_table,
            expressions=expression_names,
            sequences=sequence_table,
            subject=subject,
            expression=expression,
            sequence=sequence,
            frame=np.array(columns["frames"], np.int64).reshape(count),
            split=np.array([split_index(name) for name in columns["splits"]], np.int8),
            lists={name: np.array(rows, np.int64) for name, rows in (lists or {}).items()},
            pairs=pairs,
        )
        labels.check("The labels")
        return labels

    def __len__(self) -> int:
        return len(self.subject)

    def check(self, where: str) -> None:
        """Raise :class:`DataError` if an index points nowhere, a name stands twice, or frames are out of order."""
        for table, names in (
            ("subjects", self.subjects),
            ("expressions", self.expressions),
            ("sequences", self.sequences),
        ):
            _check_names(names, f"{where}: the table {table}")
        highest = np.iinfo(np.int32).max
        for what, index, low, high in (
            ("subject", self.subject, UNKNOWN, len(self.subjects)),
            ("expression", self.expression, UNKNOWN, len(self.expressions)),
            ("sequence", self.sequence, UNKNOWN, len(self.sequences)),
            ("frame", self.frame, UNKNOWN, highest),
            ("split", self.split, 0, len(SPLITS)),
            *((f"lists/{name}", rows, 0, len(self)) for name, rows in self.lists.items()),
        ):
            _check_index(index, where, what, low, high)
        if self.pairs is not None:
            _check_index(self.pairs.rows.ravel(), where, "pairs", 0, len(self))
            _check_index(self.pairs.fold, where, "pair_fold", 0, highest)
            if len({len(self.pairs.rows), len(self.pairs.is_same), len(self.pairs.fold)}) > 1:
                raise DataError(
                    f"{where}: {len(self.pairs.rows)} pairs, {len(self.pairs.is_same)} answers and "
                    f"{len(self.pairs.fold)} folds; wanted one of each for every pair. Give arrays of one length."
                )
        self._check_order(where)

    def _check_order(self, where: str) -> None:
        order = np.argsort(self.sequence, kind="stable")
        sequence, frame = self.sequence[order], self.frame[order]
        is_back = (sequence[1:] == sequence[:-1]) & (sequence[1:] >= 0) & (frame[1:] < frame[:-1])
        if is_back.any():
            row = int(order[1:][is_back][0])
            raise DataError(
                f"{where}: image {row} is frame {self.frame[row]} of {self.sequences[self.sequence[row]]!r} and stands "
                "behind a later frame; wanted the images of a sequence in the order of their frames. Sort them."
            )


def _numbered(names: Sequence[str | None], table: Sequence[str] | None = None) -> tuple[tuple[str, ...], np.ndarray]:
    known = tuple(dict.fromkeys(name for name in names if name is not None)) if table is None else tuple(table)
    number: dict[str | None, int] = {name: k for k, name in enumerate(known)}
    for name in dict.fromkeys(names):
        if name is not None and name not in number:
            raise DataError(f"The label {name!r} is none of {', '.join(known)}; wanted one of the table. Correct it.")
    return known, np.array([number.get(name, UNKNOWN) for name in names], np.int64).reshape(len(names))


def _check_names(names: Sequence[str], where: str) -> None:
    if len(set(names)) != len(names):
        seen: set[str] = set()
        twice = next(name for name in names if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise DataError(f"{where} holds {twice!r} twice; each name must stand there once. Rename one.")
    for name in names:
        if not name or any(ord(letter) < 32 for letter in name):
            raise DataError(
                f"{where} holds {name!r}; wanted names that are not empty and have no control characters. Rename it."
            )


def _check_index(index: np.ndarray, where: str, what: str, low: int, high: int) -> None:
    wrong = np.flatnonzero((index < low) | (index >= high))
    if len(wrong):
        raise DataError(
            f"{where}: {what}[{wrong[0]}] is {index[wrong[0]]}; wanted {low} to {high - 1}. Prepare the images again."
        )
