r"""A pooled spiral block that looks at scans as they are: no slope goes back into its features.

Instance norm needs mean and variance of every channel over *all* vertices, of which pooling then keeps a quarter. With
:math:`g_v` the features along the spiral of :math:`v` and :math:`y_v = W g_v`,

.. math:: n_v = \frac{y_v - \bar y}{\sigma}, \quad \sigma_o^2 = \operatorname{var} y_o + \varepsilon, \quad
    \frac{\partial \sigma_o}{\partial w_o} = \frac1{\sigma_o} \operatorname{cov}(y_o, g)

so that the backward pass needs the covariance of :math:`y` and :math:`g`, which the forward pass has at hand, and else
the kept vertices alone: it gathers nothing, and the others have no slopes. On one core the block takes two thirds of
the time of the general one, forward and backward, and a sixth of it backward.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.autograd import forward_ad

from meshdisent.nn.spiral_parts import EPSILON, differentiable_backward, places_of, scans_at_once

#: Channels are filled up to so many: four numbers in single precision are gathered as one.
TOGETHER = 4


def is_first(features: Tensor, weight: Tensor, bias: Tensor) -> bool:
    """Whether the first block may take the place of the general block.

    It is not differentiable by features, and knows neither forward mode nor ``torch.func``.
    """
    if features.requires_grad or torch._C._are_functorch_transforms_active():
        return False
    return all(forward_ad.unpack_dual(value).tangent is None for value in (features, weight, bias))


def first_block(
    features: Float[Tensor, "batch vertex channel"],
    weight: Float[Tensor, "out width"],
    bias: Float[Tensor, " out"],
    spirals: Int[Tensor, "vertex length"],
    kept: Int[Tensor, " coarse"],
    has_activation: bool = True,
) -> Float[Tensor, "batch coarse out"]:
    """What :func:`~meshdisent.nn.spiral_block.spiral_block` gives, with slopes to the weights alone.

    The products are narrow and made in the type of the features, under autocast too.
    """
    learns = torch.is_grad_enabled() and weight.requires_grad
    return _FirstBlock.apply(features, weight, bias, spirals, kept, has_activation, learns)


class _FirstBlock(torch.autograd.Function):
    """The block; told whether it will be followed back."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        spirals: Tensor,
        kept: Tensor,
        has_activation: bool,
        learns: bool,
    ) -> Tensor:
        batch, vertices, channels = features.shape
        outputs, length, step = len(weight), spirals.shape[1], scans_at_once(features, weight, spirals)
        empty = -channels % TOGETHER
        filled = torch.nn.functional.pad(weight.unflatten(1, (length, channels)), (0, empty)).flatten(start_dim=1)
        transposed, width = filled.t(), filled.shape[1]
        normalized = features.new_empty(batch, len(kept), outputs)
        inverse_std = features.new_empty(batch, 1, outputs)
        along_kept = features.new_empty(batch if learns else 0, len(kept), width)
        mean = features.new_empty(batch if learns else 0, 1, width)
        covariance = features.new_empty(batch if learns else 0, outputs, width)
        everyone = features.new_full((1, vertices), 1 / vertices)
        gather = _Along(spirals, min(step, batch), empty)
        for start in range(0, batch, step):
            part = slice(start, start + step)
            along = gather(features[part])
            y = features.new_empty(len(along), vertices, outputs)
            torch.mm(along.view(-1, width), transposed, out=y.view(-1, outputs))
            y.sub_(y.mean(dim=1, keepdim=True))
            scale = inverse_std[part]
            torch.mean(y.square(), dim=1, keepdim=True, out=scale)
            scale.add_(EPSILON).rsqrt_()
            torch.mul(y.index_select(1, kept), scale, out=normalized[part])
            if learns:
                torch.bmm(y.transpose(1, 2), along, out=covariance[part])
                torch.matmul(everyone, along, out=mean[part])
                torch.index_select(along, 1, kept, out=along_kept[part])
        out = torch.nn.functional.elu(normalized) if has_activation else normalized
        covariance.div_(vertices)
        kept_for_later = (out, normalized, inverse_std, along_kept, mean, covariance)
        ctx.save_for_backward(features, weight, bias, spirals, kept, *kept_for_later)
        ctx.has_activation = has_activation
        return out

    @staticmethod
    def backward(ctx: Any, *slopes: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():
            return (*differentiable_backward(ctx, slopes[0]), None)
        features, weight, _, spirals, _, out, normalized, inverse_std, along_kept, mean, covariance = ctx.saved_tensors
        slope = slopes[0]
        if ctx.has_activation:
            slope = torch.ops.aten.elu_backward(slope, 1.0, 1.0, 1.0, True, out)
        to_scale = (slope * normalized).sum(dim=1) * inverse_std[:, 0].square()  # (B, O)
        to_y = slope * inverse_std
        with torch.autocast(slope.device.type, enabled=False):
            to_filled = to_y.flatten(end_dim=1).t() @ along_kept.flatten(end_dim=1)
            to_filled -= to_y.sum(dim=1).t() @ mean[:, 0]
        to_filled -= (to_scale[:, :, None] * covariance).sum(dim=0)
        to_weight = to_filled.unflatten(1, (spirals.shape[1], -1))[:, :, : features.shape[2]].reshape_as(weight)
        return None, to_weight, to_weight.new_zeros(len(weight)), None, None, None, None


class _Along:
    """Features of a few scans along their spirals, filled up, always in the same memory."""

    def __init__(self, spirals: Tensor, scans: int, empty: int):
        self.index = places_of(spirals, scans).places
        self.length, self.empty = spirals.shape[1], empty
        self.room: Tensor | None = None

    def __call__(self, features: Tensor) -> Tensor:
        """(B, V, C) to (B, V, L*(C + empty))."""
        scans, vertices, _ = features.shape
        flat = torch.nn.functional.pad(features, (0, self.empty)).flatten(end_dim=1)
        if self.empty and features.dtype == torch.float32:
            flat = flat.view(torch.complex128).squeeze(1)
        if self.room is None:
            self.room = flat.new_empty(len(self.index), *flat.shape[1:])
        rows = self.index[: len(flat) * self.length]
        found = self.room[: len(rows)]
        torch.index_select(flat, 0, rows, out=found)
        return found.view(features.dtype).view(scans, vertices, -1)
