"""How well classes are told: confusion, accuracy, macro F1, and the score that AffectNet and Aff-Wild2 rank by."""

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError

#: Weight of F1 and of accuracy in the score of the Aff-Wild challenges.
F1_WEIGHT, ACCURACY_WEIGHT = 0.67, 0.33

Confusion = Int[np.ndarray, "true said"]


def confusion(truth: Int[np.ndarray, " one"], said: Int[np.ndarray, " one"], class_count: int) -> Confusion:
    """How often each class (row) was called each (column).

    Raises
    ------
    DataError : If a label is outside 0 to ``class_count - 1``, or there is none.

    Examples
    --------
    >>> confusion(np.array([0, 0, 1]), np.array([0, 1, 1]), 3).tolist()
    [[1, 1, 0], [0, 1, 0], [0, 0, 0]]
    """
    if len(truth) == 0:
        raise DataError("No label was given; wanted at least one. Check the split.")
    labels = np.concatenate([truth, said])
    if labels.min() < 0 or labels.max() >= class_count:
        wrong = labels.min() if labels.min() < 0 else labels.max()
        raise DataError(f"A label is {wrong}; wanted 0 to {class_count - 1}. Leave unlabeled images out.")
    return np.bincount(truth * class_count + said, minlength=class_count**2).reshape(class_count, class_count)


def accuracy(table: Confusion) -> float:
    """Share of the answers that are right, 0 to 1.

    Examples
    --------
    >>> accuracy(np.array([[1, 1], [0, 2]]))
    0.75
    """
    return float(np.trace(table) / table.sum())


def f1_of_classes(table: Confusion) -> Float[np.ndarray, " said"]:
    r"""F1 of each class, :math:`2 t_k / (n_k + m_k)`: hits, images of the class, images called so.

    NaN for a class that neither occurs nor was said.

    Examples
    --------
    >>> f1_of_classes(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]])).round(4).tolist()
    [0.6667, 0.8, nan]
    """
    total = table.sum(axis=0) + table.sum(axis=1)
    return np.divide(2.0 * np.diag(table), total, out=np.full(len(table), np.nan), where=total > 0)


def macro_f1(table: Confusion) -> float:
    """Mean F1 of the classes that occur or were said (as scikit-learn counts them by default), 0 to 1.

    Examples
    --------
    >>> round(macro_f1(np.array([[1, 1, 0], [0, 2, 0], [0, 0, 0]])), 4)
    0.7333
    """
    return float(np.nanmean(f1_of_classes(table)))


def expression_score(table: Confusion) -> float:
    r""":math:`0.67 F_1 + 0.33 A`, as LatentFace logs it."""
    return F1_WEIGHT * macro_f1(table) + ACCURACY_WEIGHT * accuracy(table)
