r"""A spiral block in one piece: gather, convolution, instance norm and ELU of a few scans at a time.

.. math:: n = \frac{y - \bar y}{\sqrt{\operatorname{var} y + \varepsilon}}, \quad y_v = W\,[x_{s_{v,1}}, \ldots] + b

Written operation by operation, a block lays out the gathered features of a whole batch (45 MB for 32 scans of 289
vertices with 128 channels), goes over them several times, and keeps them for the backward pass. Here a few scans go
through everything while they are in the processor's cache, and the backward pass gathers again. On one core a block of
the published sizes takes 0.7 (wide) to 0.4 (narrow) of the time of its plain twin, :func:`plain_block`, forward and
backward: for the wide ones no more than its three matrix products.
"""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

EPSILON = 1e-5
#: Numbers that a few scans may take in a pass on the CPU: about 1.6 MB, which stays in the cache of a core.
CACHED = 400_000


def gather_spirals(
    features: Float[Tensor, "batch vertex channel"], spirals: Int[Tensor, "vertex length"]
) -> Float[Tensor, "batch vertex length*channel"]:
    """Lay the features along each vertex's spiral side by side.

    Examples
    --------
    >>> features = torch.tensor([[[1.0], [2.0], [3.0]]])
    >>> gather_spirals(features, torch.tensor([[0, 1], [1, 2], [2, 0]]))[0].tolist()
    [[1.0, 2.0], [2.0, 3.0], [3.0, 1.0]]
    """
    # Plain indexing gives the same numbers, but its backward pass took up to twice as long on a CPU.
    along = features.index_select(1, spirals.flatten())  # (B, V*L, C)
    return along.unflatten(1, spirals.shape).flatten(start_dim=2)  # (B, V, L*C)


def instance_norm(
    features: Float[Tensor, "batch vertex channel"], epsilon: float = EPSILON
) -> Float[Tensor, "batch vertex channel"]:
    """Give each channel of each scan mean 0 and variance 1 over the vertices; nothing is learned (Ulyanov 2016)."""
    # Two passes of sums: torch.var_mean over this dimension took 20 times as long on a CPU.
    centered = features - features.mean(dim=1, keepdim=True)
    return centered * torch.rsqrt(centered.square().mean(dim=1, keepdim=True) + epsilon)


def plain_block(
    features: Float[Tensor, "batch vertex channel"],
    weight: Float[Tensor, "out width"],
    bias: Float[Tensor, " out"],
    spirals: Int[Tensor, "vertex length"],
    kept: Int[Tensor, " coarse"] | None = None,
    has_activation: bool = True,
) -> Tensor:
    """Convolution, instance norm over all vertices, those that are kept, ELU; the same numbers as ``spiral_block``."""
    normalized = instance_norm(torch.nn.functional.linear(gather_spirals(features, spirals), weight, bias))
    pooled = normalized if kept is None else normalized.index_select(1, kept)
    return torch.nn.functional.elu(pooled) if has_activation else pooled


def spiral_block(
    features: Float[Tensor, "batch vertex channel"],
    weight: Float[Tensor, "out width"],
    bias: Float[Tensor, " out"],
    spirals: Int[Tensor, "vertex length"],
    kept: Int[Tensor, " coarse"] | None = None,
    has_activation: bool = True,
) -> Tensor:
    """Spiral convolution, instance norm, pooling and ELU, a few scans at a time.

    Under autocast the matrix products are made in its type, everything else in that of the features.
    Forward mode and ``torch.func`` go through it. For derivatives of higher order, and while a model is compiled or
    exported, the operations of :func:`plain_block` are taken.

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
        outputs, step = len(weight), _scans_at_once(features, weight, spirals)
        low = _product_dtype(features)
        transposed, added = weight.to(low).t(), bias.to(low)
        normalized = features.new_empty(batch, vertices, outputs)
        inverse_std = features.new_empty(batch, 1, outputs)
        out = features.new_empty(batch, vertices if kept is None else len(kept), outputs)
        gather = _Gather(spirals, channels, min(step, batch), features.device, low)
        for start in range(0, batch, step):
            part = slice(start, start + step)
            y, scale = normalized[part], inverse_std[part]
            if low == features.dtype:
                torch.addmm(added, gather(features[part]), transposed, out=y.view(-1, outputs))
            else:
                y.view(-1, outputs).copy_(torch.addmm(added, gather(features[part]), transposed))
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
        ctx.has_activation, ctx.low = has_activation, _product_dtype(features)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        features, weight, _, spirals, kept, out, normalized, inverse_std = ctx.saved_tensors
        from_out = gradients[0]
        if from_out is None:
            return (None,) * 6
        if torch.is_grad_enabled():
            return _differentiable_backward(ctx, from_out)
        batch, vertices, channels = features.shape
        outputs, step, low = len(weight), _scans_at_once(features, weight, spirals), ctx.low
        low_weight = weight.to(low)
        to_weight, to_bias = torch.zeros_like(weight), weight.new_zeros(outputs)
        to_features = torch.empty_like(features) if ctx.needs_input_grad[0] else None
        gather = _Gather(spirals, channels, min(step, batch), features.device, low)
        scatter = _Scatter(spirals, min(step, batch)) if to_features is not None else None
        for start in range(0, batch, step):
            part = slice(start, start + step)
            slope = from_out[part]
            if ctx.has_activation:
                slope = torch.ops.aten.elu_backward(slope, 1.0, 1.0, 1.0, True, out[part])
            if kept is not None:
                full = slope.new_zeros(len(slope), vertices, outputs)
                slope = full.index_copy_(1, kept, slope)
            to_y = _norm_backward(slope, normalized[part], inverse_std[part]).view(-1, outputs)
            to_bias += to_y.sum(dim=0)
            to_y = to_y.to(low)
            if low == weight.dtype:
                to_weight.addmm_(to_y.t(), gather(features[part]))
            else:
                to_weight += to_y.t() @ gather(features[part])
            if to_features is not None and scatter is not None:
                to_features[part] = scatter((to_y @ low_weight).to(features.dtype), channels)
        return to_features, to_weight, to_bias, None, None, None

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


def _differentiable_backward(ctx: Any, from_out: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated once more, by way of the plain twin."""
    features, weight, bias, spirals, kept = ctx.saved_tensors[:5]
    leaves = features, weight, bias
    wanted = [leaf for leaf, is_wanted in zip(leaves, ctx.needs_input_grad, strict=False) if is_wanted]
    again = plain_block(features, weight, bias, spirals, kept, ctx.has_activation)
    slopes = iter(torch.autograd.grad(again, wanted, from_out, create_graph=True))
    return (*(next(slopes) if is_wanted else None for is_wanted in ctx.needs_input_grad[:3]), None, None, None)


def _scans_at_once(features: Tensor, weight: Tensor, spirals: Tensor) -> int:
    """Scans that go through a pass together: few on a CPU, whose cache is small; all elsewhere."""
    if features.device.type != "cpu":
        return max(len(features), 1)
    return max(1, CACHED // (len(spirals) * (weight.shape[1] + 2 * len(weight))))


def _product_dtype(features: Tensor) -> torch.dtype:
    """What the matrix products are computed in: the type of autocast where that is on, else that of the features."""
    kind = features.device.type
    is_cast = torch.is_autocast_enabled(kind) and features.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if is_cast else features.dtype


class _Gather:
    """Features of a few scans along their spirals, always in the same memory."""

    def __init__(self, spirals: Tensor, channels: int, scans: int, device: torch.device, dtype: torch.dtype):
        vertices, length = spirals.shape
        first = torch.arange(scans, device=spirals.device)[:, None] * vertices
        self.index = (first + spirals.flatten()).flatten()
        self.room = torch.empty(len(self.index), channels, device=device, dtype=dtype)
        self.width = length * channels

    def __call__(self, features: Tensor) -> Tensor:
        """(B, V, C) to (B*V, L*C)."""
        flat = features.flatten(end_dim=1).to(self.room.dtype)
        rows = len(flat) * self.width // self.room.shape[1]
        torch.index_select(flat, 0, self.index[:rows], out=self.room[:rows])
        return self.room[:rows].view(len(flat), self.width)


class _Scatter:
    """The reverse of :class:`_Gather`: sums over all places where a vertex stands on a spiral, in a fixed order."""

    def __init__(self, spirals: Tensor, scans: int):
        places = spirals.flatten()
        counts = torch.bincount(places, minlength=len(spirals))
        first = torch.arange(scans, device=spirals.device)[:, None] * len(places)
        self.places = (first + torch.argsort(places, stable=True)).flatten()
        self.starts = (first + (counts.cumsum(0) - counts)).flatten()
        self.vertices, self.length = spirals.shape

    def __call__(self, along: Tensor, channels: int) -> Tensor:
        """(B*V, L*C) to (B, V, C)."""
        rows = len(along)
        sums = torch.nn.functional.embedding_bag(
            self.places[: rows * self.length], along.view(-1, channels), self.starts[:rows], mode="sum"
        )
        return sums.unflatten(0, (-1, self.vertices))


def _norm_backward(slope: Tensor, normalized: Tensor, inverse_std: Tensor) -> Tensor:
    """Gradient before the norm from the one after it: without its mean, and without its part along the features."""
    centered = slope - slope.mean(dim=1, keepdim=True)
    along = (slope * normalized).mean(dim=1, keepdim=True)
    return torch.addcmul(centered, normalized, along, value=-1).mul_(inverse_std)
