"""Principal directions: exact where small, randomized where large, always the same."""

import numpy as np
import pytest
import torch

from meshdisent.morphable import principal
from meshdisent.morphable.principal import principal_directions


@pytest.fixture
def rows():
    """Uncentered rows whose spread falls by a fifth from direction to direction."""
    random = np.random.default_rng(0)
    basis = np.linalg.qr(random.normal(size=(120, 40)))[0].T
    return torch.from_numpy(random.normal(size=(90, 40)) @ (10 * 0.8 ** np.arange(40)[:, None] * basis))


def test_directions_and_deviations_are_those_of_the_second_moments(rows):
    found = principal_directions(rows, 5)
    moments, axes = torch.linalg.eigh(rows.T @ rows / len(rows))
    torch.testing.assert_close(found.deviations, moments.flip(0)[:5].sqrt())
    torch.testing.assert_close((found.directions * axes.flip(1)[:, :5].T).sum(dim=1).abs(), torch.ones(5).double())
    torch.testing.assert_close(found.directions @ found.directions.T, torch.eye(5).double(), rtol=0, atol=1e-12)


def test_coordinates_along_a_direction_have_its_deviation(rows):
    found = principal_directions(rows, 7)
    coordinates = rows @ found.directions.T
    torch.testing.assert_close(coordinates.square().mean(dim=0).sqrt(), found.deviations)


def test_randomized_directions_are_the_exact_ones(rows, monkeypatch):
    exact = principal_directions(rows, 6)
    seen = []
    lowrank = torch.svd_lowrank

    def counted(*arguments, **options):
        seen.append((options["q"], options["niter"]))
        return lowrank(*arguments, **options)

    monkeypatch.setattr(principal, "_SMALL", 10)
    monkeypatch.setattr(torch, "svd_lowrank", counted)
    randomized = principal_directions(rows, 6)
    assert seen == [(36, 4)]
    torch.testing.assert_close(randomized.deviations, exact.deviations, rtol=1e-8, atol=0)
    torch.testing.assert_close(randomized.directions, exact.directions, rtol=0, atol=1e-6)


def test_one_round_is_enough_for_coordinates_that_span_nearly_the_same(rows, monkeypatch):
    exact = principal_directions(rows, 20)
    monkeypatch.setattr(principal, "_SMALL", 10)
    lowrank = torch.svd_lowrank
    monkeypatch.setattr(torch, "svd_lowrank", lambda *a, q, niter: seen.append(niter) or lowrank(*a, q=20, niter=niter))
    seen = []
    errors = [
        (exact.directions - exact.directions @ found.directions.T @ found.directions).square().sum()
        for found in (principal_directions(rows, 20, rounds=rounds) for rounds in (1, 4))
    ]
    assert seen == [1, 4]
    assert errors[1] < errors[0] < 3


def test_the_random_start_is_always_the_same_and_leaves_the_generator_alone(rows, monkeypatch):
    monkeypatch.setattr(principal, "_SMALL", 10)
    torch.manual_seed(5)
    before = torch.get_rng_state()
    one = principal_directions(rows, 6)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(99)
    assert torch.equal(principal_directions(rows, 6).directions, one.directions)


def test_the_sign_is_fixed_by_the_largest_entry(rows):
    for turned in (rows, -rows):
        directions = principal_directions(turned, 8).directions
        assert (directions.gather(1, directions.abs().argmax(dim=1, keepdim=True)) > 0).all()
    assert torch.equal(principal_directions(rows, 8).directions, principal_directions(-rows, 8).directions)


def test_fewer_directions_are_given_where_rows_span_fewer(rows):
    flat = rows[:, :1] * torch.arange(1.0, 4.0).double() + rows[:, 1:2] * torch.tensor([1.0, 0, 0]).double()
    assert principal_directions(flat, 3).directions.shape == (2, 3)
    assert principal_directions(rows[:4], 9).directions.shape == (4, 120)
    assert principal_directions(torch.zeros(4, 6), 2).directions.shape == (0, 6)
    assert principal_directions(torch.zeros(0, 6), 2).directions.shape == (0, 6)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_precision_is_that_of_the_rows(rows, dtype):
    found = principal_directions(rows.to(dtype), 3)
    assert found.directions.dtype == found.deviations.dtype == dtype
