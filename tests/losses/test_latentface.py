"""Pixels and features weighed by confidence: by hand."""

import math

import torch

from meshdisent.losses.latentface import depth_smoothness, perceptual, photometric


def test_the_photometric_loss_is_the_worked_example():
    """Two pixels, errors 1 and 3, spreads 2 and 1; only the first counts when the mask says so."""
    picture, truth = torch.tensor([[[[1.0, 3.0]]]]), torch.zeros(1, 1, 1, 2)
    spread = torch.tensor([[[[2.0, 1.0]]]])
    assert math.isclose(photometric(picture, truth), 2.0)
    first, second = math.sqrt(2) / 2 + math.log(2), 3 * math.sqrt(2)
    assert math.isclose(photometric(picture, truth, None, spread), (first + second) / 2, rel_tol=1e-6)
    mask = torch.tensor([[[[1.0, 0.0]]]])
    assert math.isclose(photometric(picture, truth, mask, spread), first, rel_tol=1e-6)


def test_the_mask_counts_once_for_every_channel():
    picture, truth = torch.ones(1, 3, 2, 2), torch.zeros(1, 3, 2, 2)
    assert photometric(picture, truth, torch.tensor([[[[1.0, 0.0], [1.0, 1.0]]]])) == 1.0


def test_the_perceptual_loss_is_the_worked_example():
    """A picture of 4 x 4, features of 1 x 2; the right half is half masked, so it counts half."""
    ours, truth = torch.tensor([[[[1.0, 2.0]]]]), torch.zeros(1, 1, 1, 2)
    mask = torch.ones(1, 1, 4, 4)
    mask[..., 3] = 0
    assert math.isclose(perceptual(ours, truth, mask), (1 + 0.5 * 4) / 1.5, rel_tol=1e-6)
    spread = torch.full((1, 1, 1, 2), 2.0)
    expected = ((1 / 8 + math.log(2)) + 0.5 * (4 / 8 + math.log(2))) / 1.5
    assert math.isclose(perceptual(ours, truth, mask, spread), expected, rel_tol=1e-6)


def test_a_spread_of_the_size_of_the_error_is_best():
    error, spread = 0.7, torch.tensor(0.7 * math.sqrt(2), requires_grad=True)
    shape = (1, 1, 1, 1)
    loss = photometric(torch.full(shape, error), torch.zeros(shape), None, spread.reshape(shape))
    loss.backward()
    assert abs(spread.grad) < 1e-6


def test_a_flat_depth_is_smooth_and_a_slope_costs_its_steps():
    assert depth_smoothness(torch.ones(1, 4, 4), 0.2) == 0
    slope = 0.02 * torch.arange(4.0).expand(1, 4, 4)
    assert math.isclose(depth_smoothness(slope, 0.2), 0.1, rel_tol=1e-5)
