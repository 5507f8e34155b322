"""Partners of the scans in a batch: other scans of the same subject, or of another one.

They are drawn anew for each batch from its number and a seed alone. So a run that is resumed, or reads ahead, or
begins another phase, draws the same ones, and no state has to be kept.
"""

from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from meshdisent.errors import DataError


class Partners:
    """Draws a training scan of the same subject, or of another one, for each scan of a batch.

    Parameters
    ----------
    subject_of_scan : (N,) Subject of each training scan.
    seed : Of the draws.

    Examples
    --------
    >>> partners = Partners(np.array([0, 0, 1, 1, 1]), seed=0)
    >>> drawn, is_same = partners.draw(np.array([0, 3]), number=7, kind="same_subject")
    >>> np.array([0, 0, 1, 1, 1])[drawn].tolist(), is_same.tolist()
    ([0, 1], [True, True])
    """

    def __init__(self, subject_of_scan: Int[np.ndarray, " scan"], seed: int):
        self._seed = seed
        self._by_subject = np.argsort(subject_of_scan, kind="stable")
        _, self._subject, self._counts = np.unique(subject_of_scan, return_inverse=True, return_counts=True)
        self._starts = np.cumsum(self._counts) - self._counts

    def draw(
        self, positions: Int[np.ndarray, " batch"], number: int, kind: Literal["same_subject", "coin"]
    ) -> tuple[Int[np.ndarray, " batch"], Bool[np.ndarray, " batch"]]:
        """Positions of the partners in batch ``number``, and which are of the same subject; the scan itself may be one.

        Raises
        ------
        DataError : If others are asked for and all scans are of one subject.
        """
        random = np.random.default_rng([self._seed, number])
        is_same = np.ones(len(positions), bool) if kind == "same_subject" else random.random(len(positions)) < 0.5
        if len(self._counts) < 2 and kind == "coin":
            raise DataError(
                "Pairs of different subjects were asked for, and all training scans are of one subject. "
                "Prepare scans of several subjects."
            )
        subject, total = self._subject[positions], len(self._by_subject)
        start, own = self._starts[subject], self._counts[subject]
        chance = random.random(len(positions))
        same = start + (chance * own).astype(np.int64)
        # Among the scans of all others, which lie before and behind the subject's own.
        other = (chance * (total - own)).astype(np.int64)
        other += np.where(other >= start, own, 0)
        return self._by_subject[np.where(is_same, same, other)], is_same
