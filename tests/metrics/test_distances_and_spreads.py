"""Metrics: invariants, slow twins, and the cases where there is nothing to measure."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent import metrics
from meshdisent.metrics import leakage

SPREADS = [metrics.spread_a, metrics.spread_b, metrics.spread_drl, metrics.spread_per_vertex]
GROUP = np.array([2, 0, 2, 0, 2, 5])


@pytest.fixture
def random():
    return np.random.default_rng(0)


def faces(random, count=6, vertices=10):
    return random.normal(size=(count, vertices, 3))


def rigid(random, points):
    """A random rotation and translation of everything alike."""
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    return points @ rotation + random.normal(size=3)


def test_distances_are_in_float64_whatever_comes_in():
    near = np.float32(1e6) * np.ones((1, 1, 3), np.float32)
    assert metrics.vertex_distance(near, near + np.float64(1e-3)).item() == pytest.approx(3**0.5 * 1e-3)


def test_e_avd_equals_a_loop_and_is_restricted_by_a_mask(random):
    made, scans = faces(random), faces(random)
    chosen = np.arange(10) % 3 == 0
    for mask, rows in ((None, range(10)), (chosen, [0, 3, 6, 9])):
        slow = [np.mean([np.linalg.norm(made[n, v] - scans[n, v]) for v in rows]) for n in range(6)]
        np.testing.assert_allclose(metrics.e_avd(made, scans, mask), slow, rtol=1e-14)


def test_e_avd_of_single_precision_scans_is_that_of_the_same_numbers_in_double(random):
    made, scans = (faces(random).astype(np.float32) for _ in range(2))
    expected = metrics.e_avd(made.astype(np.float64), scans.astype(np.float64))
    np.testing.assert_array_equal(metrics.e_avd(made, scans), expected)


def test_e_neu_takes_each_scan_to_its_own_subject(random):
    neutralized, neutrals, subject = faces(random), faces(random, 3), np.array([2, 0, 2, 1, 1, 0])
    expected = metrics.e_avd(neutralized, neutrals[subject])
    np.testing.assert_array_equal(metrics.e_neu(neutralized, neutrals, subject), expected)
    mask = np.arange(10) < 4
    expected = metrics.e_avd(neutralized, neutrals[subject], mask)
    np.testing.assert_array_equal(metrics.e_neu(neutralized, neutrals, subject, mask), expected)


@pytest.mark.parametrize("spread", SPREADS)
def test_spreads_do_not_change_when_all_faces_move_rigidly(spread, random):
    group, points = np.array([0, 1, 0, 1, 1, 1]), faces(random)
    moved = rigid(random, points)
    np.testing.assert_allclose(spread(moved, group)[1], spread(points, group)[1], rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("spread", SPREADS)
def test_spreads_are_in_the_unit_of_the_faces(spread, random):
    points = faces(random)
    np.testing.assert_allclose(spread(1000 * points, GROUP)[1], 1000 * spread(points, GROUP)[1], atol=1e-12)


@pytest.mark.parametrize("spread", SPREADS)
def test_spreads_do_not_depend_on_the_order_of_scans(spread, random):
    points, order = faces(random), random.permutation(6)
    for ours, theirs in zip(spread(points[order], GROUP[order]), spread(points, GROUP), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-13)


@pytest.mark.parametrize("spread", SPREADS)
def test_spreads_leave_unknown_labels_out_and_are_zero_for_a_single_scan(spread, random):
    points, group = faces(random), np.array([-1, 4, 4, -1, -1, 7])
    groups, values = spread(points, group)
    assert groups.tolist() == [4, 7]
    assert values[0] == spread(points[1:3], group[1:3])[1].item() > 0
    assert values[1] == 0


@pytest.mark.parametrize("spread", SPREADS)
def test_a_mask_is_the_same_as_leaving_vertices_out(spread, random):
    points, mask = faces(random), np.arange(10) % 2 == 0
    np.testing.assert_array_equal(spread(points, GROUP, mask)[1], spread(points[:, mask], GROUP)[1])


def test_a_constant_spread_hides_from_a_and_not_from_b():
    offset = np.array([0.7, 0, 0])
    points = np.stack([np.zeros((5, 3)) + offset, np.zeros((5, 3)) - offset])
    group = np.zeros(2, np.int64)
    assert metrics.spread_a(points, group)[1].item() == pytest.approx(0)
    assert metrics.spread_b(points, group)[1].item() == pytest.approx(0.7)


def test_b_squared_is_a_squared_plus_the_mean_distance_squared(random):
    points, group = faces(random), np.zeros(6, np.int64)
    mean_distance = metrics.vertex_distance(points, np.broadcast_to(points.mean(0), points.shape)).mean()
    a, b = (spread(points, group)[1].item() for spread in (metrics.spread_a, metrics.spread_b))
    assert b**2 == pytest.approx(a**2 + mean_distance**2)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 1000), scans=st.integers(2, 40), labels=st.integers(1, 5), block=st.integers(1, 50))
def test_leak_equals_a_loop_whatever_the_block(seed, scans, labels, block):
    random = np.random.default_rng(seed)
    codes, label = random.normal(size=(scans, 3)), random.integers(0, labels, scans)
    std = np.array([1.0, 5.0, 0.2])
    scaled = codes / std
    hits = []
    for n in range(scans):
        distance = np.linalg.norm(scaled - scaled[n], axis=1)
        distance[n] = np.inf
        hits.append(label[distance.argmin()] == label[n])
    result = metrics.leak(codes, std, label)
    assert result["rate"] == pytest.approx(np.mean(hits))
    pairs = [label[m] == label[n] for n in range(scans) for m in range(scans) if m != n]
    assert result["chance"] == pytest.approx(np.mean(pairs))
    expected = leakage.nearest_other(scaled, block=1)
    np.testing.assert_array_equal(leakage.nearest_other(scaled, block), expected)


def test_leak_finds_a_label_written_into_the_code_and_none_in_noise(random):
    label = np.repeat(np.arange(20), 10)
    noise = random.normal(size=(200, 4))
    told = metrics.leak(noise + 100.0 * label[:, None], np.ones(4), label)
    hidden = metrics.leak(noise, np.ones(4), label)
    assert told["rate"] == 1
    assert hidden["rate"] == pytest.approx(hidden["chance"], abs=0.08)


def test_leak_keeps_its_digits_when_codes_are_far_from_the_origin(random):
    label = np.repeat(np.arange(20), 10)
    codes = label[:, None] + 0.01 * random.normal(size=(200, 4))
    assert metrics.leak(codes + 1e8, np.ones(4), label)["rate"] == 1


def test_leak_does_not_divide_by_a_training_deviation_of_zero(random):
    label = np.repeat(np.arange(4), 5)
    codes = np.column_stack([10.0 * label, np.full(20, 3.0)])
    assert metrics.leak(codes, np.array([5.0, 0.0]), label)["rate"] == 1
    collapsed = metrics.leak(np.zeros((20, 2)), np.zeros(2), label)
    assert collapsed["rate"] == pytest.approx(collapsed["chance"], abs=0.1)


def test_leak_leaves_unknown_labels_out():
    codes = np.array([[0.0], [0.1], [0.2], [9.0]])
    assert metrics.leak(codes, np.ones(1), np.array([3, -1, 3, 1]))["rate"] == pytest.approx(2 / 3)
    assert metrics.leak(codes, np.ones(1), np.array([3, -1, -1, -1])) == {"rate": None, "chance": None}


@given(vertices=st.integers(1, 60), seed=st.integers(0, 100))
def test_moving_vertices_are_exactly_the_share_that_moves_most(vertices, seed):
    lengths = np.random.default_rng(seed).integers(0, 4, (3, vertices)).astype(float)
    mask = metrics.moving_vertices(lengths)
    mean = lengths.mean(0)
    assert mask.sum() == round(0.3 * vertices)
    if 0 < mask.sum() < vertices:
        assert mean[mask].min() >= mean[~mask].max()
        edge = mean == mean[mask].min()
        if edge.any():  # among equals, the lower index first
            assert (np.diff(mask[edge].astype(int)) <= 0).all()
    np.testing.assert_array_equal(metrics.moving_vertices(mean), mask)


def test_a_summary_of_nothing_is_none():
    assert metrics.summary(np.array([]), np.array([])) == dict.fromkeys(("mean", "std", "median", "moving"))
    only = metrics.summary(np.array([2.0]))
    assert only == {"mean": 2.0, "std": 0.0, "median": 2.0, "moving": None}
    assert all(value is None or type(value) is float for value in only.values())  # JSON takes no NumPy numbers
