"""Specificity and compactness against plain formulas."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.metrics import compactness, rigidly_aligned, specificity


@pytest.fixture
def random():
    return np.random.default_rng(0)


def test_specificity_is_the_distance_to_the_nearest_scan_whatever_the_blocks(random):
    samples, training = random.normal(size=(7, 9, 3)) + 500.0, random.normal(size=(20, 9, 3)) + 500.0
    between = samples[:, None] - training[None]
    nearest = np.square(between).sum(axis=(2, 3)).argmin(axis=1)
    expected = np.linalg.norm(between[np.arange(7), nearest], axis=2).mean(axis=1)
    for size in (1, 6, 20):
        blocks = [training[k : k + size] for k in range(0, 20, size)]
        np.testing.assert_allclose(specificity(samples, blocks), expected, rtol=1e-4)


def test_a_model_that_draws_its_training_scans_is_perfectly_specific(random):
    training = random.normal(size=(5, 9, 3)).astype(np.float32)
    assert specificity(training[[3, 0]], [training]).max() == pytest.approx(0.0, abs=1e-6)


def test_specificity_needs_training_scans(random):
    with pytest.raises(DataError, match="no training scan; wanted those that the model was trained on"):
        specificity(random.normal(size=(2, 9, 3)), [])


def test_compactness_takes_the_largest_first_and_ends_at_the_whole(random):
    variances = random.uniform(size=12)
    found = compactness(variances)
    assert found[-1] == pytest.approx(variances.sum())
    assert found[0] == variances.max()
    assert (np.diff(found, 2) <= 1e-12).all()
    assert compactness(np.zeros(0)).tolist() == []


def test_a_rigid_motion_is_taken_out_and_a_mirror_image_is_not(random):
    truth = random.normal(size=(3, 10, 3))
    rotation, _ = np.linalg.qr(random.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    moved = truth @ rotation + random.normal(size=3)
    np.testing.assert_allclose(rigidly_aligned(moved, truth), truth, atol=1e-12)
    mirrored = truth * np.array([-1.0, 1.0, 1.0])
    assert np.abs(rigidly_aligned(mirrored, truth) - truth).max() > 0.1


def test_a_face_without_a_truth_stays_where_it_is(random):
    truth, found = random.normal(size=(2, 10, 3)), random.normal(size=(2, 10, 3))
    truth[1] = np.nan
    placed = rigidly_aligned(found, truth)
    np.testing.assert_array_equal(placed[1], found[1])
    assert (placed[0] != found[0]).all()
