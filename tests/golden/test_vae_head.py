"""The published variational head."""

import torch

from meshdisent.losses.shared import kl_divergence
from meshdisent.nn.variational import reparameterize


def test_head_and_divergence_are_the_published_ones(golden):
    arrays = golden("vae_head")
    output = torch.from_numpy(arrays["encoder_output"]).double().requires_grad_()
    mean, log_variance = output.chunk(2, dim=1)
    noise = torch.from_numpy(arrays["eps"]).double()
    code = reparameterize(mean, log_variance, noise)
    divergence = kl_divergence(mean, log_variance)
    arrays.check(
        {
            "mu": mean,
            "logvar": log_variance,
            "z_train": code,
            "z_eval": mean,  # the contract's encode gives the mean
            "z_train_grad_of_sum": torch.stack(torch.autograd.grad(code.sum(), output)[0].chunk(2, dim=1)),
            "kl": divergence,
            "kl_per_sample": torch.stack(
                [kl_divergence(one, spread) for one, spread in zip(mean.split(1), log_variance.split(1), strict=True)]
            ),
            "kl_grad_encoder_output": torch.autograd.grad(divergence, output)[0],
        },
        tolerance=1e-14,
    )
