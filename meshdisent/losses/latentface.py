r"""Loss terms of LatentFace's first stage: pixels and features of a picture and its reconstruction.

Both take a predicted spread :math:`\sigma`: where the network says that it cannot explain a pixel, an error counts
less, and saying so costs :math:`\ln\sigma`. As in Unsup3D (Wu et al. 2020, eq. 2 and 5) the constants
:math:`\ln\sqrt 2` and :math:`\ln\sqrt{2\pi}` are left out, so losses may be negative. The papers print the Laplace form
for features too; published code has the Gaussian form, which is here.
"""

import math

from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

#: Keeps spreads away from 0.
_TINY = 1e-7


def photometric(
    picture: Float[Tensor, "batch channel height width"],
    truth: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 height width"] | None = None,
    spread: Float[Tensor, "batch 1 height width"] | None = None,
) -> Float[Tensor, ""]:
    r"""Mean of :math:`\sqrt 2\,|d| / \sigma + \ln \sigma` over the pixels of a mask and the channels.

    Without ``spread`` it is the mean of :math:`|d|`. An empty mask gives NaN: there is nothing to compare.
    """
    error = (picture - truth).abs()
    if spread is not None:
        sigma = spread + _TINY
        error = math.sqrt(2) * error / sigma + sigma.log()
    return _masked_mean(error, mask)


def perceptual(
    features: Float[Tensor, "batch channel height width"],
    of_truth: Float[Tensor, "batch channel height width"],
    mask: Float[Tensor, "batch 1 h w"] | None = None,
    spread: Float[Tensor, "batch 1 height width"] | None = None,
) -> Float[Tensor, ""]:
    r"""Mean of :math:`d^2 / (2 \sigma^2 + \epsilon) + \ln (\sigma + \epsilon)` over features.

    Here :math:`\epsilon = 10^{-7}`. Without ``spread`` it is the mean of :math:`d^2`. The mask of the picture is
    averaged down to the size of the features, so that a feature counts as much as its pixels are seen.
    """
    error = (features - of_truth).square()
    if spread is not None:
        error = error / (2 * spread.square() + _TINY) + (spread + _TINY).log()
    if mask is not None:
        mask = functional.adaptive_avg_pool2d(mask, (error.shape[-2], error.shape[-1]))
    return _masked_mean(error, mask)


def depth_smoothness(depth: Float[Tensor, "batch height width"], depth_range: float) -> Float[Tensor, ""]:
    """Mean absolute step from a pixel to the next, down plus across, as a part of the range of depths."""
    down, across = depth[:, 1:] - depth[:, :-1], depth[:, :, 1:] - depth[:, :, :-1]
    return (down.abs().mean() + across.abs().mean()) / depth_range


def _masked_mean(error: Tensor, mask: Tensor | None) -> Tensor:
    if mask is None:
        return error.mean()
    return (error * mask).sum() / (mask.sum() * error.shape[1])
