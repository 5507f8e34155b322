r"""A spiral block in one piece: gather, convolution, instance norm and ELU of a few scans at a time.

.. math:: n = \frac{y - \bar y}{\sqrt{\operatorname{var} y + \varepsilon}}, \quad y_v = W\,[x_{s_{v,1}}, \ldots] + b

Written operation by operation, a block lays out the gathered features of a whole batch (45 MB for 32 scans of 289
vertices with 128 channels), goes over them several times, and keeps them for the backward pass. Here a few scans go
through everything while they are in the processor's cache, and the backward pass gathers again. On one core a block of
the published sizes takes 0.7 (wide) to 0.4 (narrow) of the time of its plain twin, ``plain_block``, forward and
backward: for the wide ones no more than its three matrix products.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from meshdisent.nn.first_block import first_block, is_first
from meshdisent.nn.spiral_parts import (
    EPSILON,
    Gather,
    Scatter,
    differentiable_backward,
    gather_spirals,
    plain_block,
    product_dtype,
    scans_at_once,
)


def spiral_block(
    features: Float[Tensor, "batch vertex channel"],
    weight: Float[Tensor, "out width"],
    bias: Float[Tensor, " out"],
    spirals: Int[Tensor, "vertex length"],
    kept: Int[Tensor, " coarse"] | None = None,
    has_activation: bool = True,
) -> Tensor:
    """Spiral convolution, instance norm, pooling and ELU, a few scans at a time.

    Under autocast wide matrix products are made in its type, everything else in that of the features.
    Forward mode and ``torch.func`` go through it. For derivatives of higher order, and while a model is compiled or
    exported, the operations of ``plain_block`` are taken. A pooled block of scans as
    they are, into which no slope goes back, is :func:`~meshdisent.nn.first_block.first_block`.

    Parameters
    ----------
    features : (B, V, C)
    weight, bias : (O, L*C), spiral position outer, channel inner; and (O,).
    spirals : (V, L) Vertex indices.
    kept : (V of the coarse level,) Vertices that go on to the next level, each at most once; None for all.
    has_activation : Whether ELU comes last.

    Returns
    -------
    (B, V, O), or (B, V of the coarse level, O).
    """
    if torch.compiler.is_compiling():
        return plain_block(features, weight, bias, spirals, kept, has_activation)
    if kept is not None and is_first(features, weight, bias):
        return first_block(features, weight, bias, spirals, kept, has_activation)
    out, _, _ = _SpiralBlock.apply(features, weight, bias, spirals, kept, has_activation)
    return out


class _SpiralBlock(torch.autograd.Function):
    """The fused block; besides the result it gives what the backward pass needs."""

    @staticmethod
    def forward(
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        spirals: Tensor,
        kept: Tensor | None,
        has_activation: bool,
    ) -> tuple[Tensor, Tensor, Tensor]:
        batch, vertices, channels = features.shape
        outputs, step = len(weight), scans_at_once(features, weight, spirals)
        low = product_dtype(features)
        transposed = weight.to(low).t()  # without the bias, which the norm takes away again
        normalized = features.new_empty(batch, vertices, outputs)
        inverse_std = features.new_empty(batch, 1, outputs)
        out = features.new_empty(batch, vertices if kept is None else len(kept), outputs)
        gather = Gather(spirals, channels, min(step, batch), features.device, low)
        for start in range(0, batch, step):
            part = slice(start, start + step)
            y, scale = normalized[part], inverse_std[part]
            if low == features.dtype:
                torch.mm(gather(features[part]), transposed, out=y.view(-1, outputs))
            else:
                y.view(-1, outputs).copy_(gather(features[part]) @ transposed)
            y.sub_(y.mean(dim=1, keepdim=True))
            torch.mean(y.square(), dim=1, keepdim=True, out=scale)
            y.mul_(scale.add_(EPSILON).rsqrt_())
            pooled = y if kept is None else y.index_select(1, kept)
            out[part] = torch.nn.functional.elu(pooled) if has_activation else pooled
        return out, normalized, inverse_std

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        features, weight, bias, spirals, kept, has_activation = inputs
        out, normalized, inverse_std = output
        ctx.mark_non_differentiable(normalized, inverse_std)
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(features, weight, bias, spirals, kept, out, normalized, inverse_std)
        ctx.save_for_forward(features, weight, bias, spirals, kept, out, normalized, inverse_std)
        ctx.has_activation, ctx.low = has_activation, product_dtype(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        features, weight, _, spirals, kept, out, normalized, inverse_std = ctx.saved_tensors
        from_out = gradients[0]
        if from_out is None:
            return (None,) * 6
        if torch.is_grad_enabled():
            return differentiable_backward(ctx, from_out)
        batch, vertices, channels = features.shape
        outputs, step, low = len(weight), scans_at_once(features, weight, spirals), ctx.low
        low_weight = weight.to(low)
        to_weight = torch.zeros_like(weight)
        to_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        gather = Gather(spirals, channels, min(step, batch), features.device, low)
        scatter = Scatter(spirals, min(step, batch)) if to_features is not None else None
        for start in range(0, batch, step):
            part = slice(start, start + step)
            slope = from_out[part]
            if ctx.has_activation:
                slope = torch.ops.aten.elu_backward(slope, 1.0, 1.0, 1.0, True, out[part])
            if kept is not None:
                full = slope.new_zeros(len(slope), vertices, outputs)
                slope = full.index_copy_(1, kept, slope)
            to_y = _norm_backward(slope, normalized[part], inverse_std[part]).view(-1, outputs)
            to_y = to_y.to(low)
            if low == weight.dtype:
                to_weight.addmm_(to_y.t(), gather(features[part]))
            else:
                to_weight += to_y.t() @ gather(features[part])
            if to_features is not None and scatter is not None:
                to_features[part] = scatter((to_y @ low_weight).to(features.dtype), channels)
        return to_features, to_weight, weight.new_zeros(outputs), None, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor | None) -> tuple[Tensor | None, None, None]:
        features, weight, _, spirals, kept, out, normalized, inverse_std = ctx.saved_tensors
        pushed: Tensor | float = 0.0
        if tangents[0] is not None:
            pushed = pushed + torch.nn.functional.linear(gather_spirals(tangents[0], spirals), weight)
        if tangents[1] is not None:
            pushed = pushed + torch.nn.functional.linear(gather_spirals(features, spirals), tangents[1])
        if not isinstance(pushed, Tensor):  # the norm takes the bias away again
            return torch.zeros_like(out), None, None
        # The norm's derivative is symmetric, so that the backward pass and the forward one are the same map.
        moved = _norm_backward(pushed, normalized, inverse_std)
        moved = moved if kept is None else moved.index_select(1, kept)
        return (moved * (out.clamp(max=0) + 1) if ctx.has_activation else moved), None, None

    @staticmethod
    def vmap(
        info: Any,
        in_dims: tuple[int | None, ...],
        features: Tensor,
        weight: Tensor,
        bias: Tensor,
        spirals: Tensor,
        kept: Tensor | None,
        has_activation: bool,
    ) -> tuple[tuple[Tensor, Tensor, Tensor], tuple[int, int, int]]:
        if any(dim is not None for dim in in_dims[1:]):
            raise NotImplementedError("torch.vmap over the weights of a spiral block; wanted over the scans alone.")
        lanes = features.movedim(in_dims[0] or 0, 0)
        flat = _SpiralBlock.apply(lanes.flatten(end_dim=1), weight, bias, spirals, kept, has_activation)
        shape = lanes.shape[:2]
        first, second, third = (value.unflatten(0, shape) for value in flat)
        return (first, second, third), (0, 0, 0)


def _norm_backward(slope: Tensor, normalized: Tensor, inverse_std: Tensor) -> Tensor:
    """Gradient before the norm from the one after it: without its mean, and without its part along the features."""
    centered = slope - slope.mean(dim=1, keepdim=True)
    along = (slope * normalized).mean(dim=1, keepdim=True)
    return torch.addcmul(centered, normalized, along, value=-1).mul_(inverse_std)
