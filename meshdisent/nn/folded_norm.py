r"""A linear layer with batch norm and ReLU over many rows, in one piece: the norm is folded into the layer.

.. math::
    y = \max(0, W' x + b'), \quad W'_c = a_c w_c, \quad b'_c = \beta_c - a_c w_c^T \bar x, \quad
    a_c = \gamma_c / \sqrt{w_c^T \operatorname{cov}(x)\, w_c + \varepsilon}

Mean and variance of a linear layer follow from mean and covariance of its input, so what comes out of the layer need
not be gone over for them; and in the backward pass all that the statistics add to the gradient of the input is one
product with a small matrix. A few thousand rows at a time go through everything while they are in the processor's
cache. That is the exact batch norm and its exact gradient.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from meshdisent.nn.winners import find_winners, points_at

#: Rows that go through everything at once: 1 MB with 64 channels.
_ROWS = 4096


def normalized_layer(
    rows: Float[Tensor, "row channel"], linear: nn.Module, norm: nn.Module
) -> Float[Tensor, "row out"]:
    """``relu(norm(linear(rows)))``; in training mode the buffers of the norm move as torch would move them."""
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.autocast(rows.device.type, enabled=False):
        rows = rows.to(linear.weight.dtype)
        if norm.training:
            mean, covariance = take_statistics(rows, linear, norm)
            return _Layer.apply(rows, mean, covariance, linear.weight, linear.bias, norm.weight, norm.bias, norm.eps)
        weight, bias = fold_running(linear, norm)
        return nn.functional.relu(nn.functional.linear(rows, weight, bias))


def largest_normalized(
    points: Float[Tensor, "batch vertex channel"], linear: nn.Module, norm: nn.Module
) -> Float[Tensor, "batch out"]:
    """The largest ``relu(norm(linear(points)))`` over the points of each scan, by its winning points."""
    assert isinstance(linear, nn.Linear)
    assert isinstance(norm, nn.BatchNorm1d)
    with torch.autocast(points.device.type, enabled=False):
        points = points.to(linear.weight.dtype)
        if norm.training:
            mean, covariance = take_statistics(points.flatten(0, 1), linear, norm)
            return _Largest.apply(
                points, mean, covariance, linear.weight, linear.bias, norm.weight, norm.bias, norm.eps
            )
        weight, bias = fold_running(linear, norm)
        if torch.compiler.is_compiling():  # the number of scans stays open then
            return nn.functional.relu((points @ weight.T).amax(dim=1) + bias)
        with torch.no_grad():
            winners = torch.stack([find_winners(scan, weight) for scan in points])
        return nn.functional.relu((points_at(points, winners) * weight).sum(dim=2) + bias)


@torch.no_grad()
def take_statistics(
    rows: Float[Tensor, "row channel"], linear: nn.Linear, norm: nn.BatchNorm1d
) -> tuple[Float[Tensor, " channel"], Float[Tensor, "channel channel"]]:
    """Mean and covariance of what goes into a layer; the running statistics of its norm move towards what comes out."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    assert norm.num_batches_tracked is not None
    assert norm.momentum is not None
    mean = rows.mean(dim=0)
    covariance = rows.new_zeros(rows.shape[1], rows.shape[1])
    for some in rows.split(_ROWS):
        apart = some - mean  # before they are multiplied: nearly equal rows would lose their digits
        covariance.addmm_(apart.T, apart)
    covariance /= len(rows)
    variance = ((linear.weight @ covariance) * linear.weight).sum(dim=1)
    norm.running_mean.lerp_(nn.functional.linear(mean, linear.weight, linear.bias), norm.momentum)
    norm.running_var.lerp_(variance * (len(rows) / (len(rows) - 1)), norm.momentum)
    norm.num_batches_tracked += 1
    return mean, covariance


def fold(
    mean: Float[Tensor, " channel"],
    covariance: Float[Tensor, "channel channel"],
    weight: Float[Tensor, "out channel"],
    gain: Float[Tensor, " out"],
    shift: Float[Tensor, " out"],
    epsilon: float,
) -> tuple[Float[Tensor, "out channel"], Float[Tensor, " out"]]:
    """Weight and bias of the layer with its norm folded in; the layer's own bias cancels."""
    variance = ((weight @ covariance) * weight).sum(dim=1)
    factor = gain * torch.rsqrt(variance.clamp(min=0) + epsilon)
    return weight * factor[:, None], shift - factor * (weight @ mean)


def fold_running(linear: nn.Linear, norm: nn.BatchNorm1d) -> tuple[Float[Tensor, "out channel"], Float[Tensor, " out"]]:
    """The same in evaluation mode, with the running statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    factor = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    return linear.weight * factor[:, None], norm.bias + factor * (linear.bias - norm.running_mean)


class _Layer(torch.autograd.Function):
    """See :func:`normalized_layer`; mean and covariance are those of ``rows``, and their gradients go there."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, *small: Any) -> Tensor:
        mean, covariance, weight, bias, gain, shift, ctx.epsilon = small
        folded, added = fold(mean, covariance, weight, gain, shift, ctx.epsilon)
        out = rows.new_empty(len(rows), len(weight))
        for some, into in zip(rows.split(_ROWS), out.split(_ROWS), strict=True):
            torch.addmm(added, some, folded.T, out=into).relu_()
        ctx.save_for_backward(rows, out, mean, covariance, weight, bias, gain, shift)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        rows, out, *small = ctx.saved_tensors
        folded = torch.zeros_like(small[2])
        added = torch.zeros_like(small[4])
        for some, shown, given in zip(*(t.split(_ROWS) for t in (rows, out, gradient)), strict=True):
            active = given * (shown > 0)
            folded.addmm_(active.T, some)
            added += active.sum(dim=0)
        change = _Change(len(rows), small, ctx.epsilon, folded, added)
        if not ctx.needs_input_grad[0]:
            return None, *change.of_small
        into = torch.empty_like(rows)
        for some, shown, given, part in zip(*(t.split(_ROWS) for t in (rows, out, gradient, into)), strict=True):
            torch.addmm(change.constant, some, change.matrix, out=part)
            part.addmm_(given * (shown > 0), change.weight)
        return into, *change.of_small


class _Largest(torch.autograd.Function):
    """See :func:`largest_normalized`."""

    @staticmethod
    def forward(ctx: Any, points: Tensor, *small: Any) -> Tensor:
        mean, covariance, weight, bias, gain, shift, ctx.epsilon = small
        folded, added = fold(mean, covariance, weight, gain, shift, ctx.epsilon)
        winners = torch.stack([find_winners(scan, folded) for scan in points])
        largest = ((points_at(points, winners) * folded).sum(dim=2) + added).relu_()
        ctx.save_for_backward(points, winners, largest, mean, covariance, weight, bias, gain, shift)
        return largest

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        points, winners, largest, *small = ctx.saved_tensors
        active = gradient * (largest > 0)  # (B, F)
        folded = (active[:, :, None] * points_at(points, winners)).sum(dim=0)
        rows = points.flatten(0, 1)
        change = _Change(len(rows), small, ctx.epsilon, folded, active.sum(dim=0))
        if not ctx.needs_input_grad[0]:
            return None, *change.of_small
        into = torch.addmm(change.constant, rows, change.matrix)
        start = torch.arange(len(points), device=points.device)[:, None] * points.shape[1]
        into.index_add_(0, (winners + start).flatten(), (active[:, :, None] * change.weight).flatten(0, 1))
        return into.unflatten(0, points.shape[:2]), *change.of_small


class _Change:
    """From the gradient of the folded weight and bias to those of everything that they were made from.

    Attributes
    ----------
    weight : (F, C) The folded weight: what the rows' own way back is multiplied by.
    matrix, constant : (C, C) and (C,) What the statistics add to the gradient of a row x: ``x @ matrix + constant``.
    of_small : Gradients of the other arguments of the functions above, in their order.
    """

    def __init__(self, count: int, small: list[Tensor], epsilon: float, folded: Tensor, added: Tensor):
        mean, covariance, weight, bias, gain, shift = small
        leaves = [tensor.detach().requires_grad_() for tensor in (mean, covariance, weight, gain, shift)]
        with torch.enable_grad():
            made = fold(leaves[0], leaves[1], leaves[2], leaves[3], leaves[4], epsilon)
        of_mean, of_covariance, of_weight, of_gain, of_shift = torch.autograd.grad(made, leaves, (folded, added))
        self.weight = made[0].detach()
        self.matrix = (of_covariance + of_covariance.T) / count
        self.constant = of_mean / count - mean @ self.matrix
        # The layer's bias has no gradient, since the norm takes it away; zero, so that its weight decay goes on.
        self.of_small = (None, None, of_weight, torch.zeros_like(bias), of_gain, of_shift, None)
