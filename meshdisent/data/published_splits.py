"""The splits that papers measure on, each a rule on the names of a data set.

WSDF's CoMA split, the first 10 of every 100 scans, is :func:`meshdisent.data.splits.split_by_frames`.
"""

import random
import re
from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from meshdisent.data.motion_levels import WINDOW, window_starts
from meshdisent.errors import DataError

FACESCAPE_SUBJECTS = tuple(number for number in range(1, 848) if number != 832)  # 832 was never released
#: Subjects whose faces may be shown in publications; they must be in the test.
FACESCAPE_PUBLISHABLE = (122, 212, 340, 344, 393, 395, 421, 527, 594, 610)
FACESCAPE_TEST_SHARE, FACESCAPE_SEED = 0.3, 50
FED_FACESCAPE_WITHOUT = 603  # all of this subject's scans are outliers
#: Places of FED's 33 outliers among its 16,900 scans; 20 of them are subject 603, the others are known by place only.
FED_FACESCAPE_OUTLIERS = (
    451, 1313, 4179, 6399, 10416, *range(12022, 12042), 12824, 12894, 12897, 12898, 13992, 14584, 14624, 16621,
)  # fmt: skip
BU3DFE_TEST = tuple(f"F{number:04d}" for number in range(1, 11))


def facescape_test_subjects(present: Sequence[int]) -> list[int]:
    """Draw the test subjects of FaceScape as FED and WSDF do: 30 % with seed 50, the publishable ones among them.

    Whoever is publishable and was not drawn takes the place of the first that were. The draw depends on which
    subjects exist: without 832, 28 of 253 are others.

    Parameters
    ----------
    present : Numbers of the subjects that exist, ascending.

    Returns
    -------
    Ascending.

    Examples
    --------
    >>> len(facescape_test_subjects(range(1, 848))), facescape_test_subjects(FACESCAPE_SUBJECTS)[:5]
    (254, [2, 6, 7, 10, 12])
    """
    test = random.Random(FACESCAPE_SEED).sample(tuple(present), int(FACESCAPE_TEST_SHARE * len(present)))
    drawn, there = set(test), set(present)
    missed = [number for number in FACESCAPE_PUBLISHABLE if number in there and number not in drawn]
    missed = missed[: len(test)]
    test[: len(missed)] = missed
    return sorted(test)


def published_facescape_split() -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Subject numbers of WSDF's FaceScape split, in increasing order.

    Returns
    -------
    train, test : (593,) and (253,)

    Examples
    --------
    >>> train, test = published_facescape_split()
    >>> len(train), len(test), test[:5].tolist()
    (593, 253, [2, 6, 7, 10, 12])
    """
    test = facescape_test_subjects(FACESCAPE_SUBJECTS)
    return np.array(sorted(set(FACESCAPE_SUBJECTS) - set(test))), np.array(test)


def wsdf_facescape(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """WSDF on FaceScape: 593 subjects for training and 253 for the test, whichever of them are there.

    Subject 832 is in neither, so its scans are set aside. Raises :class:`DataError` for any other subject.
    """
    train, test = (set(map(str, numbers.tolist())) for numbers in published_facescape_split())
    known = dict.fromkeys(train, "train") | dict.fromkeys(test, "test") | {"832": "dropped"}
    return [known[name] for name in _known(subjects, set(known), "1 to 847, as in FaceScape")]


def fed_facescape(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """FED on FaceScape: subject 603 set aside, 30 % of the others that are there for the test."""
    numbers = sorted(map(int, _known(dict.fromkeys(subjects), set(map(str, range(1, 848))), "1 to 847")))
    test = set(facescape_test_subjects([number for number in numbers if number != FED_FACESCAPE_WITHOUT]))
    kinds = {str(n): "test" if n in test else "train" for n in numbers} | {str(FED_FACESCAPE_WITHOUT): "dropped"}
    return [kinds[name] for name in subjects]


def fed_facescape_rows(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """FED on FaceScape with all of its 33 outliers, which are known by their places in the authors' download.

    Raises
    ------
    DataError : If subject 603 is not at those places: then the 13 others would be other scans.
    """
    split = fed_facescape(subjects, expressions, seed, argument)
    places = {k for k, name in enumerate(subjects) if name == str(FED_FACESCAPE_WITHOUT)}
    if places != set(range(12022, 12042)) or len(subjects) <= FED_FACESCAPE_OUTLIERS[-1]:
        found = f"{min(places)} to {max(places)}" if places else "nowhere"
        raise DataError(
            f"Subject 603 is at the places {found} of {len(subjects)} scans; wanted 12022 to 12041, as in the download "
            "that FED's outliers were numbered in. Other scans are absent here; write --split-by fed, which sets only "
            "subject 603 aside."
        )
    outliers = set(FED_FACESCAPE_OUTLIERS)
    return ["dropped" if k in outliers else kind for k, kind in enumerate(split)]


def fed_bu3dfe(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """FED on BU-3DFE: the women F0001 to F0010 for the test, all others for training."""
    return ["test" if name in BU3DFE_TEST else "train" for name in subjects]


def fed_windows(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """FED on CoMA: windows of 10 frames for the test, see :func:`~meshdisent.data.motion_levels.window_starts`."""
    if len(subjects) < 100:
        raise DataError(f"There are {len(subjects)} frames; wanted 100 or more for windows. Use another --split-by.")
    split = ["train"] * len(subjects)
    for start in window_starts(subjects, expressions, np.random.RandomState(seed)):
        split[start : start + WINDOW] = ["test"] * WINDOW
    return split


def without_sequence(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """Expression extrapolation (CoMA paper): one sequence of all subjects for the test, the others for training.

    A sequence that was named by side (``mouth_up_left``) is meant by its own name too.

    Raises
    ------
    DataError : If there is no such sequence, or no other.
    """
    is_test = [_sequence(name) == argument or name == argument for name in expressions]
    if not any(is_test) or all(is_test):
        there = ", ".join(dict.fromkeys(_sequence(name) for name in expressions))
        raise DataError(
            f"--split-by extrapolation:{argument} leaves {'none' if not any(is_test) else 'all'} of the frames to the "
            f"test; wanted one of several sequences. There are {there}."
        )
    return ["test" if flag else "train" for flag in is_test]


def facewarehouse_140(
    subjects: Sequence[str], expressions: Sequence[str | None], seed: int = 0, argument: str = ""
) -> list[str]:
    """Jiang et al. (2019) on FaceWarehouse: 140 subjects for training, 10 for the test, here the last ones."""
    numbers = [int(name) for name in _known(subjects, set(map(str, range(1, 151))), "1 to 150")]
    return ["test" if number > 140 else "train" for number in numbers]


def _sequence(expression: str | None) -> str:
    return re.sub(r"_(left|right)$", "", expression or "?")


def _known(subjects: Sequence[str] | dict[str, None], known: set[str], wanted: str) -> list[str]:
    unknown = [name for name in subjects if name not in known]
    if unknown:
        raise DataError(
            f"The split knows nothing of the subject {unknown[0]!r} ({len(set(unknown))} such); wanted {wanted}. "
            "Use another --split-by."
        )
    return list(subjects)
