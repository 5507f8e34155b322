r"""The additive decoder of FED: an identity offset and an expression offset, added to the mean face (FED, eq. 3).

.. math:: \hat X = m + D_{id}(z_{id}) + D_{exp}(z_{exp})

The face of an identity at rest is :math:`m + D_{id}(z_{id})`; neither branch knows the other's code.
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.errors import RecipeError


class OffsetBranch(nn.Module):
    """Offsets of all vertices from one code: linear layers with ReLU between them and nothing after the last.

    Parameters
    ----------
    code_size : Entries of the code.
    hidden : Widths of the layers between; published: one of 256.
    vertex_count : V.
    """

    def __init__(self, code_size: int, hidden: Sequence[int], vertex_count: int):
        super().__init__()
        if any(width < 1 for width in hidden):
            raise RecipeError(f"The decoder's hidden widths are {list(hidden)}; wanted positive ones, such as [256].")
        widths = [code_size, *hidden]
        layers: list[nn.Module] = []
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ReLU()]
        self.vertex_count = vertex_count
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], 3 * vertex_count))

    def forward(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch vertex 3"]:
        """Offsets, in the unit of the faces that they are added to."""
        return self.net(code).unflatten(1, (self.vertex_count, 3))

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Multiply all offsets by a factor."""
        last = self.net[-1]
        assert isinstance(last, nn.Linear)
        last.weight.mul_(factor)
        last.bias.mul_(factor)


class AdditiveDecoder(nn.Module):
    """Two branches whose offsets are added.

    Parameters
    ----------
    identity_size, expression_size : Entries of the codes.
    hidden : Widths between, of each branch.
    vertex_count : V.

    Examples
    --------
    >>> decoder = AdditiveDecoder(3, 2, (8,), vertex_count=5)
    >>> identity, expression = torch.randn(4, 3), torch.randn(4, 2)
    >>> offset = decoder(identity, expression)
    >>> torch.equal(offset, decoder.neutral(identity) + decoder.expression_only(expression))
    True
    """

    def __init__(self, identity_size: int, expression_size: int, hidden: Sequence[int], vertex_count: int):
        super().__init__()
        self.identity_branch = OffsetBranch(identity_size, hidden, vertex_count)
        self.expression_branch = OffsetBranch(expression_size, hidden, vertex_count)

    def forward(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Offsets of faces from the mean face."""
        return self.identity_branch(identity) + self.expression_branch(expression)

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Offsets of faces at rest."""
        return self.identity_branch(identity)

    def expression_only(self, expression: Float[Tensor, "batch expression"]) -> Float[Tensor, "batch vertex 3"]:
        """Offsets of expressions on the mean face."""
        return self.expression_branch(expression)

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Multiply all offsets by a factor."""
        self.identity_branch.shrink(factor)
        self.expression_branch.shrink(factor)


def published_additive_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the decoders' part of FED's published state dict.

    There the last layer gives all x, then all y, then all z; here x, y, z of each vertex.
    """
    ours: dict[str, Tensor] = {}
    for branch, short in (("identity", "id"), ("expression", "exp")):
        for layer, place in (("fc1", 0), ("fc2", 2)):
            for kind in ("weight", "bias"):
                value = state[f"{layer}_{short}.{kind}"]
                ours[f"{branch}_branch.net.{place}.{kind}"] = value if layer == "fc1" else by_vertex(value)
    return ours


def by_vertex(values: Float[Tensor, "coordinate *rest"]) -> Float[Tensor, "coordinate *rest"]:
    """Put rows that are ordered by coordinate (all x, all y, all z) in the order of the vertices (x, y, z of each).

    Examples
    --------
    >>> by_vertex(torch.tensor([1, 2, 10, 20, 100, 200.0])).tolist()
    [1.0, 10.0, 100.0, 2.0, 20.0, 200.0]
    """
    return torch.stack(values.chunk(3), dim=1).flatten(0, 1)
