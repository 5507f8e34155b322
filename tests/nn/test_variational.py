"""The variational head."""

import torch

from meshdisent.nn.variational import reparameterize


def test_codes_have_the_posterior_mean_and_variance():
    mean, log_variance = torch.tensor([[1.0, -2.0]]).double(), torch.tensor([[0.5, -3.0]]).double()
    noise = torch.randn(100_000, 2, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    codes = reparameterize(mean.expand_as(noise), log_variance.expand_as(noise), noise)
    torch.testing.assert_close(codes.mean(0), mean[0], atol=0.02, rtol=0)
    torch.testing.assert_close(codes.var(0), log_variance[0].exp(), rtol=0.02, atol=0)


def test_without_noise_the_code_is_the_mean():
    mean, log_variance = torch.randn(3, 4), torch.randn(3, 4)
    assert torch.equal(reparameterize(mean, log_variance, torch.zeros(3, 4)), mean)
