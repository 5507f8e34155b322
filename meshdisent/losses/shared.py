"""Loss terms that several methods share: means over the batch, sums over coordinates and latent dimensions."""

import torch
from jaxtyping import Float
from torch import Tensor


def reconstruction(
    reconstructed: Float[Tensor, "batch vertex 3"], target: Float[Tensor, "batch vertex 3"]
) -> Float[Tensor, ""]:
    r"""Squared distance of reconstructions to their scans (WSDF, eq. 4).

    .. math:: L_{rec} = \frac{1}{B} \sum_b \lVert X^r_b - X_b \rVert^2

    In standardized coordinates, as published, the result has no unit and is about 3V for an untrained model.

    Examples
    --------
    >>> reconstruction(torch.ones(2, 4, 3), torch.zeros(2, 4, 3)).item()
    12.0
    """
    return (reconstructed - target).square().sum(dim=(1, 2)).mean()


def kl_divergence(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, ""]:
    r"""Kullback-Leibler divergence of the posteriors from the standard normal distribution, in nats (WSDF, eq. 5).

    .. math:: L_{KL} = \frac{1}{B} \sum_b \frac{1}{2} \sum_d \mu^2 + e^\lambda - \lambda - 1

    for one code; the paper adds that of the identity and that of the expression.

    Examples
    --------
    >>> kl_divergence(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)).item()
    2.0
    """
    return kl_by_entry(mean, log_variance).sum()


def kl_by_entry(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " latent"]:
    """Divergence of each code entry, averaged over the batch; an entry near 0 says nothing about the scan."""
    # expm1 keeps the digits that exp(x) - 1 loses when the posterior is close to the prior.
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).mean(dim=0)
