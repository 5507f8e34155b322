r"""The Re-coupler: two codes to one vector that is normal again (WSDF, eq. 2).

Products of normal numbers are not normal. So each code entry becomes uniform, each pair is multiplied, and the product
goes through its own distribution function and the inverse normal one:

.. math::
    n_{ij} = \Phi^{-1}(F(u_i u_j)), \qquad F(p) = p\,(1 - \ln p), \qquad r_k = \sum_{ij} \hat W_{kij} n_{ij}

with :math:`\hat W_k = W_k / \lVert W_k \rVert`. As published, :math:`u = 0.9999\,\Phi(z) + 0.00005` and the logarithm
is of :math:`p + 10^{-5}` (:func:`coded_scores`); :func:`exact_scores` leaves both out.

Scores are computed in float64 whatever the codes are in: in float32 the published formula ends one rounding step from
infinity and is off by 9e-3 there, and in half precision it is infinite. For 32 scans and 32 x 32 pairs that costs a
third of a millisecond on one core, as much as float32 does.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: Uniform numbers keep this distance from 0 and 1, as published.
MARGIN = 5e-5
#: Added inside the published logarithm.
LOG_SHIFT = 1e-5


def coded_uniform(code: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Uniform numbers from normal ones, shrunk away from 0 and 1 as published; at most :data:`MARGIN` from exact."""
    return (1 - 2 * MARGIN) * torch.special.ndtr(code) + MARGIN


def coded_cdf(product: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    """Distribution function of a product of two uniform numbers, as published; exact but for the shift of 1e-5."""
    return product * (1 - torch.log(product + LOG_SHIFT))


def coded_scores(
    identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
) -> Float[Tensor, "batch identity expression"]:
    """Normal score of each pair of code entries, as published, in float64: between -5.42 and 4.27 for any codes."""
    uniform_identity, uniform_expression = (coded_uniform(code.double()) for code in (identity, expression))
    product = uniform_identity[:, :, None] * uniform_expression[:, None, :]  # (B, I, E)
    return torch.special.ndtri(coded_cdf(product))


def exact_scores(
    identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
) -> Float[Tensor, "batch identity expression"]:
    """Normal score of each pair of code entries without the published shrinking, in float64.

    Works on logarithms, so that scores and gradients are finite for any finite codes; beyond about 26 standard
    deviations in both codes the gradient is 0.
    """
    # Beyond 40 nothing changes any more, but the derivative of torch's log_ndtr becomes infinite far out.
    log_identity, log_expression = (
        torch.special.log_ndtr(code.double().clamp(-40.0, 40.0)) for code in (identity, expression)
    )
    log_product = log_identity[:, :, None] + log_expression[:, None, :]  # (B, I, E), at most 0
    return normal_score_of_log(log_product)


def normal_score_of_log(log_product: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    r"""Give :math:`\Phi^{-1}(F(e^l))` for the logarithm :math:`l \le 0` of a product of two uniform numbers.

    Below the median from :math:`F = e^l (1 - l)`; above it from :math:`1 - F`, which near 1 is
    :math:`l^2/2 + l^3/3 + l^4/8 + \ldots` and would otherwise be lost in rounding.
    """
    is_low = log_product < -1.0
    low = log_product.clamp(-700.0, -1.0)
    high = log_product.clamp(-1.0, -1e-150)
    # Horner form of sum over k >= 2 of (k - 1) l^k / k!; 20 terms reach rounding at l = -1.
    tail = torch.zeros_like(high)
    for k in range(20, 1, -1):
        tail = (k - 1) + tail * high / (k + 1)
    tail = tail * high.square() / 2
    below = torch.special.ndtri(torch.exp(low) * (1 - low))
    above = -torch.special.ndtri(tail)
    return torch.where(is_low, below, above)


class Recoupler(nn.Module):
    """Fuse an identity code and an expression code into one vector.

    Parameters
    ----------
    identity_size, expression_size, fused_size : Entries of the codes and of the result.
    exact : Take :func:`exact_scores` instead of the published :func:`coded_scores`.
    """

    def __init__(self, identity_size: int, expression_size: int, fused_size: int, exact: bool = False):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(fused_size, identity_size, expression_size))
        self.scores = exact_scores if exact else coded_scores

    def inverse_lengths(self) -> Float[Tensor, " fused"]:
        """One over the Euclidean norm of the weights of each output entry.

        What they give is divided by it, not the weights: a million numbers of the published sizes, for each decoding.
        """
        return 1 / torch.linalg.vector_norm(self.weight, dim=(1, 2)).clamp_min(1e-12)

    def forward(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch fused"]:
        """Fused codes, about standard normal when the codes are."""
        return self.fuse(identity, expression, self.inverse_lengths())

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch fused"]:
        """Fused codes where all entries of the expression code are zero."""
        return self.fuse_neutral(identity, self.inverse_lengths())

    def fuse(
        self,
        identity: Float[Tensor, "batch identity"],
        expression: Float[Tensor, "batch expression"],
        inverse: Float[Tensor, " fused"],
    ) -> Float[Tensor, "batch fused"]:
        """Fused codes, with :meth:`inverse_lengths` at hand."""
        scores = self.scores(identity, expression).to(self.weight.dtype)
        return scores.flatten(start_dim=1) @ self.weight.flatten(start_dim=1).T * inverse  # (B, I*E) x (I*E, K)

    def fuse_along(
        self,
        identity: Float[Tensor, "batch identity"],
        expression: Float[Tensor, "batch expression"],
        inverse: Float[Tensor, " fused"],
    ) -> tuple[Float[Tensor, "batch fused"], Float[Tensor, "batch fused"]]:
        """Fused codes, and their derivative where all entries of the expression code grow in proportion.

        Every pair of entries has a score of its own, so that one backward pass through the sum of all gives each slope.
        """
        shape = len(identity), *self.weight.shape[1:]
        of_identity = identity[:, :, None].expand(shape).reshape(-1, 1)
        of_expression = expression[:, None, :].expand(shape).reshape(-1, 1)
        direction, differentiable = of_expression.detach(), identity.requires_grad or expression.requires_grad
        with torch.enable_grad():
            if not of_expression.requires_grad:
                of_expression = of_expression.detach().requires_grad_()
            scores = self.scores(of_identity, of_expression)  # (B*I*E, 1, 1)
            (slopes,) = torch.autograd.grad(scores.sum(), of_expression, create_graph=differentiable)
        scores = scores if differentiable else scores.detach()
        rows = torch.cat([scores.view(len(identity), -1), (slopes * direction).view(len(identity), -1)])
        fused = rows.to(self.weight.dtype) @ self.weight.flatten(start_dim=1).T * inverse
        return fused[: len(identity)], fused[len(identity) :]

    def fuse_neutral(
        self, identity: Float[Tensor, "batch identity"], inverse: Float[Tensor, " fused"]
    ) -> Float[Tensor, "batch fused"]:
        """Fused codes at rest, with :meth:`inverse_lengths` at hand.

        Every entry then meets the same number, so one score stands for all: as many times fewer as there are entries.
        """
        scores = self.scores(identity, torch.zeros_like(identity[:, :1])).to(self.weight.dtype)[:, :, 0]  # (B, I)
        return scores @ self.weight.sum(dim=2).T * inverse
