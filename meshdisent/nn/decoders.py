r"""Decoders: codes to standardized scans (WSDF, eq. 1 and figure 1c).

.. math:: X^r = G(R(z_{id}, z_{exp})), \qquad X^n = G(R(z_{id}, 0))
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from meshdisent.nn.additive import AdditiveDecoder
from meshdisent.nn.recoupler import Recoupler


class Generator(nn.Module):
    """Multilayer perceptron from a fused code to all vertices, ELU between its layers and nothing after the last.

    Parameters
    ----------
    fused_size : Entries of the fused code, K.
    hidden : Widths of the layers between.
    vertex_count : V.
    """

    def __init__(self, fused_size: int, hidden: Sequence[int], vertex_count: int):
        super().__init__()
        self.vertex_count = vertex_count
        layers: list[nn.Module] = []
        widths = [fused_size, *hidden]
        for width_in, width_out in pairwise(widths):
            layers += [nn.Linear(width_in, width_out), nn.ELU()]
        self.net = nn.Sequential(*layers, nn.Linear(widths[-1], 3 * vertex_count))

    def forward(self, fused: Float[Tensor, "batch fused"]) -> Float[Tensor, "batch vertex 3"]:
        """Standardized scans."""
        return self.net(fused).unflatten(1, (self.vertex_count, 3))

    def hidden(self, fused: Float[Tensor, "batch fused"]) -> Float[Tensor, "batch hidden"]:
        """What the last layer sees."""
        return self.net[:-1](fused)

    def hidden_along(
        self, fused: Float[Tensor, "batch fused"], along: Float[Tensor, "batch fused"]
    ) -> tuple[Float[Tensor, "batch hidden"], Float[Tensor, "batch hidden"]]:
        """What the last layer sees, and its derivative in a direction of the fused code.

        The same as forward mode gives; torch takes that apart into some hundred small operations.
        """
        for layer in list(self.net)[:-1]:
            fused = layer(fused)
            if isinstance(layer, nn.Linear):
                along = nn.functional.linear(along, layer.weight)
            else:
                along = along * (fused.clamp(max=0) + 1)  # of ELU
        return fused, along

    @property
    def last(self) -> nn.Linear:
        """The layer to the vertices, by far the largest."""
        layer = self.net[-1]
        assert isinstance(layer, nn.Linear)
        return layer


class StandardFaces(NamedTuple):
    """What a training step looks at, in standardized coordinates; what was not asked for is None."""

    shown: Float[Tensor, "batch vertex 3"]
    neutral: Float[Tensor, "batch vertex 3"] | None
    displacement: Float[Tensor, "pair vertex 3"] | None
    directional: Float[Tensor, "pair vertex 3"] | None


class RecoupledDecoder(nn.Module):
    """Both codes through the Re-coupler, then the generator."""

    def __init__(self, recoupler: Recoupler, generator: Generator):
        super().__init__()
        self.recoupler = recoupler
        self.generator = generator

    def forward(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Standardized scans from both codes."""
        return self.generator(self.recoupler(identity, expression))

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Standardized faces at rest: the expression code is zero."""
        return self.generator(self.recoupler.neutral(identity))

    def displacement(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """How far expressions move faces from rest: the difference is taken before the last layer, which is linear."""
        inverse = self.recoupler.inverse_lengths()
        moved = self.generator.hidden(self.recoupler.fuse(identity, expression, inverse))
        rest = self.generator.hidden(self.recoupler.fuse_neutral(identity, inverse))
        flat = (moved - rest) @ self.generator.last.weight.T
        return flat.unflatten(1, (self.generator.vertex_count, 3))

    def all_at_once(
        self,
        identity: Float[Tensor, "batch identity"],
        expression: Float[Tensor, "batch expression"],
        has_neutral: bool,
        pairs: tuple[Float[Tensor, "pair identity"], Float[Tensor, "pair expression"]] | None,
    ) -> StandardFaces:
        r"""Everything that a training step asks of the decoder, in one product with the last layer.

        The same as ``self(identity, expression)``, ``self.neutral(identity)`` and, for ``pairs`` of codes, the
        displacement :math:`f(z) - f(0)` and its derivative :math:`J_f(z)\,z` along the expression code, of which the
        last layer needs the difference and the derivative of its input alone.
        """
        inverse = self.recoupler.inverse_lengths()
        fused = [self.recoupler.fuse(identity, expression, inverse)]
        if has_neutral:
            fused.append(self.recoupler.fuse_neutral(identity, inverse))
        faces = self.generator.hidden(torch.cat(fused))
        rows = [faces] if pairs is None else [faces, *self._hidden_growth(*pairs, inverse)]
        last = self.generator.last
        found = (torch.cat(rows) @ last.weight.T).split([len(part) for part in rows])
        scans = [part.unflatten(1, (self.generator.vertex_count, 3)) for part in (found[0] + last.bias, *found[1:])]
        shown = scans[0].split(len(identity))
        grown = scans[1:] or (None, None)
        return StandardFaces(shown[0], shown[1] if has_neutral else None, *grown)

    @torch.no_grad()
    def silence(self) -> None:
        """Let every face be zero."""
        self.shrink(0.0)

    @torch.no_grad()
    def shrink(self, factor: float) -> None:
        """Multiply all faces by a factor."""
        self.generator.last.weight.mul_(factor)
        self.generator.last.bias.mul_(factor)

    def _hidden_growth(self, identity: Tensor, expression: Tensor, inverse: Tensor) -> tuple[Tensor, Tensor]:
        """Difference from rest and derivative along the expression code of what the last layer sees."""
        fused, along = self.recoupler.fuse_along(identity, expression, inverse)
        moved, directional = self.generator.hidden_along(fused, along)
        return moved - self.generator.hidden(self.recoupler.fuse_neutral(identity, inverse)), directional


class AddedDecoder(nn.Module):
    """FED's additive decoder in the place of a recoupled one: offsets of both codes, at rest that of the zero code.

    Parameters
    ----------
    branches : One generator a code. What it gives is a standardized scan.
    """

    def __init__(self, branches: AdditiveDecoder):
        super().__init__()
        self.branches = branches

    def forward(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """Standardized scans from both codes."""
        return self.branches(identity, expression)

    def neutral(self, identity: Float[Tensor, "batch identity"]) -> Float[Tensor, "batch vertex 3"]:
        """Standardized faces at rest: the expression code is zero."""
        return self.branches.neutral(identity) + self._at_rest(identity)

    def displacement(
        self, identity: Float[Tensor, "batch identity"], expression: Float[Tensor, "batch expression"]
    ) -> Float[Tensor, "batch vertex 3"]:
        """How far expressions move faces from rest: every face alike."""
        return self.branches.expression_only(expression) - self._at_rest(identity)

    def all_at_once(
        self,
        identity: Float[Tensor, "batch identity"],
        expression: Float[Tensor, "batch expression"],
        has_neutral: bool,
        pairs: tuple[Float[Tensor, "pair identity"], Float[Tensor, "pair expression"]] | None,
    ) -> StandardFaces:
        """As in :class:`RecoupledDecoder`."""
        offsets, rest = self.branches.neutral(identity), self._at_rest(identity)
        shown = offsets + self.branches.expression_only(expression)
        grown: tuple[Tensor | None, Tensor | None] = (None, None)
        if pairs is not None:
            moved, directional, *_ = torch.func.jvp(self.branches.expression_only, (pairs[1],), (pairs[1].detach(),))
            grown = moved - rest, directional
        return StandardFaces(shown, offsets + rest if has_neutral else None, *grown)

    @torch.no_grad()
    def silence(self) -> None:
        """Let every face be zero."""
        self.branches.shrink(0.0)

    def _at_rest(self, like: Tensor) -> Float[Tensor, "1 vertex 3"]:
        first = self.branches.expression_branch.net[0]
        assert isinstance(first, nn.Linear)
        return self.branches.expression_only(like.new_zeros(1, first.in_features))


def published_decoder_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Translate the published decoder's state dict: ``gen_model.net.*`` is our ``generator.net.*``."""
    return {name.replace("gen_model.", "generator."): value for name, value in state.items()}


def published_decoder(state: Mapping[str, Tensor]) -> RecoupledDecoder:
    """Build the published decoder with all widths read off its tensors."""
    ours = published_decoder_state(state)
    fused_size, identity_size, expression_size = ours["recoupler.weight"].shape
    layers = sorted(int(name.split(".")[2]) for name in ours if name.endswith(".weight") and name.startswith("gen"))
    widths = [ours[f"generator.net.{layer}.weight"].shape[0] for layer in layers]
    generator = Generator(fused_size, widths[:-1], widths[-1] // 3)
    decoder = RecoupledDecoder(Recoupler(identity_size, expression_size, fused_size), generator)
    decoder.load_state_dict(ours)
    return decoder.to(ours["recoupler.weight"].dtype)
