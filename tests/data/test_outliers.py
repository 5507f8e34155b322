"""Unlikely scans are found, and nothing is dropped by chance."""

import numpy as np
import pytest

from meshdisent.data.outliers import drop_unlikely, unlikeliness
from meshdisent.errors import DataError


@pytest.fixture(scope="module")
def scans():
    """400 scans of 30 vertices from 8 directions; rows 33, 250 and 251 lie far out in some of them."""
    draw = np.random.default_rng(0)
    codes = draw.normal(size=(400, 8))
    codes[33, 5] = 9.0
    codes[[250, 251], 2] = -8.0
    directions = draw.normal(size=(8, 90)) * 10.0 ** np.linspace(1, -1, 8)[:, None]
    return (100 + codes @ directions + 1e-3 * draw.normal(size=(400, 90))).reshape(400, 30, 3)


def plain(flat, components):
    centered = flat - flat.mean(axis=0)
    _, values, right = np.linalg.svd(centered, full_matrices=False)
    return ((centered @ right[:components].T / values[:components]) ** 2).sum(axis=1)


@pytest.mark.parametrize(("components", "tolerance"), [(1, 1e-9), (8, 1e-9), (40, 1e-3)])
def test_the_score_is_the_length_in_whitened_components(scans, components, tolerance):
    # Beyond the 8 directions there is only noise, a hundred thousand times smaller.
    expected = plain(scans.reshape(400, -1), components)
    np.testing.assert_allclose(unlikeliness(scans, components), expected, rtol=tolerance)


def test_scores_sum_to_the_number_of_components(scans):
    np.testing.assert_allclose(unlikeliness(scans, 20).sum(), 20)
    np.testing.assert_allclose(unlikeliness(scans).sum(), 90)  # 100 at most, but there are only 90 numbers in a scan


def test_far_scans_are_dropped_whatever_the_size_of_their_direction(scans):
    assert drop_unlikely(scans, 3 / 400, components=8).tolist() == [33, 250, 251]


def test_blocks_change_nothing(scans, monkeypatch):
    whole = unlikeliness(scans.astype(np.float32), 8)
    monkeypatch.setattr("meshdisent.data.outliers._NUMBERS_AT_ONCE", 1000)
    np.testing.assert_allclose(unlikeliness(scans.astype(np.float32), 8), whole, rtol=1e-6)


@pytest.mark.parametrize(("fraction", "count"), [(0.0, 0), (0.05, 20), (0.29, 116), (0.0024, 0), (0.0025, 1)])
def test_so_many_are_dropped(scans, fraction, count):
    dropped = drop_unlikely(scans, fraction)
    assert len(dropped) == count
    assert (np.diff(dropped) > 0).all()


def test_a_fraction_that_rounds_to_nothing_drops_nothing(scans):
    assert drop_unlikely(scans[:19], 0.05).tolist() == []  # the published slice would drop all 19


def test_where_all_are_alike_none_is_dropped(scans):
    assert drop_unlikely(scans[:60], 0.05, components=100).tolist() == []  # every score is 1 - 1/60
    assert drop_unlikely(np.ones((60, 4, 3)), 0.05).tolist() == []
    assert drop_unlikely(scans[:3], 0.5).tolist() == []


def test_few_scans_are_told_apart_by_few_components():
    draw = np.random.default_rng(1)
    scans = draw.normal(size=(60, 40, 3))
    scans[7] += 6.0
    assert 7 in drop_unlikely(scans, 0.05)


def test_what_cannot_be_scored_is_refused(scans):
    with pytest.raises(DataError, match=r"A fraction of 1.0 of the scans was to be dropped; wanted 0 or more"):
        drop_unlikely(scans, 1.0)
    with pytest.raises(DataError, match="among no scans"):
        unlikeliness(scans[:0])
    spoiled = scans.copy()
    spoiled[12, 3, 1] = np.inf
    with pytest.raises(DataError, match="Scan 12 has a coordinate that is not finite"):
        unlikeliness(spoiled)
