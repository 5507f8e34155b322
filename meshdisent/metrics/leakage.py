"""Whether the nearest code tells what it should not know (ours)."""

import numpy as np
from jaxtyping import Float, Int


def leak(
    codes: Float[np.ndarray, "scan code"],
    training_std: Float[np.ndarray, " code"],
    labels: Int[np.ndarray, " scan"],
) -> dict[str, float | None]:
    """How often the scan with the nearest code has the same label, beside chance (ours).

    Distances are Euclidean, of codes divided by their standard deviation over the training scans. A standard deviation
    below 1e-6 of the largest counts as that much (as 1 if all are 0), so an entry that never changed in training does
    not divide by zero. Of neighbors equally near, the one of the lowest row counts.

    Parameters
    ----------
    codes : (N, D) Of the test scans, of one factor.
    training_std : (D,)
    labels : (N,) Of the other factor: who (for expression codes), or which expression (for identity codes). Scans with
        a negative label are left out.

    Returns
    -------
    ``rate`` and ``chance``, 0 to 1; chance is the rate of a neighbor drawn at random. Both None below two scans.

    Examples
    --------
    >>> leak(np.array([[0.0], [0.1], [5.0], [5.1]]), np.array([1.0]), np.array([0, 0, 1, 1]))
    {'rate': 1.0, 'chance': 0.3333333333333333}
    """
    codes, labels = codes[labels >= 0], labels[labels >= 0]
    if len(labels) < 2:
        return {"rate": None, "chance": None}
    floor = 1e-6 * training_std.max(initial=0.0) or 1.0
    neighbor = nearest_other(codes / np.maximum(training_std.astype(np.float64), floor))
    same_label = np.unique(labels, return_counts=True)[1]
    chance = (same_label * (same_label - 1)).sum() / (len(labels) * (len(labels) - 1))
    return {"rate": float((labels[neighbor] == labels).mean()), "chance": float(chance)}


def nearest_other(codes: Float[np.ndarray, "scan code"], block: int = 1024) -> Int[np.ndarray, " scan"]:
    """Row of the nearest other code; a block of rows at a time, so memory grows with N and not with its square."""
    codes = codes - codes.mean(axis=0)  # the expansion below loses digits far from the origin
    square = np.square(codes).sum(axis=1)
    nearest = np.empty(len(codes), dtype=np.int64)
    for start in range(0, len(codes), block):
        rows = np.arange(start, min(start + block, len(codes)))
        distance = square - 2 * codes[rows] @ codes.T  # the row's own square changes no order
        distance[np.arange(len(rows)), rows] = np.inf
        nearest[rows] = distance.argmin(axis=1)
    return nearest
