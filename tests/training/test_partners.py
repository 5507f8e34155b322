"""Partners of scans: uniform, of the right subject, and the same whenever they are drawn."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.training.partners import Partners

SUBJECT = np.array([4, 0, 4, 7, 0, 4, 7, 7, 7, 2])


def test_partners_of_the_same_subject_are_uniform_and_may_be_the_scan_itself():
    partners, positions = Partners(SUBJECT, seed=1), np.zeros(6000, np.int64)
    drawn, is_same = partners.draw(positions, number=0, kind="same_subject")
    assert is_same.all()
    values, counts = np.unique(drawn, return_counts=True)
    assert values.tolist() == [0, 2, 5]
    assert np.abs(counts / 2000 - 1).max() < 0.1


def test_a_fair_coin_decides_and_others_are_uniform():
    partners = Partners(SUBJECT, seed=1)
    for scan in range(len(SUBJECT)):
        drawn, is_same = partners.draw(np.full(9000, scan), number=scan, kind="coin")
        assert 0.47 < is_same.mean() < 0.53
        assert ((SUBJECT[drawn] == SUBJECT[scan]) == is_same).all()
        values, counts = np.unique(drawn[~is_same], return_counts=True)
        assert values.tolist() == np.flatnonzero(SUBJECT[scan] != SUBJECT).tolist()
        assert np.abs(counts / counts.mean() - 1).max() < 0.2


def test_the_same_batch_draws_the_same_partners_and_another_does_not():
    one, two, other = Partners(SUBJECT, seed=1), Partners(SUBJECT, seed=1), Partners(SUBJECT, seed=2)
    positions = np.arange(10).repeat(5)
    first = one.draw(positions, number=5, kind="coin")
    one.draw(positions, number=6, kind="same_subject")
    assert all(np.array_equal(a, b) for a, b in zip(first, two.draw(positions, number=5, kind="coin"), strict=True))
    assert not np.array_equal(first[0], two.draw(positions, number=6, kind="coin")[0])
    assert not np.array_equal(first[0], other.draw(positions, number=5, kind="coin")[0])


def test_pairs_of_different_subjects_want_two_subjects():
    partners = Partners(np.zeros(4, np.int64), seed=0)
    assert partners.draw(np.arange(4), number=0, kind="same_subject")[1].all()
    with pytest.raises(DataError, match="all training scans are of one subject"):
        partners.draw(np.arange(4), number=0, kind="coin")
