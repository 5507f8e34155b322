"""Which scans are for training, which for choosing, which for the final test."""

import difflib
import json
import os
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int

from meshdisent.data.labels import SPLITS, split_index
from meshdisent.errors import DataError, UsageError

TRAIN_SHARE, VAL_SHARE = 0.6, 0.1  # the rest is for the test: 180, 30 and 90 of 300 subjects
TEST_FRAMES, FRAME_PERIOD = 10, 100

#: Splits in which training and test show the same people.
WITHIN_SUBJECTS = ("frames", "interpolation", "windows", "extrapolation")


@dataclass(frozen=True)
class NamedSplit:
    """A split that a data set is published with.

    Attributes
    ----------
    about : What it does, in words for ``--help``.
    rule : (subject of each scan, expression of each scan, seed, argument) -> split of each scan.
    argument : What must stand behind the name and a colon; empty: nothing.
    """

    about: str
    rule: Callable[[Sequence[str], Sequence[str | None], int, str], list[str]]
    argument: str = ""


def split_by_subjects(subjects: Sequence[str], seed: int = 0) -> dict[str, str]:
    """Put 60 % of the subjects into training, 10 % into validation, the rest into the test, drawn by seed.

    One subject alone goes into training; of two, one goes into the test; of three or more, one at least into each.

    Examples
    --------
    >>> split = split_by_subjects([f"{k:03d}" for k in range(10)])
    >>> [list(split.values()).count(name) for name in ("train", "val", "test")]
    [6, 1, 3]
    """
    count = len(subjects)
    train = max(1, int(TRAIN_SHARE * count))
    val = max(1, int((TRAIN_SHARE + VAL_SHARE) * count) - train) if count > 2 else 0
    order = np.random.default_rng(seed).permutation(count)
    place = np.empty(count, np.int64)
    place[order] = np.arange(count)
    kinds = np.searchsorted([train, train + val], place, side="right")
    return {name: SPLITS[kind] for name, kind in zip(subjects, kinds, strict=True)}


def split_by_frames(position: Int[np.ndarray, " scan"]) -> list[str]:
    """Put the first 10 of every 100 scans into the test, the rest into training ("interpolation": CoMA, WSDF).

    The count runs over the whole set in natural order and does not start anew with a sequence, as published; training
    and test share subjects.

    Parameters
    ----------
    position : (N,) Place of each scan in the whole set, those that were left out included.
    """
    return ["test" if k % FRAME_PERIOD < TEST_FRAMES else "train" for k in position]


def split_scans(
    split_by: str | os.PathLike,
    subjects: Sequence[str],
    seed: int = 0,
    left_out: Sequence[str] = (),
    *,
    expressions: Sequence[str | None] = (),
    named: Mapping[str, NamedSplit] | None = None,
) -> list[str]:
    """Give each scan of a data set its split.

    Parameters
    ----------
    split_by : "subjects", "frames", one of ``named``, or a JSON file as :func:`read_split` takes it.
    subjects : (N,) Subject of each scan, in natural order.
    seed : Draws the subjects, or whatever the named split draws.
    left_out : Subjects of the data set without scans here, which a file may name.
    expressions : (N,) Expression of each scan; named splits ask for them.
    named : The published splits of the data set.

    Raises
    ------
    UsageError : If a named split lacks its argument or has one too many.
    DataError : If there is no such split or file, or the scans are not those that the split is for.
    """
    how, _, argument = str(split_by).partition(":")
    if named and how in named and not Path(split_by).is_file():
        split = named[how]
        if bool(argument) != bool(split.argument):
            wanted = f"{how}:{split.argument}" if split.argument else how
            raise UsageError(f"--split-by is {split_by}; wanted {wanted}: {split.about}.")
        return split.rule(subjects, expressions, seed, argument)
    if str(split_by) == "frames":
        return split_by_frames(np.arange(len(subjects)))
    names = list(dict.fromkeys(subjects))
    if str(split_by) == "subjects":
        drawn = split_by_subjects(names, seed)
        return [drawn[name] for name in subjects]
    if not Path(split_by).exists():
        raise DataError(_no_split(str(split_by), named or {}))
    read = read_split(split_by, names, left_out)
    return [read[name] for name in subjects]


def _no_split(split_by: str, named: Mapping[str, NamedSplit]) -> str:
    choices = ["subjects", "frames", *(f"{n}:{s.argument}" if s.argument else n for n, s in named.items())]
    close = difflib.get_close_matches(split_by.partition(":")[0], [c.partition(":")[0] for c in choices], n=1)
    hint = f"Did you mean {close[0]}?" if close else "Check --split-by."
    return (
        f"The split file {split_by} cannot be read (No such file or directory); wanted {', '.join(choices)}, or a "
        f"JSON file. {hint}"
    )


def read_split(path: str | os.PathLike, subjects: Sequence[str], left_out: Sequence[str] = ()) -> dict[str, str]:
    """Read the split of each subject from JSON: ``{"train": [names], "val": [...], "test": [...]}``.

    Parameters
    ----------
    path : The file.
    subjects : Subjects of the data set; each must be in exactly one list.
    left_out : More subjects that the file may name.

    Raises
    ------
    DataError : If the file is absent or no such JSON, or names an unknown subject, leaves one out, or has one twice.
    """
    lists = _read_lists(path)
    split: dict[str, str] = {}
    known = {*subjects, *left_out}
    for kind, names in lists.items():
        for name in names:
            if split.get(name, kind) != kind:
                raise DataError(
                    f"{path}: the subject {name!r} is in {split[name]!r} and in {kind!r}; wanted each subject in one "
                    "list. Take it out of one, or what is learned from it leaks."
                )
            split[name] = kind
    unknown = [name for name in split if name not in known]
    if unknown:
        raise DataError(
            f"{path} names {_some(unknown)}, of whom there are no scans; the subjects are {_some(subjects)}. "
            "Correct the names, or add the scans."
        )
    missing = [name for name in subjects if name not in split]
    if missing:
        raise DataError(
            f"{path} does not say where {_some(missing)} belong; wanted each subject in one of train, val, test. "
            'Add the names to a list ("dropped" keeps scans out of all three).'
        )
    return {name: split[name] for name in subjects}


def _read_lists(path: str | os.PathLike) -> dict[str, list[str]]:
    try:
        content: Any = json.loads(Path(path).read_bytes())
    except OSError as error:
        raise DataError(
            f"The split file {path} cannot be read ({error.strerror}); wanted subjects, frames, or a JSON file. "
            "Check --split-by."
        ) from error
    except (ValueError, RecursionError) as error:
        raise DataError(
            f'{path} is no JSON ({error}); wanted {{"train": [subjects], "val": [], "test": []}}.'
        ) from error
    if not isinstance(content, dict) or not all(isinstance(names, list) for names in content.values()):
        raise DataError(f'{path} is no table of lists; wanted {{"train": [subjects], "val": [], "test": []}}.')
    lists = {}
    for kind, names in content.items():
        try:
            split_index(kind)
        except DataError as error:
            raise DataError(f"{path}: {error} Rename the list.") from error
        wrong = [name for name in names if not isinstance(name, str)]
        if wrong:
            raise DataError(f"{path}: the list {kind!r} holds {wrong[0]!r}; wanted names of subjects in quotes.")
        lists[kind] = [unicodedata.normalize("NFC", name) for name in names]
    return lists


def _some(names: Sequence[str], limit: int = 5) -> str:
    shown = ", ".join(map(repr, names[:limit]))
    return shown if len(names) <= limit else f"{shown} and {len(names) - limit} more"
