"""What a classifier reads from codes of scans that it was not fitted on: leakage probes.

A probe that reads the expression from identity codes is fitted on some people and scored on others. One that reads the
person from expression codes has to know the person, so other *expressions* are held out. Accuracy above chance, as
told by the interval over subjects, means that the code tells it; a probe that fails only says that this probe does.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float, Int

from meshdisent.evaluation.measures import ends
from meshdisent.metrics import Resampling

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

FOLDS = 5
#: Rounds after which a fit is given up on; what had not converged is counted.
LINEAR_ROUNDS, NETWORK_ROUNDS = 500, 200
#: Hidden units of the small network.
HIDDEN = 64


def linear_probe(seed: int) -> "ClassifierMixin":
    """Logistic regression over all labels at once, weight decay 1 on standardized entries."""
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(max_iter=LINEAR_ROUNDS, tol=1e-3)


def network_probe(seed: int) -> "ClassifierMixin":
    """A network with one hidden layer; of the weight decays tried on ICT-300 the one that read most and converged."""
    from sklearn.neural_network import MLPClassifier

    return MLPClassifier(
        (HIDDEN,), alpha=1.0, learning_rate_init=1e-2, max_iter=NETWORK_ROUNDS, tol=1e-3, random_state=seed
    )


def support_vectors(seed: int) -> "ClassifierMixin":
    """Support vectors with a Gaussian kernel, as FED's evaluation has them."""
    from sklearn.svm import SVC

    return SVC()


PROBES: dict[str, Callable[[int], "ClassifierMixin"]] = {"linear": linear_probe, "network": network_probe}


@dataclass(frozen=True, kw_only=True)
class Answers:
    """What a probe said of the scans that were held out.

    Attributes
    ----------
    is_right : (N,) Of each scan that was asked about.
    is_usual : (N,) Whether the most frequent label of the scans that the probe was fitted on would have been right.
    used : (N,) Which scans were asked about, as rows of what was given.
    label_count : How many labels there are to choose from.
    unconverged : Fits that had not converged after the last round.
    """

    is_right: Bool[np.ndarray, " scan"]
    is_usual: Bool[np.ndarray, " scan"]
    used: Int[np.ndarray, " scan"]
    label_count: int
    unconverged: int


def held_out_answers(
    codes: Float[np.ndarray, "scan code"],
    labels: Int[np.ndarray, " scan"],
    groups: Int[np.ndarray, " scan"],
    probe: Callable[[int], "ClassifierMixin"],
    seed: int = 0,
) -> Answers | None:
    """Fit a probe on all groups but some and ask about those, until every group was asked about (5 folds at most).

    Parameters
    ----------
    codes : (N, D) Entries are standardized by the scans that the probe is fitted on.
    labels : (N,) What is to be read; scans with a negative label are left out.
    groups : (N,) What is held out together: the subject, or the expression. Scans with a negative one are left out, and
        labels that occur in a single group: held out, nobody could know them.

    Returns
    -------
    None if fewer than two labels or groups are left, or there is no entry to read.
    """
    used = _usable(labels, groups)
    label_count, group_count = (len(np.unique(values[used])) for values in (labels, groups))
    if label_count < 2 or group_count < 2 or codes.shape[1] == 0:
        return None
    codes, labels, fold = codes[used].astype(np.float64), labels[used], _folds(groups[used], seed)
    right, usual = np.zeros(len(used), bool), np.zeros(len(used), bool)
    unconverged = 0
    for k in np.unique(fold):
        train, test = fold != k, fold == k
        values, counts = np.unique(labels[train], return_counts=True)
        usual[test] = labels[test] == values[counts.argmax()]
        if len(values) < 2:
            right[test] = usual[test]  # nothing to tell apart: the one label is the answer
            continue
        said, converged = _fit(probe(seed), codes[train], labels[train], codes[test])
        right[test] = said == labels[test]
        unconverged += not converged
    return Answers(is_right=right, is_usual=usual, used=used, label_count=label_count, unconverged=unconverged)


def accuracy(
    answers: Answers | None, subject: Int[np.ndarray, " scan"], resampling: Resampling
) -> dict[str, Any] | None:
    r"""Share of held-out scans that a probe was right about, beside chance and with an interval over subjects.

    .. math:: \frac{1}{N} \sum_n [\hat y(z_n) = y_n]

    Parameters
    ----------
    subject : (N,) Of everything that was given to :func:`held_out_answers`.

    Returns
    -------
    ``accuracy`` and ``chance``, 0 to 1; ``low`` and ``high``, the interval; ``scans``; ``unconverged`` fits. Chance is
    what always saying the most frequent label gets, at least one over their number: a label that is held out is rarer
    among what is left. None if the probe was not defined.
    """
    if answers is None:
        return None
    draws = resampling.means(answers.is_right.astype(np.float64), subject[answers.used])
    return {
        "accuracy": float(answers.is_right.mean()),
        "chance": max(float(answers.is_usual.mean()), 1.0 / answers.label_count),
        **ends(draws),
        "scans": len(answers.used),
        "unconverged": answers.unconverged,
    }


def accuracy_on_the_same(
    codes: Float[np.ndarray, "scan code"], labels: Int[np.ndarray, " scan"], probe: Callable[[int], "ClassifierMixin"]
) -> float | None:
    """Accuracy on the very scans that the classifier was fitted on, 0 to 1, as FED's program prints it.

    A flexible classifier remembers them, so this says little; it is here to compare with published numbers.
    """
    if len(np.unique(labels)) < 2 or codes.shape[1] == 0:
        return None
    said, _ = _fit(probe(0), codes.astype(np.float64), labels, codes.astype(np.float64))
    return float((said == labels).mean())


def _usable(labels: np.ndarray, groups: np.ndarray) -> Int[np.ndarray, " scan"]:
    """Rows with both labels known, of labels that occur in more than one group."""
    known = np.flatnonzero((labels >= 0) & (groups >= 0))
    pairs = np.unique(np.stack([labels[known], groups[known]]), axis=1)
    names, counts = np.unique(pairs[0], return_counts=True)
    return known[np.isin(labels[known], names[counts > 1])]


def _folds(groups: np.ndarray, seed: int) -> Int[np.ndarray, " scan"]:
    """A fold for each scan: groups in random order, dealt out in turn."""
    _, place = np.unique(groups, return_inverse=True)
    count = int(place.max()) + 1
    order = np.random.default_rng(seed).permutation(count)
    return order[place] % min(FOLDS, count)


def _fit(
    classifier: "ClassifierMixin", codes: np.ndarray, labels: np.ndarray, asked: np.ndarray
) -> tuple[Int[np.ndarray, " asked"], bool]:
    """Answers of a classifier on standardized entries, and whether its fit converged."""
    from sklearn.exceptions import ConvergenceWarning

    center, scale = codes.mean(axis=0), codes.std(axis=0)
    # An entry that hardly varies stays small: divided by its deviation, rounding errors would count as much as others.
    scale = np.maximum(scale, 1e-6 * scale.max(initial=0.0)) if scale.any() else np.ones_like(scale)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        classifier.fit((codes - center) / scale, labels)
    is_lost = [issubclass(one.category, ConvergenceWarning) for one in said]
    for one, is_about_rounds in zip(said, is_lost, strict=True):
        if not is_about_rounds:
            warnings.warn_explicit(one.message, one.category, one.filename, one.lineno)
    return classifier.predict((asked - center) / scale), not any(is_lost)
