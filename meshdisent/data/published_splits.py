"""The FaceScape split of the WSDF paper, by the rule of its published code.

Its CoMA split, the first 10 of every 100 scans, is :func:`meshdisent.data.splits.split_by_frames`.
"""

import random

import numpy as np
from jaxtyping import Int

FACESCAPE_SUBJECTS = tuple(number for number in range(1, 848) if number != 832)  # 832 was never released
#: Subjects whose faces may be shown in publications; they must be in the test.
FACESCAPE_PUBLISHABLE = (122, 212, 340, 344, 393, 395, 421, 527, 594, 610)
FACESCAPE_TEST_COUNT = 253


def published_facescape_split() -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Subject numbers of the published FaceScape split, in increasing order.

    A seeded draw; then the publishable subjects that it missed take its first places.

    Returns
    -------
    train, test : (593,) and (253,)

    Examples
    --------
    >>> train, test = published_facescape_split()
    >>> len(train), len(test), test[:5].tolist()
    (593, 253, [2, 6, 7, 10, 12])
    """
    test = random.Random(50).sample(FACESCAPE_SUBJECTS, FACESCAPE_TEST_COUNT)
    missed = [number for number in FACESCAPE_PUBLISHABLE if number not in test]
    test[: len(missed)] = missed
    train = sorted(set(FACESCAPE_SUBJECTS) - set(test))
    return np.array(train), np.array(sorted(test))
