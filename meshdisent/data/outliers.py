"""How unlikely each scan is among the others, and which ones to leave out of training.

The score is that of the published WSDF code: in the singular value decomposition of the centered scans, the sum over
the first components of (projection / singular value) squared, which is the scan's leverage. That code always takes 100
components and drops the ``int(0.05 N)`` highest. With at most 101 scans 100 components span everything, all scores are
1 up to rounding, and what it drops is arbitrary; with fewer than 20 it drops *all* scans. Here, unless told otherwise,
at most a quarter as many components as scans are taken; where the scores tell nothing apart, nothing is dropped.
"""

import math

import numpy as np
from jaxtyping import Float, Int
from scipy.linalg import eigh

from meshdisent.errors import DataError

PUBLISHED_COMPONENTS = 100
_NUMBERS_AT_ONCE = 5_000_000


def unlikeliness(scans: Float[np.ndarray, "scan *shape"], components: int | None = None) -> Float[np.ndarray, " scan"]:
    """Score every scan by its squared length in whitened principal components.

    Parameters
    ----------
    scans : (N, V, 3) or (N, D) Aligned training scans; read in blocks.
    components : How many; by default 100, or a quarter of N if that is less. Components without variance never count.

    Returns
    -------
    (N,) Between 0 and 1; they sum to the number of components.

    Raises
    ------
    DataError : If there are no scans, or a coordinate is not finite.
    """
    count = len(scans)
    if not count:
        raise DataError("Unlikely scans were looked for among no scans; wanted at least one.")
    wanted = min(PUBLISHED_COMPONENTS, count // 4) if components is None else components
    flat = scans.reshape(count, -1)
    gram = _centered_gram(flat)
    wanted = min(wanted, count)
    if wanted < 1:
        return np.zeros(count)
    values, directions = eigh(gram, subset_by_index=(count - wanted, count - 1))
    # Rounding fills null directions up to about eps times the largest; their "scores" would be noise.
    has_variance = values > max(values[-1], 0.0) * count * np.finfo(np.float64).eps * 8
    return (directions[:, has_variance] ** 2).sum(axis=1)


def drop_unlikely(
    scans: Float[np.ndarray, "scan *shape"], fraction: float = 0.05, components: int | None = None
) -> Int[np.ndarray, " dropped"]:
    """Choose the scans to leave out: the ``int(fraction * N)`` most unlikely ones.

    Parameters
    ----------
    scans, components : As for :func:`unlikeliness`.
    fraction : From 0 to below 1; the papers take 0.05.

    Returns
    -------
    (k,) Their rows, increasing. Empty where all scores are equal up to rounding.

    Raises
    ------
    DataError : As :func:`unlikeliness`, and for a fraction out of range.
    """
    if not 0.0 <= fraction < 1.0:
        raise DataError(f"A fraction of {fraction} of the scans was to be dropped; wanted 0 or more, and below 1.")
    count = math.floor(fraction * len(scans) + 1e-9)  # 0.29 * 100 is 28.999...
    if count == 0:
        return np.zeros(0, dtype=np.int64)
    score = unlikeliness(scans, components)
    if score.max() - score.min() < 1e-6:
        return np.zeros(0, dtype=np.int64)
    return np.sort(np.argsort(-score, kind="stable")[:count])


def _centered_gram(flat: np.ndarray) -> np.ndarray:
    """(N, N) Products of the centered rows, in float64, a block of columns at a time."""
    count, width = flat.shape
    gram = np.zeros((count, count))
    step = max(1, _NUMBERS_AT_ONCE // count)
    for begin in range(0, width, step):
        block = flat[:, begin : begin + step].astype(np.float64)
        if not np.isfinite(block).all():
            row = int(np.flatnonzero(~np.isfinite(block).all(axis=1))[0])
            raise DataError(f"Scan {row} has a coordinate that is not finite; wanted finite numbers. Leave it out.")
        block -= block.mean(axis=0)
        gram += block @ block.T
    return gram
