"""What spiral blocks are made of: features along spirals and back, the norm, and the block written plainly."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.weak import WeakIdKeyDictionary

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


def differentiable_backward(ctx: Any, from_out: Tensor) -> tuple[Tensor | None, ...]:
    """Gradients that can be differentiated once more, by way of the plain twin."""
    features, weight, bias, spirals, kept = ctx.saved_tensors[:5]
    leaves = features, weight, bias
    wanted = [leaf for leaf, is_wanted in zip(leaves, ctx.needs_input_grad, strict=False) if is_wanted]
    again = plain_block(features, weight, bias, spirals, kept, ctx.has_activation)
    slopes = iter(torch.autograd.grad(again, wanted, from_out, create_graph=True))
    return (*(next(slopes) if is_wanted else None for is_wanted in ctx.needs_input_grad[:3]), None, None, None)


def scans_at_once(features: Tensor, weight: Tensor, spirals: Tensor) -> int:
    """Scans that go through a pass together: few on a CPU, whose cache is small; all elsewhere."""
    if features.device.type != "cpu":
        return max(len(features), 1)
    return max(1, CACHED // (len(spirals) * (weight.shape[1] + 2 * len(weight))))


def product_dtype(features: Tensor) -> torch.dtype:
    """What the matrix products are computed in: the type of autocast where that is on, else that of the features."""
    kind = features.device.type
    is_cast = torch.is_autocast_enabled(kind) and features.dtype != torch.float64
    return torch.get_autocast_dtype(kind) if is_cast else features.dtype


class Gather:
    """Features of a few scans along their spirals, always in the same memory."""

    def __init__(self, spirals: Tensor, channels: int, scans: int, device: torch.device, dtype: torch.dtype):
        self.index = places_of(spirals, scans).places
        self.room = torch.empty(len(self.index), channels, device=device, dtype=dtype)
        self.width = spirals.shape[1] * channels

    def __call__(self, features: Tensor) -> Tensor:
        """(B, V, C) to (B*V, L*C)."""
        flat = features.flatten(end_dim=1).to(self.room.dtype)
        rows = len(flat) * self.width // self.room.shape[1]
        torch.index_select(flat, 0, self.index[:rows], out=self.room[:rows])
        return self.room[:rows].view(len(flat), self.width)


class Scatter:
    """The reverse of :class:`Gather`: sums over all places where a vertex stands on a spiral, in a fixed order."""

    def __init__(self, spirals: Tensor, scans: int):
        self.order, self.starts = places_of(spirals, scans).by_vertex(spirals)
        self.vertices, self.length = spirals.shape

    def __call__(self, along: Tensor, channels: int) -> Tensor:
        """(B*V, L*C) to (B, V, C)."""
        rows = len(along)
        sums = torch.nn.functional.embedding_bag(
            self.order[: rows * self.length], along.view(-1, channels), self.starts[:rows], mode="sum"
        )
        return sums.unflatten(0, (-1, self.vertices))


class _Places:
    """Where the vertices of a few scans stand on spirals, all scans in one list.

    Attributes
    ----------
    places : (B*V*L,) Vertex at each place.
    """

    def __init__(self, spirals: Tensor, scans: int):
        self.scans = scans
        first = torch.arange(scans, device=spirals.device)[:, None] * len(spirals)
        self.places = (first + spirals.flatten()).flatten()
        self._by_vertex: tuple[Tensor, Tensor] | None = None

    def by_vertex(self, spirals: Tensor) -> tuple[Tensor, Tensor]:
        """(B*V*L,) The places in order of their vertices, and (B*V,) where each vertex begins in it."""
        if self._by_vertex is None:
            places = spirals.flatten()
            counts = torch.bincount(places, minlength=len(spirals))
            first = torch.arange(self.scans, device=places.device)[:, None] * len(places)
            order = (first + torch.argsort(places, stable=True)).flatten()
            self._by_vertex = order, (first + (counts.cumsum(0) - counts)).flatten()
        return self._by_vertex


#: For each tensor of spirals that is alive: its version and number of scans, and what follows from them.
_known: WeakIdKeyDictionary = WeakIdKeyDictionary()


def places_of(spirals: Tensor, scans: int) -> _Places:
    """Kept from step to step: finding the order again took 3 % of a step. Spirals that were written to are new ones."""
    if spirals.is_inference():  # knows no version
        return _Places(spirals, scans)
    key = spirals._version, scans
    known = _known.get(spirals)
    if known is None or known[0] != key:
        known = key, _Places(spirals, scans)
        _known[spirals] = known
    return known[1]
