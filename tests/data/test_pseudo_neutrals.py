"""Faces at rest, estimated from scans in which a few move what most leave alone."""

import numpy as np
import pytest

from meshdisent.data import pseudo_neutrals as room
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.pseudo_neutrals import mean_neutral, median_neutral, mode_neutral, pseudo_neutrals
from meshdisent.errors import DataError
from meshdisent.mesh.topology import Topology

NOISE = 0.05
ASIDE = np.array([10.0, 0, 0])


@pytest.fixture(scope="module")
def topology(shapes) -> Topology:
    vertices, faces = shapes.sphere(2)
    return Topology(80 * vertices, faces)


@pytest.fixture(scope="module")
def is_mouth(topology):
    """A region of about a fifth of the sphere."""
    return topology.template[:, 1] < -45


def twenty(topology, is_mouth, moved=3, seed=0, count=20):
    """Scans with scanner noise, in ``moved`` of which the mouth lies 4 to 6 mm further down."""
    random = np.random.default_rng(seed)
    scans = topology.template + random.normal(0, NOISE, (count, *topology.template.shape))
    for k in range(moved):
        scans[5 * k % count, is_mouth] += [0, -4.0 - k, 0]
    return scans


def error(estimate, topology):
    return np.linalg.norm(estimate - topology.template, axis=1)


def test_the_mode_is_exact_within_noise_where_the_mean_is_not(topology, is_mouth):
    scans = twenty(topology, is_mouth)
    of_mode, of_median, of_mean = (
        error(method(scans, topology), topology)[is_mouth].mean()
        for method in (mode_neutral, median_neutral, mean_neutral)
    )
    assert of_mean > 0.7, "three scans of twenty, 5 mm off"
    assert of_mode < NOISE
    assert of_mode < of_median < of_mean
    elsewhere = error(mode_neutral(scans, topology), topology)[~is_mouth]
    assert elsewhere.max() < 3 * NOISE


def test_the_mode_holds_where_nearly_half_of_the_scans_move_differently(topology, is_mouth):
    scans = twenty(topology, is_mouth, moved=0)
    for k in range(11):  # eleven scans of twenty, each its own way: nine agree
        angle = np.pi * k / 20
        scans[k, is_mouth] += [4 * np.cos(angle), 4 * np.sin(angle), 0]
    assert error(mode_neutral(scans, topology), topology)[is_mouth].mean() < NOISE
    assert error(median_neutral(scans, topology), topology)[is_mouth].mean() > 0.1


def test_neighbors_decide_together(topology):
    """At one vertex nine scans of twenty happen to meet, but around it they do not agree."""
    random = np.random.default_rng(1)
    scans = topology.template + random.normal(0, 0.16, (20, 162, 3))
    scans[:9] += random.normal(0, 1.0, (9, 162, 3))
    scans[:9, 40] = topology.template[40] + np.array([3.0, 0, 0])
    assert error(mode_neutral(scans, topology, rings=0), topology)[40] > 2.5
    assert error(mode_neutral(scans, topology), topology)[40] < 0.3


def test_of_a_few_scans_the_geometric_median_is_taken(topology, is_mouth):
    scans = twenty(topology, is_mouth, count=9)
    assert np.array_equal(mode_neutral(scans, topology), median_neutral(scans, topology))
    assert not np.array_equal(
        mode_neutral(twenty(topology, is_mouth, count=10), topology), median_neutral(scans, topology)
    )


def test_the_geometric_median_has_the_smallest_sum_of_distances(topology, is_mouth):
    scans = twenty(topology, is_mouth, count=7)
    median = median_neutral(scans, topology)

    def total(points):
        return np.linalg.norm(scans - points, axis=2).sum(axis=0)

    best = total(median)
    for step in np.concatenate([np.eye(3), -np.eye(3)]) * 0.02:
        assert (total(median + step) >= best - 1e-9).all()


def test_the_geometric_median_of_equal_scans_is_that_scan(topology):
    same = np.repeat(topology.template[None], 5, axis=0)
    np.testing.assert_allclose(median_neutral(same, topology), topology.template, atol=1e-12)


def test_the_mean_is_the_mean_in_double_precision(topology, is_mouth):
    scans = twenty(topology, is_mouth).astype(np.float32)
    estimate = mean_neutral(scans, topology)
    assert estimate.dtype == np.float64
    np.testing.assert_allclose(estimate, scans.astype(np.float64).mean(axis=0), atol=1e-12)


def test_of_many_scans_evenly_spaced_ones_decide(topology, is_mouth, monkeypatch):
    scans = twenty(topology, is_mouth)
    monkeypatch.setattr(room, "MOST_FOR_MODE", 16)
    few = mode_neutral(scans, topology)
    rows = np.linspace(0, 19, 16).round().astype(int)
    monkeypatch.undo()
    assert np.array_equal(few, mode_neutral(scans[rows], topology))
    assert error(few, topology).max() < 5 * NOISE


def test_the_order_of_the_scans_does_not_matter(topology, is_mouth):
    scans = twenty(topology, is_mouth)
    order = np.random.default_rng(3).permutation(20)
    for method in (mean_neutral, median_neutral, mode_neutral):
        np.testing.assert_allclose(method(scans, topology), method(scans[order], topology), atol=1e-5)


@pytest.fixture(scope="module")
def scans(topology, is_mouth):
    """Three people: twenty scans of one, six of another, and one who is in the test split only. Neutrals are known."""
    parts = [twenty(topology, is_mouth, seed=1), twenty(topology, is_mouth, seed=2, count=6) + ASIDE]
    parts.append(twenty(topology, is_mouth, seed=3, count=2))
    return ScanDataset.from_arrays(
        np.concatenate(parts),
        topology.faces,
        ["anna"] * 20 + ["ben"] * 6 + ["cleo"] * 2,
        ["?"] * 28,
        template=topology.template,
        split=["train"] * 26 + ["test"] * 2,
        truth={"anna": topology.template, "ben": topology.template + ASIDE, "cleo": topology.template},
    )


@pytest.mark.parametrize("method", ["mean", "median", "mode"])
def test_every_subject_with_training_scans_has_its_own_estimate(scans, topology, method):
    estimates = pseudo_neutrals(scans, method)
    assert estimates.dtype == np.float64
    function = room.PSEUDO_NEUTRALS[method]
    np.testing.assert_allclose(estimates[0], function(scans.vertices(np.arange(20)), topology), atol=1e-12)
    np.testing.assert_allclose(estimates[1], function(scans.vertices(np.arange(20, 26)), topology), atol=1e-12)
    assert np.isnan(estimates[2]).all(), "cleo has no training scans"


def test_known_neutrals_are_those_of_the_dataset(scans, topology):
    estimates = pseudo_neutrals(scans, "known")
    np.testing.assert_allclose(estimates[0], topology.template, atol=1e-5)
    np.testing.assert_allclose(estimates[1], topology.template + ASIDE, atol=1e-5)
    assert np.isnan(estimates[2]).all()


def test_known_neutrals_that_are_missing_are_named_with_a_way_out(scans, topology):
    unknown = ScanDataset.from_arrays(
        scans.vertices(), topology.faces, ["anna"] * 20 + ["ben"] * 8, ["?"] * 28, split=["train"] * 28
    )
    with pytest.raises(DataError, match=r"2 training subjects have no known neutral \(first: anna\).*mode"):
        pseudo_neutrals(unknown, "known")
