"""Two encoders of one kind, for identity and expression: built for a topology, or from the tensors of a file."""

from dataclasses import asdict
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.mesh.spiral_hierarchy import spiral_hierarchy
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.wsdf_config import HierarchyConfig
from meshdisent.nn.chebyshev import ChebyshevEncoder, ChebyshevEncoderConfig, graph_edges
from meshdisent.nn.pointnet import ExpressionGaussian, IdentityGaussian
from meshdisent.nn.side_by_side import side_by_side
from meshdisent.nn.spiral import SpiralEncoder, SpiralEncoderConfig

Pair = tuple[SpiralEncoder, SpiralEncoder] | tuple[ChebyshevEncoder, ChebyshevEncoder]
Kind = Literal["spiral", "chebyshev"]


def untrained_pair(
    widths: SpiralEncoderConfig | ChebyshevEncoderConfig,
    sizes: tuple[int, int],
    hierarchy: HierarchyConfig,
    topology: Topology,
) -> Pair:
    """Encoders for codes of these sizes, on levels of this topology; what ``widths`` are decides the kind."""
    levels = spiral_hierarchy(topology, **asdict(hierarchy))
    kept = tuple(torch.from_numpy(rows) for rows in levels.hierarchy.kept)
    if isinstance(widths, ChebyshevEncoderConfig):
        stages = len(widths.channels)
        edges = graph_edges(levels.hierarchy)[:stages]
        of_identity, of_expression = (ChebyshevEncoder(widths, size, edges, kept[:stages]) for size in sizes)
        return of_identity, of_expression
    spirals = tuple(torch.from_numpy(order) for order in levels.spirals[:3])
    identity, expression = (SpiralEncoder(widths, size, spirals, kept[:2]) for size in sizes)
    return identity, expression


def pair_from(
    state: dict[str, Tensor], prefix: str, widths: SpiralEncoderConfig | ChebyshevEncoderConfig, sizes: tuple[int, int]
) -> Pair:
    """Encoders of the right shapes for a file's tensors; ``prefix`` is what the names of the first begin with."""
    trunk = f"{prefix}trunk"
    if isinstance(widths, ChebyshevEncoderConfig):
        stages = range(len(widths.channels))
        edges = tuple(state[f"{trunk}.convs.{stage}.edges"] for stage in stages)
        kept = tuple(state[f"{trunk}.kept_{stage}"] for stage in stages)
        of_identity, of_expression = (ChebyshevEncoder(widths, size, edges, kept) for size in sizes)
        return of_identity, of_expression
    spirals = tuple(state[f"{trunk}.{stage}.conv.spirals"] for stage in (0, 2, 4))
    kept = tuple(state[f"{trunk}.{stage}.kept"] for stage in (1, 3))
    identity, expression = (SpiralEncoder(widths, size, spirals, kept) for size in sizes)
    return identity, expression


class EncoderPair(nn.Module):
    """A pair in the place of a point encoder: both posteriors from scans in unit coordinates.

    Parameters
    ----------
    pair : Its encoders see scans about a face, in units of ``deviation``.
    mean : (V, 3) That face, in unit coordinates.
    deviation : How far coordinates are from it, in unit coordinates.
    """

    identity: SpiralEncoder | ChebyshevEncoder
    expression: SpiralEncoder | ChebyshevEncoder
    mean: Tensor
    deviation: Tensor

    def __init__(self, pair: Pair, mean: Float[Tensor, "vertex 3"], deviation: Float[Tensor, ""]):
        super().__init__()
        self.identity, self.expression = pair
        self.register_buffer("mean", mean.clone())
        self.register_buffer("deviation", deviation.clone())

    def forward(self, vertices: Float[Tensor, "batch vertex 3"]) -> tuple[IdentityGaussian, ExpressionGaussian]:
        """Means and log-variances of the identity codes, then of the expression codes."""
        inputs = (vertices - self.mean) / self.deviation
        identity, expression = side_by_side([self.identity, self.expression], inputs)
        return (identity[0], identity[1]), (expression[0], expression[1])
