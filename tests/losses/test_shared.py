"""Losses that several methods share."""

import pytest
import torch

from meshdisent.losses.shared import kl_by_entry, kl_divergence, reconstruction


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


def test_reconstruction_is_a_sum_over_coordinates_and_a_mean_over_scans():
    made, target = random(3, 4, 3), random(3, 4, 3, seed=1)
    slow = sum(((a - b) ** 2).sum() for a, b in zip(made, target, strict=True)) / 3
    torch.testing.assert_close(reconstruction(made, target), slow)


def test_divergence_equals_that_of_torch():
    mean, log_variance = random(6, 4), random(6, 4, seed=1)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    prior = torch.distributions.Normal(torch.zeros_like(mean), torch.ones_like(mean))
    expected = torch.distributions.kl_divergence(posterior, prior).sum(1).mean()
    torch.testing.assert_close(kl_divergence(mean, log_variance), expected)
    assert kl_by_entry(mean, log_variance).shape == (4,)
    torch.testing.assert_close(kl_by_entry(mean, log_variance).sum(), expected)


def test_divergence_of_the_prior_from_itself_is_0_and_never_negative_near_it():
    assert kl_divergence(torch.zeros(2, 3), torch.zeros(2, 3)).item() == 0
    tiny = torch.full((1, 1), 1e-4)
    assert kl_divergence(torch.zeros(1, 1), tiny).item() == pytest.approx(2.5e-9, rel=0.02)


@pytest.mark.parametrize("loss", [reconstruction, kl_divergence])
def test_gradients_are_those_of_finite_differences(loss):
    shape = (2, 3, 3) if loss is reconstruction else (2, 3)
    assert torch.autograd.gradcheck(loss, (random(*shape), random(*shape, seed=1)))


@pytest.mark.parametrize("loss", [reconstruction, kl_divergence])
def test_batch_order_does_not_matter(loss):
    shape = (4, 3, 3) if loss is reconstruction else (4, 3)
    first, second = random(*shape), random(*shape, seed=1)
    order = torch.tensor([3, 1, 0, 2])
    torch.testing.assert_close(loss(first[order], second[order]), loss(first, second))
