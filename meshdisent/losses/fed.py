"""Loss terms of FED (Sun et al. 2023), with the published code's conventions where the paper leaves them open.

All are in unit coordinates (mm divided by a constant of the dataset), so the size of heads does not matter to them.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from meshdisent.losses.wsdf import pairwise_log_density

#: Class of a pair of faces of the same person, in the discriminator's answers.
SAME = 1


def mean_square(made: Float[Tensor, "batch vertex 3"], target: Float[Tensor, "batch vertex 3"]) -> Float[Tensor, ""]:
    r"""Mean squared difference of coordinates (FED, eq. 3).

    .. math:: L = \frac{1}{3BV} \sum_{b,v} \lVert \hat x_{bv} - x_{bv} \rVert^2

    Examples
    --------
    >>> mean_square(torch.full((2, 4, 3), 2.0), torch.zeros(2, 4, 3)).item()
    4.0
    """
    return (made - target).square().mean()


def sampled_divergence(
    log_variance: Float[Tensor, "batch latent"],
    noise: Float[Tensor, "batch latent"],
    code: Float[Tensor, "batch latent"],
) -> Float[Tensor, " batch"]:
    r"""Divergence of a posterior from the standard normal, estimated from the one code that was drawn, in nats.

    .. math:: \ln q(z|x) - \ln p(z) = \tfrac12 \sum_d z^2 - \epsilon^2 - \lambda, \quad z = \mu + e^{\lambda/2}\epsilon

    The paper writes the divergence (eq. 4); its code takes this estimate, whose mean over the noise it is.

    Examples
    --------
    >>> sampled_divergence(torch.zeros(1, 2), torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 0.0]])).tolist()
    [4.0]
    """
    return 0.5 * (code.square() - noise.square() - log_variance).sum(dim=1)


def divergence(
    mean: Float[Tensor, "batch latent"], log_variance: Float[Tensor, "batch latent"]
) -> Float[Tensor, " batch"]:
    """Divergence of each posterior from the standard normal in closed form, in nats.

    Examples
    --------
    >>> divergence(torch.tensor([[2.0, 0.0]]), torch.zeros(1, 2)).tolist()
    [2.0]
    """
    return 0.5 * (mean.square() + torch.expm1(log_variance) - log_variance).sum(dim=1)


def information(
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    noise: Float[Tensor, "batch latent"],
    scan_count: int,
) -> Float[Tensor, " batch"]:
    r"""How much each code says about its scan, estimated within the batch, in nats.

    .. math:: \ln q(z_i|x_i) - (\ln \sum_j q(z_i|x_j) - \ln (B M))

    Minibatch-weighted sampling with M training scans (Chen et al. 2018), as in the information bottleneck that FED
    takes from IB-VAE.

    Examples
    --------
    >>> alone = information(torch.zeros(1, 1), torch.zeros(1, 1), torch.zeros(1, 1), scan_count=1)
    >>> alone.tolist()
    [0.0]
    """
    density = pairwise_log_density(mean, log_variance, noise)  # (B, B)
    return density.diagonal() - torch.logsumexp(density, dim=1) + math.log(len(mean) * scan_count)


def bottleneck(
    mean: Float[Tensor, "batch latent"],
    log_variance: Float[Tensor, "batch latent"],
    noise: Float[Tensor, "batch latent"],
    at_rest: Bool[Tensor, " batch"],
    *,
    beta: float,
    scan_count: int,
) -> Float[Tensor, " batch"]:
    r"""The identity's divergence with an information bottleneck: scans that are not at rest pay for what they say.

    .. math:: KL_i + \beta\, [i \text{ not at rest}]\, I_i

    Published for CoMA only, and off there: beta 50 and 18,424 scans.

    Parameters
    ----------
    at_rest : (batch,) Scans of which the identity code may say anything.
    beta : Weight of :func:`information`.
    scan_count : Training scans.

    Examples
    --------
    >>> bottleneck(*torch.zeros(3, 1, 1), torch.tensor([False]), beta=50.0, scan_count=1).tolist()
    [0.0]
    """
    paid = beta * information(mean, log_variance, noise, scan_count)
    return divergence(mean, log_variance) + torch.where(at_rest, torch.zeros_like(paid), paid)


def latent_consistency(
    again: Float[Tensor, "batch identity"], first: Float[Tensor, "batch identity"]
) -> Float[Tensor, ""]:
    r"""How far the identity code of a decoded neutral is from the code that it was decoded from (FED, eq. 7).

    .. math:: L = \frac{1}{BD} \sum_{b,d} \lvert z'_{bd} - z_{bd} \rvert

    Both codes are drawn, and both get gradients, as published.

    Examples
    --------
    >>> latent_consistency(torch.tensor([[1.0, -3.0]]), torch.zeros(1, 2)).item()
    2.0
    """
    return (again - first).abs().mean()


def pair_entropy(logits: Float[Tensor, "batch 2"], is_same: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Cross entropy of the discriminator's answers, in nats (FED, eq. 8).

    For the faces it is the same number with every pair called the same: the form that does not saturate.

    Examples
    --------
    >>> round(pair_entropy(torch.zeros(2, 2), torch.tensor([True, False])).item(), 4)
    0.6931
    """
    return torch.nn.functional.cross_entropy(logits, torch.where(is_same, SAME, 1 - SAME))


def pair_accuracy(logits: Float[Tensor, "batch 2"], is_same: Bool[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Share of pairs that the discriminator answers rightly.

    Examples
    --------
    >>> pair_accuracy(torch.tensor([[0.0, 1.0], [0.0, 1.0]]), torch.tensor([True, False])).item()
    0.5
    """
    return ((logits.argmax(dim=1) == SAME) == is_same).to(logits.dtype).mean()


def roughness(faces: Float[Tensor, "batch vertex 3"], laplacian: Tensor) -> Float[Tensor, ""]:
    r"""How far vertices are from the mean of their neighbors (FED, eq. 9).

    .. math:: L = \frac{1}{BV} \sum_b \lVert L X_b \rVert_F^2

    Parameters
    ----------
    laplacian : (V, V) sparse; :func:`meshdisent.mesh.laplacian.uniform_laplacian` as published. The published code has
        it dense: 2.8 GB for the vertices of FaceScape.

    Examples
    --------
    >>> edge = torch.tensor([[1.0, -1.0], [-1.0, 1.0]]).to_sparse()
    >>> roughness(torch.tensor([[[0.0, 0, 0], [3.0, 0, 0]]]), edge).item()
    9.0
    """
    with torch.autocast(faces.device.type, enabled=False):  # a difference of neighbors has no digits to lose
        side_by_side = faces.to(laplacian.dtype).transpose(0, 1).flatten(1)  # (V, B*3)
        return torch.sparse.mm(laplacian, side_by_side).square().sum() / (len(faces) * faces.shape[1])
