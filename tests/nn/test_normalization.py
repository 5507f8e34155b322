"""Standardized scans and back."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError
from meshdisent.nn.normalization import Normalization


@pytest.fixture
def scans():
    random = np.random.default_rng(0)
    return (random.normal(size=(12, 5, 3)) * np.arange(1, 6)[:, None] + 100).astype(np.float32)


def test_standardized_training_scans_have_mean_zero_and_deviation_one(scans):
    standardized = Normalization.of(scans)(torch.from_numpy(scans)).numpy()
    np.testing.assert_allclose(standardized.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(standardized.std(axis=0, ddof=1), 1, rtol=1e-5)


def test_in_millimeters_one_deviation_keeps_shapes(scans):
    normalization = Normalization.of(scans, "millimeters")
    assert normalization.deviation.shape == (1, 1)
    standardized = normalization(torch.from_numpy(scans)).numpy()
    assert np.square(standardized).sum(axis=0).mean() / 11 == pytest.approx(1, rel=1e-5)
    ratio = (scans - scans.mean(axis=0)) / standardized
    np.testing.assert_allclose(ratio, normalization.deviation.item(), rtol=1e-2)


@pytest.mark.parametrize("space", ["standardized", "millimeters"])
def test_undoing_gives_the_scans_back(scans, space):
    normalization = Normalization.of(scans, space)
    shown = torch.from_numpy(scans)
    torch.testing.assert_close(normalization.undo(normalization(shown)), shown, rtol=0, atol=2e-5)


def test_a_coordinate_that_never_changes_does_not_divide_by_zero(scans):
    scans[:, 2, 1] = 7.0
    normalization = Normalization.of(scans)
    whole = np.sqrt(scans.var(axis=0, ddof=1, dtype=np.float64).mean())
    assert normalization.deviation[2, 1].item() == pytest.approx(1e-3 * whole, rel=1e-5)
    assert (normalization(torch.from_numpy(scans))[:, 2, 1] == 0).all()
    assert normalization(torch.from_numpy(scans + 1)).isfinite().all()


def test_it_is_saved_with_the_model_and_does_not_share_memory(scans):
    mean, deviation = torch.zeros(5, 3), torch.ones(1, 1)
    normalization = Normalization(mean, deviation)
    mean += 1
    assert normalization.state_dict().keys() == {"mean", "deviation"}
    assert (normalization.mean == 0).all()
    assert list(normalization.parameters()) == []


def test_too_few_or_equal_scans_are_refused(scans):
    with pytest.raises(DataError, match=r"got 1 training scans; wanted at least 2"):
        Normalization.of(scans[:1])
    with pytest.raises(DataError, match=r"All training scans are the same"):
        Normalization.of(np.repeat(scans[:1], 4, axis=0))


@pytest.mark.parametrize("space", ["standardized", "millimeters"])
def test_in_blocks_it_is_the_same(scans, space):
    whole = Normalization.of(scans, space)
    parts = Normalization.of_blocks(lambda: np.array_split(scans, 4), space)
    torch.testing.assert_close(parts.state_dict(), whole.state_dict(), rtol=1e-6, atol=0)
    expected = scans.std(axis=0, ddof=1, dtype=np.float64)
    if space == "standardized":
        assert np.allclose(parts.deviation.numpy(), np.maximum(expected, 1e-3 * np.sqrt((expected**2).mean())))
