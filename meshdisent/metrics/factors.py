r"""How well single code entries and factors match: DCI, SAP and MIG, on plain arrays.

They come from models whose factors are single numbers (a position, an angle). Who somebody is takes many entries, so on
faces completeness, SAP and MIG are low for every model; they compare models of one code size. Factors are discrete
labels (N, K): who, and which expression.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

Labels = Int[np.ndarray, "scan factor"]
CodeArray = Float[np.ndarray, "scan code"]
#: Bins of equal width into which a code entry is cut for mutual information (as in the common implementations).
BINS = 20


@dataclass(frozen=True)
class DCI:
    """Disentanglement, completeness and informativeness, each 0 to 1; 1 is best. None where not defined."""

    disentanglement: float | None
    completeness: float | None
    informativeness: float | None = None


def dci_of_importance(importance: Float[np.ndarray, "code factor"]) -> DCI:
    r"""Disentanglement and completeness of a matrix of importances (Eastwood and Williams 2018, section 2).

    .. math:: D = \sum_i \rho_i (1 + \sum_j p_{ij} \log_K p_{ij}), \quad p_{ij} = R_{ij} / \sum_k R_{ik}, \quad
              \rho_i = \sum_j R_{ij} / \sum_{ij} R_{ij}

    .. math:: C = \frac{1}{K} \sum_j (1 + \sum_i \tilde p_{ij} \log_D \tilde p_{ij}), \quad
              \tilde p_{ij} = R_{ij} / \sum_k R_{kj}

    Disentanglement asks of each entry whether it tells of one factor only; completeness asks of each factor whether one
    entry tells it. No unit.

    Parameters
    ----------
    importance : (D, K) :math:`R_{ij} \ge 0`, how much entry i matters to the prediction of factor j.

    Returns
    -------
    None for disentanglement with a single factor, for completeness with a single entry, for both if nothing matters.

    Examples
    --------
    >>> dci_of_importance(np.array([[1.0, 0], [0, 1], [0, 1]]))
    DCI(disentanglement=1.0, completeness=0.6845351232142713, informativeness=None)
    """
    total = importance.sum()
    if not total > 0:
        return DCI(None, None)
    entries, factors = importance.shape
    disentanglement = completeness = None
    if factors > 1:
        rows = 1.0 - _entropy(importance.T) / np.log(factors)
        disentanglement = float((importance.sum(axis=1) / total) @ rows)
    if entries > 1:
        # A factor that no entry tells is not complete; its empty column would count as certain.
        columns = np.where(importance.sum(axis=0) > 0, 1.0 - _entropy(importance) / np.log(entries), 0.0)
        completeness = float(columns.mean())
    return DCI(disentanglement, completeness)


def dci(codes: CodeArray, factors: Labels, seed: int = 0, held_out: float = 0.25, trees: int = 10) -> DCI:
    r"""DCI with random forests, one of the two regressors of the paper (Eastwood and Williams 2018).

    For each factor a forest predicts the label from all entries; its importances make :math:`R`
    (:func:`dci_of_importance`). Informativeness is the mean accuracy on scans that were held out at random, where the
    paper, for factors that are numbers, has the error. No unit.

    Parameters
    ----------
    codes : (N, D)
    factors : (N, K) Labels of every scan, not negative.
    held_out : Share of the scans that only test.

    Returns
    -------
    All None below 8 scans, or without a factor of at least two labels.
    """
    from sklearn.ensemble import RandomForestClassifier

    used = _varying(factors)
    if len(codes) < 8 or len(used) == 0 or codes.shape[1] == 0:
        return DCI(None, None)
    order = np.random.default_rng(seed).permutation(len(codes))
    test, train = np.split(order, [max(1, round(held_out * len(codes)))])
    importance, accuracy = [], []
    for k in used:
        # Every split chooses among all entries: among a few at random, those that tell nothing would gain importance.
        forest = RandomForestClassifier(trees, max_features=None, random_state=seed)
        forest.fit(codes[train], factors[train, k])
        importance.append(forest.feature_importances_)
        accuracy.append(float((forest.predict(codes[test]) == factors[test, k]).mean()))
    scores = dci_of_importance(np.stack(importance, axis=1))
    return DCI(scores.disentanglement, scores.completeness, float(np.mean(accuracy)))


def mig(codes: CodeArray, factors: Labels, bins: int = BINS) -> float | None:
    r"""Mutual information gap (Chen et al. 2018, equation 6), 0 to 1.

    .. math:: \frac{1}{K} \sum_k \frac{1}{H(v_k)} (I(z_{i_1}; v_k) - I(z_{i_2}; v_k) )

    with :math:`i_1, i_2` the entries that tell most and second most of factor k. Entries are cut into ``bins`` of equal
    width between their extremes; mutual information in nats of the counts.

    Returns
    -------
    None without a factor of at least two labels, or with fewer than two entries.

    Examples
    --------
    >>> both = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> mig(both.astype(float), both)
    1.0
    """
    labels = _labels_for_gaps(codes, factors)
    if not labels:
        return None
    binned = _binned(codes, bins)
    gaps = []
    for label in labels:
        information = np.sort([_mutual_information(entry, label) for entry in binned.T])
        gaps.append((information[-1] - information[-2]) / float(_entropy(np.bincount(label).astype(float)[:, None])[0]))
    return float(np.mean(gaps))


def sap(codes: CodeArray, factors: Labels) -> float | None:
    r"""Separated attribute predictability (Kumar et al. 2018, section 3), 0 to 1.

    .. math:: \frac{1}{K} \sum_k (S_{i_1 k} - S_{i_2 k} )

    with :math:`S_{ik}` the balanced accuracy of telling factor k by thresholds on entry i alone, and :math:`i_1, i_2`
    the entries with the largest. Thresholds are fitted one after the other by a decision tree of as many leaves as the
    factor has labels, on the scans that they are scored on (the paper says neither); what that adds by fitting noise
    is the same for every entry and cancels in the difference.

    Returns
    -------
    None without a factor of at least two labels, or with fewer than two entries.

    Examples
    --------
    >>> both = np.array([[0, 0], [0, 1], [1, 0], [1, 1]])
    >>> sap(both.astype(float), both)
    0.5
    """
    from sklearn.tree import DecisionTreeClassifier

    labels = _labels_for_gaps(codes, factors)
    if not labels:
        return None
    gaps = []
    for label in labels:
        size = np.bincount(label)
        tree = DecisionTreeClassifier(max_leaf_nodes=len(size), class_weight="balanced", random_state=0)
        scores = []
        for i in range(codes.shape[1]):
            entry = codes[:, i : i + 1]
            hits = tree.fit(entry, label).predict(entry) == label
            scores.append((np.bincount(label, hits) / size).mean())
        second, first = np.sort(scores)[-2:]
        gaps.append(first - second)
    return float(np.mean(gaps))


def _varying(factors: Labels) -> list[int]:
    """Factors with at least two labels: what never changes cannot be told."""
    return [k for k in range(factors.shape[1]) if len(np.unique(factors[:, k])) > 1]


def _labels_for_gaps(codes: CodeArray, factors: Labels) -> list[Int[np.ndarray, " scan"]]:
    """Labels of each factor that varies, counted from 0; none where there are no two entries to have a gap."""
    if codes.shape[1] < 2:
        return []
    return [np.unique(factors[:, k], return_inverse=True)[1] for k in _varying(factors)]


def _entropy(counts: Float[np.ndarray, "value column"]) -> Float[np.ndarray, " column"]:
    """Entropy of each column of counts, in nats; 0 for an empty one."""
    total = counts.sum(axis=0)
    share = np.divide(counts, total, out=np.zeros(counts.shape), where=total > 0)
    logarithm = np.log(share, out=np.zeros_like(share), where=share > 0)
    return -(share * logarithm).sum(axis=0)


def _binned(codes: CodeArray, bins: int) -> Int[np.ndarray, "scan code"]:
    low, high = codes.min(axis=0), codes.max(axis=0)
    width = np.where(high > low, (high - low) / bins, 1.0)
    return np.minimum(((codes - low) / width).astype(np.int64), bins - 1)


def _mutual_information(entry: Int[np.ndarray, " scan"], label: Int[np.ndarray, " scan"]) -> float:
    counts = np.zeros((entry.max() + 1, label.max() + 1))
    np.add.at(counts, (entry, label), 1.0)
    joint = _entropy(counts.reshape(-1, 1))[0]
    return float(_entropy(counts.sum(axis=1)[:, None])[0] + _entropy(counts.sum(axis=0)[:, None])[0] - joint)
