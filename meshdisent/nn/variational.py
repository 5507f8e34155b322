r"""The variational head: a code drawn from its posterior (Kingma and Welling 2014).

.. math:: z = \mu + \exp(\lambda / 2)\,\epsilon, \qquad \epsilon \sim N(0, 1)

with :math:`\lambda` the log-variance. Where no noise is wanted, the code is :math:`\mu` itself.
"""

import torch
from jaxtyping import Float
from torch import Tensor


def reparameterize(
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    noise: Float[Tensor, "batch latent"],
) -> Float[Tensor, "batch latent"]:
    """Draw codes that gradients can pass through; ``noise`` is standard normal and given by the caller.

    Examples
    --------
    >>> reparameterize(torch.tensor([[1.0]]), torch.tensor([[0.0]]), torch.tensor([[2.0]])).item()
    3.0
    """
    return mean + torch.exp(log_variance / 2) * noise
