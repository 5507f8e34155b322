"""Priors of numbers: one Gaussian, and kernels about examples, met with Gaussian evidence."""

import numpy as np

from meshdisent.fitting.code_priors import ClusteredPrior, GaussianPrior, prior_of


def clusters(seed=0):
    random = np.random.default_rng(seed)
    return np.concatenate([c + 0.2 * random.normal(size=(40, 2)) for c in ([1.4, 0.0], [-1.4, 0.0], [0.0, 1.0])])


def posterior(prior, numbers, data, right):
    """Mean and covariance of the numbers, and of what stands behind them, under evidence."""
    term, count = prior.term(numbers, data, right), len(numbers)
    matrix, vector = data.copy(), right.copy()
    matrix[:count, :count] += term.matrix
    vector[:count] += term.right
    return numbers + np.linalg.solve(matrix, vector)[:count], np.linalg.inv(matrix)[:count, :count]


def test_a_gaussian_pulls_to_zero_and_identities_less():
    term = GaussianPrior(1, spread=2.0).term(np.array([4.0, 3.0]), np.zeros((2, 2)), np.zeros(2))
    assert term.matrix.tolist() == [[0.25, 0.0], [0.0, 1.0]]
    assert term.right.tolist() == [-1.0, -3.0]


def test_without_evidence_the_moments_are_those_of_the_kernels():
    prior = ClusteredPrior(1, clusters(), 0.5, spread=1.5)
    data = np.zeros((4, 4))
    data[3, 3] = 1.0  # a pose, which knows nothing of expressions
    mean, covariance = posterior(prior, np.array([0.3, -0.2, 0.4]), data, np.zeros(4))
    np.testing.assert_allclose(mean, [0.0, *prior.centers.mean(axis=0)], atol=1e-6)
    expected = np.cov(prior.centers.T, bias=True) + 0.25 * np.eye(2)
    np.testing.assert_allclose(covariance[1:, 1:], expected, atol=1e-6)
    np.testing.assert_allclose(covariance[0, 0], 1.5**2, atol=1e-6)


def test_evidence_of_one_coordinate_chooses_the_cluster_that_knows_the_other():
    prior = ClusteredPrior(0, clusters(), 0.2)
    # A precise look at the second coordinate says 1: only the third cluster has that, at a first coordinate of 0.
    data, right = np.diag([0.0, 400.0]), np.array([0.0, 400.0])
    mean, covariance = posterior(prior, np.zeros(2), data, right)
    assert np.abs(mean - [0.0, 0.97]).max() < 0.08
    assert covariance[0, 0] < 0.12
    gaussian = posterior(GaussianPrior(0), np.zeros(2), data, right)[1]
    assert gaussian[0, 0] > 0.9


def test_the_state_about_which_evidence_is_told_does_not_matter():
    prior, data = ClusteredPrior(0, clusters(), 0.3), np.array([[3.0, 1.0], [1.0, 2.0]])
    optimum = np.array([0.5, 0.2])  # of the evidence
    first = posterior(prior, np.zeros(2), data, data @ optimum)
    other = np.array([-1.0, 2.0])
    second = posterior(prior, other, data, data @ (optimum - other))
    np.testing.assert_allclose(first[0], second[0], atol=1e-9)
    np.testing.assert_allclose(first[1], second[1], atol=1e-9)


def test_clusters_are_found_where_they_are_and_not_where_they_are_not():
    assert isinstance(prior_of(3, clusters()), ClusteredPrior)
    assert isinstance(prior_of(3, None), GaussianPrior)
    assert isinstance(prior_of(3, clusters()[:10]), GaussianPrior)
    assert isinstance(prior_of(3, np.random.default_rng(0).normal(size=(60, 12))), GaussianPrior)
