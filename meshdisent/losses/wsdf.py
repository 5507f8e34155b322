"""Loss terms of WSDF (Li et al. 2024), with the published code's conventions where the paper leaves them open."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import RecipeError


def neutralization(
    neutralized: Float[Tensor, "batch vertex 3"],
    bank: Float[Tensor, "batch vertex 3"],
    confidence: Float[Tensor, " batch"],
) -> Float[Tensor, ""]:
    r"""Squared distance of decoded neutrals to the bank's entries, weighted by confidence (WSDF, eq. 6).

    .. math:: L_{neu} = \frac{1}{B} \sum_b \alpha_b \lVert X^n_b - B_b \rVert^2

    Both standardized alike. No gradient reaches the bank.

    Examples
    --------
    >>> neutralization(torch.ones(2, 4, 3), torch.zeros(2, 4, 3), torch.tensor([1.0, 0.5])).item()
    9.0
    """
    return (confidence * (neutralized - bank.detach()).square().sum(dim=(1, 2))).mean()


def displacement(
    decoded: Float[Tensor, "batch vertex 3"],
    shown: Float[Tensor, "batch vertex 3"],
    neutral: Float[Tensor, "batch vertex 3"],
    at_rest: Float[Tensor, "batch vertex 3"],
) -> Float[Tensor, ""]:
    r"""Squared distance of decoded displacements to those of the scans from their subjects' bank entries (ours).

    .. math:: L_{dis} = \frac{1}{B} \sum_b \lVert (X^r_b - X^n_b) - (X_b - B_{k(b)}) \rVert^2

    Unlike the reconstruction it does not ask the expression code for what the identity code cannot say of a person.

    Examples
    --------
    >>> faces = torch.zeros(4, 2, 1, 3)
    >>> faces[1] = 1.0
    >>> displacement(*faces).item()
    3.0
    """
    return ((decoded - neutral) - (shown - at_rest)).square().sum(dim=(1, 2)).mean()


def consistency(neutralized: Float[Tensor, "batch vertex 3"], group: int) -> Float[Tensor, ""]:
    r"""Squared distance of decoded neutrals of one person to their mean (ours; what E_id measures).

    .. math:: L_{con} = \frac{1}{B} \sum_b \lVert X^n_b - \bar{X}^n_{k(b)} \rVert^2

    Parameters
    ----------
    neutralized : (B, V, 3) Each ``group`` scans in a row are of one person; a smaller rest at the end does not count.

    Examples
    --------
    >>> consistency(torch.tensor([0.0, 2.0, 5.0, 5.0]).view(4, 1, 1).expand(4, 1, 3), 2).item()
    1.5
    """
    whole = len(neutralized) // group * group
    people = neutralized[:whole].unflatten(0, (-1, group))  # (P, G, V, 3)
    apart = people - people.mean(dim=1, keepdim=True)
    return apart.square().sum() / max(whole, 1)


def compactness(
    mean: Float[Tensor, "anchor latent"],
    log_variance: Float[Tensor, "anchor latent"],
    noise: Float[Tensor, "anchor latent"],
) -> Float[Tensor, ""]:
    r"""Log density of identity codes under the posteriors of all anchors: the identity compactness loss of WSDF.

    .. math:: L_{mi} = \sum_i \ln \sum_j \prod_d N(z_{id}; \mu_{jd}, e^{\lambda_{jd}}), \quad
        z_i = \mu_i + e^{\lambda_i / 2} \epsilon_i

    The paper points to the mutual information of IB-VAE; the published code keeps this one term of it, a sum over the
    anchors, without the number of anchors and without the conditional part.

    Parameters
    ----------
    mean, log_variance : (A, D) Posteriors of the anchors: the first quarter of an identity-aware batch.
    noise : (A, D) Standard normal, drawn for this term alone.

    Returns
    -------
    Scalar, in nats; its weight is positive, so the density is pushed down and codes apart.

    Examples
    --------
    >>> round(compactness(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1)).item(), 6)
    -0.918939
    """
    return torch.logsumexp(pairwise_log_density(mean, log_variance, noise), dim=1).sum()


def pairwise_log_density(
    mean: Float[Tensor, "anchor latent"],
    log_variance: Float[Tensor, "anchor latent"],
    noise: Float[Tensor, "anchor latent"],
) -> Float[Tensor, "anchor anchor"]:
    """Log density of the code drawn from posterior ``i`` (row) under posterior ``j`` (column)."""
    codes = mean + torch.exp(log_variance / 2) * noise
    deviation = (codes[:, None] - mean[None]) * torch.exp(-log_variance / 2)[None]  # (A, A, D)
    log_two_pi = 1.8378770664093453
    return -0.5 * (deviation.square() + log_variance[None] + log_two_pi).sum(dim=2)


def published_pairing(identity: Float[Tensor, "batch identity"], group: int = 4) -> Float[Tensor, "batch identity"]:
    """Identity codes as the published Jacobian loss pairs them with the expression codes of a batch.

    The codes of the anchors, the first ``1 / group`` of the batch, each repeated ``group`` times in a row. Expression
    codes stay in batch order, so most pairs mix two scans. The correct pairing is the identity codes as they are.

    Examples
    --------
    >>> published_pairing(torch.arange(8.0)[:, None])[:, 0].tolist()
    [0.0, 0.0, 0.0, 0.0, 1.0, 1.0, 1.0, 1.0]
    """
    return identity[: len(identity) // group].repeat_interleave(group, dim=0)


def jacobian_growth(
    decode: Callable[[Tensor, Tensor], Tensor],
    identity: Float[Tensor, "batch identity"],
    expression: Float[Tensor, "batch expression"],
) -> tuple[Float[Tensor, " batch"], Float[Tensor, " batch"]]:
    r"""How fast the displacement from neutral grows along each expression code (WSDF, before eq. 7).

    .. math:: q = \langle f(z) - f(0), J_f(z)\,z \rangle

    From one forward-mode product, so the Jacobian is never built. The published code builds it, (B, 3V, E) numbers.
    Gradients go through f and J to the parameters of ``decode``, and to the codes unless the caller detaches them (as
    published); the z that multiplies J, and its square, are constants.

    Parameters
    ----------
    decode : (identity, expression) -> (B, V, 3) in mm.
    identity, expression : The pairs of codes; see :func:`published_pairing` for the published choice.

    Returns
    -------
    growth : (B,) q in mm^2.
    code_square : (B,) Squared norm of the expression codes, without gradient.
    """
    direction = expression.detach()
    pushed = torch.func.jvp(lambda code: decode(identity, code), (expression,), (direction,))
    decoded, directional = pushed[0], pushed[1]
    displacement = decoded - decode(identity, torch.zeros_like(expression))
    return growth_along(displacement, directional), direction.square().sum(dim=1)


def growth_along(
    displacement: Float[Tensor, "batch vertex 3"], directional: Float[Tensor, "batch vertex 3"]
) -> Float[Tensor, " batch"]:
    r"""Give :math:`q = \langle f(z) - f(0), J_f(z)\,z \rangle`, where both are at hand.

    Examples
    --------
    >>> growth_along(torch.ones(2, 4, 3), torch.full((2, 4, 3), 0.5)).tolist()
    [6.0, 6.0]
    """
    return (displacement * directional).sum(dim=(1, 2))


def jacobian_hinge(
    growth: Float[Tensor, " batch"], code_square: Float[Tensor, " batch"], upper: float, lower: float = 0.0
) -> Float[Tensor, ""]:
    r"""Penalize expressions that shrink, or grow too fast, along their own code (WSDF, eq. 7).

    .. math::
        L_{jac} = \frac{1}{B} \sum_b \max(0, g_0 \lVert z_b \rVert^2 - q_b) + \max(0, q_b - g_1 \lVert z_b \rVert^2)

    The paper writes the largest of three terms with :math:`g_0 = 0`, which is the same number.

    Parameters
    ----------
    growth, code_square : From :func:`jacobian_growth`.
    upper, lower : :math:`g_1` and :math:`g_0`, mm^2 per unit of squared code.

    Returns
    -------
    Scalar, mm^2.

    Raises
    ------
    RecipeError : If ``lower`` is not below ``upper``.

    Examples
    --------
    >>> jacobian_hinge(torch.tensor([6.0, 1.0]), torch.tensor([1.0, 1.0]), upper=4.0).item()
    1.0
    """
    if lower >= upper:
        raise RecipeError(
            f"The Jacobian hinge got lower {lower} and upper {upper}; wanted lower < upper. "
            "Set the recipe's lower and upper limits of the Jacobian loss."
        )
    too_slow = (lower * code_square - growth).clamp(min=0)
    too_fast = (growth - upper * code_square).clamp(min=0)
    return (too_slow + too_fast).mean()
