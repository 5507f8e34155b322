"""Which subjects are known at rest, and which scans show next to no expression."""

import numpy as np
from jaxtyping import Bool

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError

#: A frame is at rest up to this share of the way to the farthest frame of its sequence (as FED's published code).
AT_REST = 0.1


def subjects_without_neutral(scans: ScanDataset) -> list[str]:
    """Training subjects whose face at rest the dataset does not know.

    Examples
    --------
    >>> subjects_without_neutral(scans)
    []
    """
    known = scans.neutrals()[1]
    return [scans.subjects[subject] for subject in np.unique(scans.subject[scans.rows("train")]) if not known[subject]]


def scans_at_rest(scans: ScanDataset) -> Bool[np.ndarray, " scan"]:
    """(N,) Whether a scan shows next to no expression.

    In sequences: no farther from the first frame than a tenth of the way of the farthest frame, by mean vertex distance
    (published for CoMA). Elsewhere: whether its expression is the one at rest.

    Raises
    ------
    DataError : If the dataset has neither frames nor scans at rest.
    """
    at_rest = np.zeros(len(scans), bool)
    resting = np.unique(scans.expression[scans.neutral_row[scans.neutral_row >= 0]])
    at_rest[np.isin(scans.expression, resting[resting >= 0])] = True
    framed = np.flatnonzero((scans.frame >= 0) & (scans.expression >= 0))
    if not len(framed) and not at_rest.any():
        raise DataError(
            f"{scans.path or 'The dataset'} has neither frames nor a scan at rest, so nothing tells which of its scans "
            "show an expression. Prepare it with labels of expressions or frames."
        )
    sequence = scans.subject[framed] * len(scans.expressions) + scans.expression[framed]
    for one in np.unique(sequence):
        rows = framed[sequence == one]
        rows = rows[np.argsort(scans.frame[rows], kind="stable")]
        shown = scans.vertices(rows)
        level = np.linalg.norm(shown - shown[0], axis=2).mean(axis=1)
        if level.max() > 0:
            at_rest[rows] |= level <= AT_REST * level.max()
    return at_rest
