r"""Layers that all points share, then the maximum over the points (PointNet, Qi et al. 2017).

.. math:: h_i = \max(0, N_i(W_i h_{i-1} + b_i)), \qquad f_c = \max_v h_{n,v,c}

with :math:`N_i` batch norm over the points of all scans, or nothing. A gradient reaches a channel through its winning
point alone, so the last and by far largest layer is gone through twice, each time cheaply: densely and without a graph
to find the winners, then with a graph at the winners only. That is the exact gradient. Batch norm couples all points;
how it is spared the same way stands in :mod:`meshdisent.nn.folded_norm`.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from meshdisent.nn.folded_norm import largest_normalized, normalized_layer
from meshdisent.nn.winners import find_winners, points_at


class PointFeatures(nn.Module):
    """Features of point sets: shared layers on every point, the maximum over the points of each channel.

    Parameters
    ----------
    width_in : Numbers of a point.
    channels : Widths of the layers, the last one that of the feature.

    Examples
    --------
    >>> features = PointFeatures(3, (8, 16))
    >>> features.plain(torch.randn(2, 50, 3)).shape, features(torch.randn(2, 50, 3)).min() >= 0
    (torch.Size([2, 16]), tensor(True))
    """

    def __init__(self, width_in: int, channels: Sequence[int]):
        super().__init__()
        self.linears = nn.ModuleList([nn.Linear(a, b) for a, b in pairwise((width_in, *channels))])
        self.norms = nn.ModuleList([nn.BatchNorm1d(width) for width in channels])

    def forward(self, points: Float[Tensor, "batch vertex width"]) -> Float[Tensor, "batch feature"]:
        """With batch norm in each layer; in training mode its statistics are the batch's and move its buffers."""
        rows = points.flatten(0, 1)  # (B*V, W)
        for linear, norm in zip(self.linears[:-1], self.norms[:-1], strict=True):
            rows = normalized_layer(rows, linear, norm)
        return largest_normalized(rows.unflatten(0, points.shape[:2]), self.linears[-1], self.norms[-1])

    def plain(self, points: Float[Tensor, "batch vertex width"]) -> Float[Tensor, "batch feature"]:
        """Without batch norm: every layer is gone through with a graph at the winning points only."""
        if torch.compiler.is_compiling():  # the number of scans stays open then
            for linear in self.linears:
                points = nn.functional.relu(linear(points))
            return points.amax(dim=1)
        with torch.no_grad():
            winners = torch.stack([self._plain_winners(scan) for scan in points])
        hidden = points_at(points, winners)  # (B, F, W)
        for linear in self.linears[:-1]:
            hidden = nn.functional.relu(linear(hidden))
        last = self.linears[-1]
        assert isinstance(last, nn.Linear)
        return nn.functional.relu((hidden * last.weight).sum(dim=2) + last.bias)

    def _plain_winners(self, points: Float[Tensor, "vertex width"]) -> Int[Tensor, " feature"]:
        for linear in self.linears[:-1]:
            points = nn.functional.relu(linear(points))
        last = self.linears[-1]
        assert isinstance(last, nn.Linear)
        return find_winners(points, last.weight)
