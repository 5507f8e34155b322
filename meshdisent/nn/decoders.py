r"""Decoders: codes to standardized scans (WSDF, eq. 1 and figure 1c).

.. math:: X^r = G(R(z_{id}, z_{exp})), \qquad X^n = G(R(z_{id}, 0))
"""

from collections.abc import Mapping, Sequence
from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

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
