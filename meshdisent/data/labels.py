"""Who is seen in which row of a dataset: subject, expression, frame, split, neutral."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import repeat

import numpy as np
from jaxtyping import Int

from meshdisent.errors import DataError

SPLITS = ("train", "val", "test", "dropped")
UNKNOWN = -1


@dataclass(frozen=True, eq=False, kw_only=True)
class Labels:
    """The labels of N scans of S subjects.

    Attributes
    ----------
    subjects, expressions : Tables of names.
    subject : (N,) Row of the subject table.
    expression : (N,) Row of the expression table, -1 where it is unknown.
    frame : (N,) Frame number within the sequence, -1 where there is none.
    split : (N,) Index into ``SPLITS``.
    neutral_row : (S,) The scan that shows the subject at rest, -1 where there is none.
    sets : Names of the scan datasets that were combined; empty where the scans are of one.
    set_of_scan : (N,) Row of ``sets``; None where the scans are of one.
    """

    subjects: tuple[str, ...]
    expressions: tuple[str, ...]
    subject: Int[np.ndarray, " scan"]
    expression: Int[np.ndarray, " scan"]
    frame: Int[np.ndarray, " scan"]
    split: Int[np.ndarray, " scan"]
    neutral_row: Int[np.ndarray, " subject"]
    sets: tuple[str, ...] = ()
    set_of_scan: Int[np.ndarray, " scan"] | None = None

    @classmethod
    def from_names(
        cls,
        subject_names: Sequence[str],
        expression_names: Sequence[str | None] | None = None,
        *,
        frame: Iterable[int] | None = None,
        split: Iterable[str] | None = None,
        neutral: str = "neutral",
        set_names: Sequence[str] | None = None,
    ) -> "Labels":
        """Build the tables from one name a scan; subjects and expressions are numbered by first appearance.

        Parameters
        ----------
        subject_names : Subject of each scan.
        expression_names : Expression of each scan, None where it is unknown.
        frame : Frame number of each scan.
        split : Split of each scan, one of ``SPLITS``; "train" if not given.
        neutral : Name of the expression at rest; its first scan is the subject's neutral.
        set_names : Scan dataset that each scan comes from, where several were combined.

        Raises
        ------
        DataError : If the lists differ in length, or a name is empty, has a slash, or is no split.
        """
        count = len(subject_names)
        expression_list = list(expression_names if expression_names is not None else repeat(None, count))
        frame_list = list(frame if frame is not None else repeat(UNKNOWN, count))
        split_list = list(split if split is not None else repeat("train", count))
        set_list = list(set_names if set_names is not None else repeat("", count))
        lists: tuple[list, ...] = (expression_list, frame_list, split_list, set_list)
        for what, given in zip(("expression names", "frames", "splits", "set names"), lists, strict=True):
            if len(given) != count:
                raise DataError(f"{len(given)} {what} were given for {count} scans; give one to each scan.")
        for name in dict.fromkeys([*subject_names, *expression_list]):
            if name is not None:
                _check_name(name)
        for name in split_list:
            split_index(name)
        sets = () if set_names is None else tuple(dict.fromkeys(set_list))
        for name in sets:
            _check_name(name)
        subjects = tuple(dict.fromkeys(subject_names))
        expressions = tuple(name for name in dict.fromkeys(expression_list) if name is not None)
        subject_of = {name: k for k, name in enumerate(subjects)}
        expression_of: dict[str | None, int] = {name: k for k, name in enumerate(expressions)}
        subject = np.array([subject_of[name] for name in subject_names], np.int64)
        expression = np.array([expression_of.get(name, UNKNOWN) for name in expression_list], np.int64)
        return cls(
            subjects=subjects,
            expressions=expressions,
            subject=subject,
            expression=expression,
            frame=np.array(frame_list, np.int64),
            split=np.array([split_index(name) for name in split_list], np.int8),
            neutral_row=first_rows(subject, expression == expression_of.get(neutral, UNKNOWN - 1), len(subjects)),
            sets=sets,
            set_of_scan=np.array([sets.index(name) for name in set_list], np.int64) if sets else None,
        )

    def __len__(self) -> int:
        return len(self.subject)

    def check(self, where: str) -> None:
        """Raise :class:`DataError` if an index points outside its table or a name is used twice."""
        for table, names in (("subjects", self.subjects), ("expressions", self.expressions), ("sets", self.sets)):
            if len(set(names)) != len(names):
                twice = next(name for k, name in enumerate(names) if name in names[:k])
                raise DataError(f"{where}: the table {table} holds {twice!r} twice; each name must stand there once.")
            for name in names:
                _check_name(name, where)
        for what, index, low, high in (
            ("subject", self.subject, 0, len(self.subjects)),
            ("expression", self.expression, UNKNOWN, len(self.expressions)),
            ("frame", self.frame, UNKNOWN, np.iinfo(np.int64).max),
            ("split", self.split, 0, len(SPLITS)),
            ("neutral/row", self.neutral_row, UNKNOWN, len(self)),
            ("set", np.empty(0, np.int64) if self.set_of_scan is None else self.set_of_scan, 0, len(self.sets)),
        ):
            wrong = np.flatnonzero((index < low) | (index >= high))
            if len(wrong):
                raise DataError(
                    f"{where}: {what}[{wrong[0]}] is {index[wrong[0]]}; wanted {low} to {high - 1}. "
                    "Prepare the dataset again (meshdisent prepare)."
                )
        for k in np.flatnonzero(self.neutral_row >= 0):
            owner = self.subject[self.neutral_row[k]]
            if owner != k:
                raise DataError(
                    f"{where}: the neutral of subject {self.subjects[k]!r} is a scan of {self.subjects[owner]!r}; "
                    "it must be one of the subject's own. Prepare the dataset again."
                )

    def name(self, row: int) -> str:
        """``SUBJECT/EXPRESSION`` or ``SUBJECT/EXPRESSION/FRAME``; an unknown expression is written ``?``."""
        expression = self.expressions[self.expression[row]] if self.expression[row] >= 0 else "?"
        frame = f"/{self.frame[row]}" if self.frame[row] >= 0 else ""
        return f"{self.subjects[self.subject[row]]}/{expression}{frame}"


def split_index(name: str) -> int:
    """Position of a split in ``SPLITS``; raises :class:`DataError` for any other name."""
    if name not in SPLITS:
        raise DataError(f"There is no split {name!r}; the splits are {', '.join(SPLITS)}.")
    return SPLITS.index(name)


def first_rows(
    subject: Int[np.ndarray, " scan"], chosen: np.ndarray, subject_count: int
) -> Int[np.ndarray, " subject"]:
    """First chosen row of each subject, -1 where none is."""
    rows = np.full(subject_count, UNKNOWN, np.int64)
    chosen_rows = np.flatnonzero(chosen)[::-1]  # written backwards, so that the first one stays
    rows[subject[chosen_rows]] = chosen_rows
    return rows


def _check_name(name: str, where: str = "") -> None:
    if not name or "/" in name or any(ord(letter) < 32 for letter in name):
        prefix = f"{where}: " if where else ""
        raise DataError(
            f"{prefix}{name!r} cannot name a subject, an expression or a set, because scans are called "
            "SUBJECT/EXPRESSION; use a name that is not empty and has no slash and no control characters."
        )
