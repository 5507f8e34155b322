r"""Whether two images show one person, read from frozen features: LatentFace's protocols on LFW and SLLFW.

Pairs come in folds; what is fitted on all folds but one is asked about that one. Three protocols, three functions:

- :func:`verify_linear`: a linear map on pair features, trained on all pairs of the other folds (ours).
- :func:`verify_linear_published`: the same, trained on one batch of 128 of these pairs, as the released code does.
- :func:`verify_threshold`: a threshold on the distance of two identities, chosen on the other folds (ICASSP paper).
"""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface.probes import train_on_batches

FOLDS = 10


@dataclass(frozen=True, kw_only=True)
class VerificationConfig:
    """How the linear map is trained; the defaults are the published values."""

    epochs: int = 300
    batch_size: int = 128
    learning_rate: float = 1e-4
    seed: int = 1234

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1 or not self.learning_rate > 0:
            raise RecipeError(
                f"Verification got {self.epochs} epochs, batches of {self.batch_size} and the learning rate "
                f"{self.learning_rate}; wanted at least 1 of both, and above 0. Correct the config."
            )


@dataclass(frozen=True, kw_only=True)
class VerificationResult:
    """How often the answers were right.

    Attributes
    ----------
    accuracies : (K,) Of each fold, 0 to 1.
    mean, std : Over the folds; the standard deviation is that of the population (divided by K).
    protocol : "linear", "linear-published" or "threshold".
    thresholds : The distance chosen for each fold, in the threshold protocol.
    """

    accuracies: tuple[float, ...]
    mean: float
    std: float
    protocol: str
    thresholds: tuple[float, ...] = ()


def pair_classifier(feature_count: int, generator: torch.Generator | None = None) -> nn.Linear:
    """A linear map with bias from pair features to two logits: two people, one person."""
    # Drawn as nn.Linear draws it, without touching the global random state.
    classifier = nn.utils.skip_init(nn.Linear, feature_count, 2)
    bound = 1 / math.sqrt(feature_count)
    with torch.no_grad():
        for parameter in classifier.parameters():
            parameter.uniform_(-bound, bound, generator=generator)
    return classifier


def pair_features(
    first: Float[Tensor, "pair feature"], second: Float[Tensor, "pair feature"]
) -> Float[Tensor, "pair 3*feature"]:
    r"""Features of two images as one of the pair, in either order: :math:`[|a - b|, |a + b|, |a b|]`.

    Examples
    --------
    >>> pair_features(torch.tensor([[2.0]]), torch.tensor([[-3.0]])).tolist()
    [[5.0, 1.0, 6.0]]
    """
    return torch.cat([(first - second).abs(), (first + second).abs(), (first * second).abs()], dim=1)


def contiguous_folds(pair_count: int, fold_count: int = FOLDS) -> Int[np.ndarray, " pair"]:
    """Fold of each pair where folds are consecutive and equally large, as in the lists of LFW.

    Raises
    ------
    DataError : If the pairs do not fill the folds evenly.

    Examples
    --------
    >>> contiguous_folds(6, 3).tolist()
    [0, 0, 1, 1, 2, 2]
    """
    if pair_count == 0 or pair_count % fold_count:
        raise DataError(
            f"{pair_count} pairs do not make {fold_count} equal folds; wanted a multiple of {fold_count}. Give folds."
        )
    return np.repeat(np.arange(fold_count), pair_count // fold_count)


def verify_linear(
    first: Float[Tensor, "pair feature"],
    second: Float[Tensor, "other feature"],
    is_same: Bool[np.ndarray, " answer"],
    fold: Int[np.ndarray, " fold"],
    config: VerificationConfig | None = None,
) -> VerificationResult:
    """Train a linear map on all pairs of the other folds, in batches in a new order each epoch, and ask about the fold.

    Parameters
    ----------
    first, second : (P, D) Features of the two images of each pair.
    is_same : (P,) Whether they show one person.
    fold : (P,) Fold of each pair.
    config : How it is trained.

    Raises
    ------
    DataError : If there are fewer than two folds, a fold is empty, or the pairs outside a fold are all of one kind.
    """
    config = config or VerificationConfig()

    def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
        for _ in range(config.epochs):
            yield from torch.randperm(count, generator=generator).split(config.batch_size)

    return _verify_linear(first, second, is_same, fold, config, batches, "linear")


def verify_linear_published(
    first: Float[Tensor, "pair feature"],
    second: Float[Tensor, "other feature"],
    is_same: Bool[np.ndarray, " answer"],
    fold: Int[np.ndarray, " fold"],
    config: VerificationConfig | None = None,
) -> VerificationResult:
    """Do as the released code does: each epoch is one step on the same batch, the first pairs of one drawn order.

    With the published values that is 300 steps on 128 of 5,400 pairs; the other pairs are never seen.

    Raises
    ------
    DataError : As :func:`verify_linear`.
    """
    config = config or VerificationConfig()

    def batches(count: int, generator: torch.Generator) -> Iterator[Tensor]:
        return repeat(torch.randperm(count, generator=generator)[: config.batch_size], config.epochs)

    return _verify_linear(first, second, is_same, fold, config, batches, "linear-published")


def verify_threshold(
    distance: Float[np.ndarray, " pair"], is_same: Bool[np.ndarray, " pair"], fold: Int[np.ndarray, " fold"]
) -> VerificationResult:
    """Call a pair one person if its distance is at most a threshold, which is the best on the other folds.

    Of thresholds equally good the least counts; a threshold lies halfway between two distances, or calls none or all
    pairs one person.

    Parameters
    ----------
    distance : (P,) Of the identities of the two images; the paper does not say which. A cosine or a Euclidean one
        comes from ``feature_distance.py``, the identities from ``features.identity_features``.
    is_same, fold : (P,) As in :func:`verify_linear`.

    Raises
    ------
    DataError : As :func:`verify_linear`, or if a distance is not finite.

    Examples
    --------
    >>> result = verify_threshold(
    ...     np.array([1.0, 4.0, 2.0, 5.0]), np.array([True, False, True, False]), np.array([0, 0, 1, 1])
    ... )
    >>> result.accuracies, result.thresholds
    ((1.0, 1.0), (3.5, 2.5))
    """
    if not np.isfinite(distance).all():
        raise DataError(f"The distance of pair {int(np.argmin(np.isfinite(distance)))} is not finite; leave it out.")
    accuracies, thresholds = [], []
    for rest, held in _folds(is_same, fold):
        threshold = best_threshold(distance[rest], is_same[rest])
        accuracies.append(float(((distance[held] <= threshold) == is_same[held]).mean()))
        thresholds.append(threshold)
    return _result(accuracies, "threshold", tuple(thresholds))


def best_threshold(distance: Float[np.ndarray, " pair"], is_same: Bool[np.ndarray, " pair"]) -> float:
    """The distance up to which calling a pair one person is right most often.

    Examples
    --------
    >>> best_threshold(np.array([3.0, 1.0, 2.0, 6.0]), np.array([False, True, True, False]))
    2.5
    """
    values, place = np.unique(distance, return_inverse=True)
    same = np.bincount(place, weights=is_same)
    other = np.bincount(place, weights=~is_same)
    # Right answers if the k nearest distances are called one person, k = 0 .. all.
    right = np.concatenate([[0.0], np.cumsum(same - other)]) + (~is_same).sum()
    between = np.concatenate([[-np.inf], (values[1:] + values[:-1]) / 2, [np.inf]])
    return float(between[right.argmax()])


def _verify_linear(
    first: Tensor,
    second: Tensor,
    is_same: np.ndarray,
    fold: np.ndarray,
    config: VerificationConfig,
    batches: Callable[[int, torch.Generator], Iterator[Tensor]],
    protocol: str,
) -> VerificationResult:
    if first.shape != second.shape or len(first) != len(is_same):
        raise DataError(
            f"Features of {tuple(first.shape)} and {tuple(second.shape)} with {len(is_same)} answers were given; "
            "wanted (P, D) twice, and P answers. Give one row a pair."
        )
    features = pair_features(first, second)
    if not torch.isfinite(features).all():
        raise DataError("The features of a pair are not finite; wanted finite numbers. Leave the image out.")
    labels = torch.from_numpy(is_same.astype(np.int64)).to(features.device)
    accuracies = []
    for k, (rest, held) in enumerate(_folds(is_same, fold)):
        generator = torch.Generator().manual_seed(config.seed + k)
        classifier = pair_classifier(features.shape[1], generator).to(features)
        optimizer = torch.optim.Adam(classifier.parameters(), lr=config.learning_rate)
        pool = torch.from_numpy(rest).to(features.device)
        rows = (pool[batch.to(pool.device)] for batch in batches(len(rest), generator))
        train_on_batches(classifier, optimizer, ((features[row], labels[row]) for row in rows))
        accuracies.append(pair_accuracy(classifier, features[held], labels[held]))
    return _result(accuracies, protocol)


@torch.no_grad()
def pair_accuracy(
    classifier: nn.Module, features: Float[Tensor, "pair feature"], labels: Int[Tensor, " pair"]
) -> float:
    """Share of the pairs that a classifier tells right, 0 to 1."""
    return float((classifier(features).argmax(dim=1) == labels).double().mean())


def _folds(is_same: np.ndarray, fold: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Rows outside and inside each fold, checked."""
    if len(fold) != len(is_same):
        raise DataError(f"{len(fold)} folds for {len(is_same)} pairs were given; wanted one for each pair.")
    count = int(fold.max()) + 1 if len(fold) else 0
    if count < 2:
        raise DataError(f"{len(fold)} pairs in {count} folds were given; wanted two folds at least. Give more pairs.")
    for k in range(count):
        rest, held = np.flatnonzero(fold != k), np.flatnonzero(fold == k)
        if len(held) == 0:
            raise DataError(f"Fold {k} of {count} has no pair; wanted one at least. Number the folds without gaps.")
        if is_same[rest].all() or not is_same[rest].any():
            raise DataError(
                f"The pairs outside fold {k} all show {'one person' if is_same[rest].all() else 'two people'}; wanted "
                "both kinds. Give more pairs."
            )
        yield rest, held


def _result(accuracies: list[float], protocol: str, thresholds: tuple[float, ...] = ()) -> VerificationResult:
    return VerificationResult(
        accuracies=tuple(accuracies),
        mean=float(np.mean(accuracies)),
        std=float(np.std(accuracies)),
        protocol=protocol,
        thresholds=thresholds,
    )
