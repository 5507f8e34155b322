"""Bootstrap intervals over subjects, against plain loops and against what statistics says."""

import numpy as np
import pytest

from meshdisent.metrics import Resampling, difference, interval

PEOPLE = np.array([2, 5, 9])


@pytest.fixture
def resampling():
    return Resampling(PEOPLE, seed=3, count=50)


def test_every_draw_holds_as_many_people_as_there_are(resampling):
    assert resampling.times.shape == (50, 3)
    assert (resampling.times.sum(axis=1) == 3).all()


def test_means_are_those_of_the_drawn_people_with_all_their_scans(resampling):
    values, subject = np.array([1.0, 2.0, 3.0, 10.0, 20.0, 7.0]), np.array([2, 2, 2, 5, 5, 9])
    slow = []
    for times in resampling.times:
        drawn = [x for s, n in zip(PEOPLE, times, strict=True) for _ in range(int(n)) for x in values[subject == s]]
        slow.append(np.mean(drawn))
    np.testing.assert_allclose(resampling.means(values, subject), slow, rtol=1e-14)


def test_the_order_of_scans_does_not_matter(resampling):
    random = np.random.default_rng(0)
    values, subject, order = random.normal(size=30), random.choice(PEOPLE, 30), random.permutation(30)
    np.testing.assert_allclose(
        resampling.means(values[order], subject[order]), resampling.means(values, subject), rtol=1e-12, atol=1e-14
    )


def test_the_same_seed_draws_the_same_people_and_another_does_not():
    first, again, other = (Resampling(PEOPLE, seed).times for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_draws_without_anybody_who_has_a_value_are_not_defined():
    resampling = Resampling(PEOPLE, count=500)
    draws = resampling.means(np.array([4.0, 6.0]), np.array([2, 5]))
    nobody = resampling.times[:, :2].sum(axis=1) == 0
    assert nobody.any()
    np.testing.assert_array_equal(np.isnan(draws), nobody)


def test_one_person_says_nothing_of_others(resampling):
    assert interval(resampling.means(np.array([4.0, 6.0]), np.array([5, 5]))) is None


def test_spreads_of_everybody_once_are_those_of_the_group():
    everybody = Resampling(PEOPLE, count=1)
    everybody.__dict__["times"] = np.ones((1, 3))
    random = np.random.default_rng(0)
    distance = random.uniform(size=(6, 20))
    a, b = everybody.spreads(distance.mean(1), np.square(distance).mean(1), np.repeat(PEOPLE, 2))
    assert a.item() == pytest.approx(distance.std())
    assert b.item() == pytest.approx(np.sqrt(np.square(distance).mean()))


def test_spreads_weigh_each_scan_as_often_as_its_subject_was_drawn(resampling):
    random = np.random.default_rng(0)
    distance, subject = random.uniform(size=(6, 20)), np.repeat(PEOPLE, 2)
    a, b = resampling.spreads(distance.mean(1), np.square(distance).mean(1), subject)
    for k, times in enumerate(resampling.times):
        drawn = np.repeat(distance, np.repeat(times.astype(int), 2), axis=0)
        assert a[k] == pytest.approx(drawn.std())
        assert b[k] == pytest.approx(np.sqrt(np.square(drawn).mean()))


def test_the_interval_of_a_mean_is_as_wide_as_theory_says():
    random = np.random.default_rng(1)
    people = np.arange(200)
    values = random.normal(5.0, 2.0, 200)
    low, high = interval(Resampling(people).means(values, people))
    assert (high - low) / 2 == pytest.approx(1.96 * values.std() / np.sqrt(200), rel=0.06)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.02)


def test_ten_scans_of_a_person_are_not_ten_people():
    random = np.random.default_rng(2)
    people = np.arange(20)
    means = random.normal(size=20)
    once = interval(Resampling(people).means(means, people))
    ten = interval(Resampling(people).means(np.repeat(means, 10), np.repeat(people, 10)))
    assert ten == pytest.approx(once)


def test_about_95_of_100_intervals_hold_the_truth():
    random = np.random.default_rng(4)
    people = np.arange(40)
    held = 0
    for seed in range(200):
        low, high = interval(Resampling(people, seed, 500).means(random.exponential(size=40), people))
        held += low <= 1.0 <= high
    assert 0.88 <= held / 200 <= 0.98


def test_a_constant_lead_is_told_although_the_intervals_overlap():
    people = np.arange(30)
    hard = np.random.default_rng(0).uniform(1.0, 3.0, 30)
    resampling = Resampling(people)
    first, second = resampling.means(hard, people), resampling.means(hard + 0.05, people)
    assert interval(first)[1] > interval(second)[0]
    assert difference(first, second) == pytest.approx((-0.05, -0.05))


def test_with_most_draws_undefined_there_is_no_interval():
    draws = np.array([1.0, 2.0, np.nan, np.nan, np.nan])
    assert interval(draws) is None
    assert interval(draws[:4]) is not None
