r"""Which numbers of a :class:`~meshdisent.fitting.code_space.CodeSpace` are likely, given what the evidence says of them.

Identities follow the model's Gaussian. Expressions come in clusters (a smile, an open jaw), and a Gaussian over all of
them holds many faces likely that nobody makes; where the model file has examples :math:`x_j` of expression codes, in
standard normal numbers, the prior is a kernel density about them,

.. math:: p(e) = \frac{1}{J} \sum_j N(e \mid s \, x_j, \kappa^2 I), \qquad s^2 + \kappa^2 = 1,

whose bandwidth :math:`\kappa` makes the examples most likely without themselves (on wsdf-ict 0.55 to 0.6, both for its
examples and for people it has not seen, who are then 12 nats more likely than by the Gaussian). Evidence that is
Gaussian about a state, with all else integrated out, meets each kernel in closed form. The mixture that results is
replaced by the Gaussian of the same mean and covariance: its mean is the expression of least expected error.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float
from scipy.special import logsumexp

#: Bandwidths that are tried; 1 is the Gaussian.
BANDWIDTHS = (0.25, 0.3, 0.35, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8)
_FEWEST = 20  # examples that tell of clusters


class Term(NamedTuple):
    """What a prior adds to normal equations of the numbers about a state: to the curvature, and to the right side."""

    matrix: Float[np.ndarray, "number number"]
    right: Float[np.ndarray, " number"]


class GaussianPrior:
    """Every number by itself, with variance one."""

    def term(
        self,
        numbers: Float[np.ndarray, " number"],
        data: Float[np.ndarray, "unknown unknown"],
        right: Float[np.ndarray, " unknown"],
    ) -> Term:
        """Add one to the curvature and pull to zero, whatever the data say."""
        return Term(np.eye(len(numbers)), -numbers)


class ClusteredPrior:
    """Gaussian identities, and expressions about examples; see the module's first lines."""

    def __init__(self, identity_size: int, examples: Float[np.ndarray, "example expression"], bandwidth: float):
        self.identity_size, self.bandwidth = identity_size, bandwidth
        self.centers = (1 - bandwidth**2) ** 0.5 * examples

    def term(
        self,
        numbers: Float[np.ndarray, " number"],
        data: Float[np.ndarray, "unknown unknown"],
        right: Float[np.ndarray, " unknown"],
    ) -> Term:
        """The Gaussian that, together with the data, has the mean and covariance of the mixture's posterior."""
        count, first = len(numbers), self.identity_size
        shown, rest = np.arange(first, count), np.r_[0:first, count : len(data)]
        others = data[np.ix_(rest, rest)] + 1e-9 * np.eye(len(rest))
        others[range(first), range(first)] += 1.0
        pull = right[rest].copy()
        pull[:first] -= numbers[:first]
        cross = data[np.ix_(shown, rest)]
        solved = scipy.linalg.solve(others, np.column_stack([cross.T, pull]), assume_a="pos")
        evidence = data[np.ix_(shown, shown)] - cross @ solved[:, :-1]
        towards = right[shown] - cross @ solved[:, -1]
        mean, covariance = self._meet((evidence + evidence.T) / 2, towards, numbers[first:])
        matrix, vector = np.eye(count), -numbers
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
        return GaussianPrior()
    gaussian = -0.5 * (examples**2).sum(axis=1).mean()
    likely = {bandwidth: _left_out(examples, bandwidth) for bandwidth in BANDWIDTHS}
    best = max(likely, key=lambda bandwidth: likely[bandwidth])
    return ClusteredPrior(identity_size, examples, best) if likely[best] > gaussian else GaussianPrior()


def _left_out(examples: np.ndarray, bandwidth: float) -> float:
    """Mean log density of each example under the kernels of all others, without the constant of the Gaussian."""
    centers = (1 - bandwidth**2) ** 0.5 * examples
    apart = (examples**2).sum(axis=1)[:, None] + (centers**2).sum(axis=1) - 2 * examples @ centers.T
    density = -apart / (2 * bandwidth**2) - examples.shape[1] * np.log(bandwidth)
    np.fill_diagonal(density, -np.inf)
    return float((logsumexp(density, axis=1) - np.log(len(examples) - 1)).mean())
