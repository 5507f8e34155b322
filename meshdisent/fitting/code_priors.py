r"""Which numbers of a :class:`~meshdisent.fitting.code_space.CodeSpace` are likely, given what was seen of a face.

Identities follow the model's Gaussian, wider: it was measured on the people of the training, whose codes are those that
the model was made for, and the codes of others lie farther out (on wsdf-ict 1.6 deviations, of 180 people, with 128
numbers).

Expressions come in clusters (a smile, an open jaw), and a Gaussian over all of them holds many faces likely that nobody
makes. Where the model file has examples :math:`x_j` of expression codes, in standard normal numbers, the prior is a
kernel density about them,

.. math:: p(e) = \frac{1}{J} \sum_j N(e \mid s \, x_j, \kappa^2 I), \qquad s^2 + \kappa^2 = 1,

whose bandwidth :math:`\kappa` makes each example most likely under the others (on wsdf-ict 0.55, also best for people
it has not seen, who are then 12 nats more likely than by the Gaussian). Evidence that is Gaussian about a state, with
all else integrated out, meets each kernel in closed form. The mixture that results is replaced by the Gaussian of the
same mean and covariance: its mean is the expression of least expected error.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.special import logsumexp

#: Of identities, in deviations of the codes of training scans; see the module's first lines.
IDENTITY_SPREAD = 1.3
#: Bandwidths that are tried; 1 is the Gaussian.
BANDWIDTHS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
_FEWEST = 20  # examples that tell of clusters


class Term(NamedTuple):
    """What a prior adds to normal equations of the numbers about a state: to the curvature, and to the right side."""

    matrix: Float[np.ndarray, "number number"]
    right: Float[np.ndarray, " number"]


class GaussianPrior:
    """Every number by itself, those of the identity with a wider spread; see the module's first lines."""

    def __init__(self, identity_size: int, spread: float = IDENTITY_SPREAD):
        self.identity_size, self.identity_precision = identity_size, spread**-2.0

    def term(
        self,
        numbers: Float[np.ndarray, " number"],
        data: Float[np.ndarray, "unknown unknown"],
        right: Float[np.ndarray, " unknown"],
    ) -> Term:
        """The precision of each number and a pull to zero, whatever the data say."""
        precision = np.ones(len(numbers))
        precision[: self.identity_size] = self.identity_precision
        return Term(np.diag(precision), -precision * numbers)


class ClusteredPrior:
    """Gaussian identities, and expressions about examples; see the module's first lines."""

    def __init__(
        self,
        identity_size: int,
        examples: Float[np.ndarray, "example expression"],
        bandwidth: float,
        spread: float = IDENTITY_SPREAD,
    ):
        self.gaussian, self.bandwidth = GaussianPrior(identity_size, spread), bandwidth
        self.centers = (1 - bandwidth**2) ** 0.5 * examples

    def term(
        self,
        numbers: Float[np.ndarray, " number"],
        data: Float[np.ndarray, "unknown unknown"],
        right: Float[np.ndarray, " unknown"],
    ) -> Term:
        """The Gaussian that, together with the data, has the mean and covariance of the mixture's posterior."""
        count, first = len(numbers), self.gaussian.identity_size
        matrix, vector = self.gaussian.term(numbers, data, right)
        shown, rest = np.arange(first, count), np.r_[0:first, count : len(data)]
        others = data[np.ix_(rest, rest)] + 1e-9 * np.eye(len(rest))
        others[:first, :first] += matrix[:first, :first]
        pull = right[rest].copy()
        pull[:first] += vector[:first]
        cross = data[np.ix_(shown, rest)]
        solved = scipy.linalg.solve(others, np.column_stack([cross.T, pull]), assume_a="pos")
        evidence = data[np.ix_(shown, shown)] - cross @ solved[:, :-1]
        evidence = (evidence + evidence.T) / 2
        towards = right[shown] - cross @ solved[:, -1]
        mean, covariance = self._meet(evidence, towards, numbers[first:])
        together = np.linalg.inv(covariance)
        matrix[first:, first:] = together - evidence
        vector[first:] = together @ mean - towards
        return Term(matrix, vector)

    def _meet(self, evidence: np.ndarray, towards: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Mean (relative to ``at``) and covariance of the posterior of the expression."""
        precision = evidence + np.eye(len(at)) / self.bandwidth**2
        inverse = np.linalg.inv(precision)
        away = self.centers - at
        pulled = towards + away / self.bandwidth**2  # (J, E)
        means = pulled @ inverse
        likely = 0.5 * ((pulled * means).sum(axis=1) - (away**2).sum(axis=1) / self.bandwidth**2)
        shares = np.exp(likely - logsumexp(likely))
        mean = shares @ means
        spread = means - mean
        return mean, inverse + (spread * shares[:, None]).T @ spread


CodesPrior = GaussianPrior | ClusteredPrior


def prior_of(identity_size: int, examples: Float[np.ndarray, "example expression"] | None) -> CodesPrior:
    """The prior that makes examples most likely: clusters, or the Gaussian where these do not help.

    Parameters
    ----------
    identity_size : Numbers of the identity, which stand first.
    examples : (J, E) Expressions of some training scans in standard normal numbers; None if the model has none.
    """
    if examples is None or len(examples) < _FEWEST or not examples.shape[1]:
        return GaussianPrior(identity_size)
    gaussian = -0.5 * (examples**2).sum(axis=1).mean()
    likely = {bandwidth: _left_out(examples, bandwidth) for bandwidth in BANDWIDTHS}
    best = max(likely, key=lambda bandwidth: likely[bandwidth])
    return ClusteredPrior(identity_size, examples, best) if likely[best] > gaussian else GaussianPrior(identity_size)


def _left_out(examples: np.ndarray, bandwidth: float) -> float:
    """Mean log density of each example under the kernels of all others, without the constant of the Gaussian."""
    centers = (1 - bandwidth**2) ** 0.5 * examples
    apart = (examples**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * examples @ centers.T
    density = -apart / (2 * bandwidth**2) - examples.shape[1] * np.log(bandwidth)
    np.fill_diagonal(density, -np.inf)
    return float((logsumexp(density, axis=1) - np.log(len(examples) - 1)).mean())
