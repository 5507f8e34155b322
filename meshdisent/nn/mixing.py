r"""New people from pairs of training subjects, so that a network does not learn a few hundred people by heart (ours).

.. math:: n' = \bar n + \cos t\,(n_a - \bar n) + \sin t\,(n_b - \bar n), \qquad X' = n' + (X_a - n_a)

With :math:`n` the bank's entries. Where subjects are spread like a Gaussian, so are the new ones: the weights keep the
variance. The expression is carried over as it is.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


class Pairs(NamedTuple):
    """With whom each scan of a batch is mixed, and how much; an angle of 0 leaves a scan as it is."""

    partner: Int[Tensor, " batch"]
    angle: Float[Tensor, " batch"]

    @property
    def is_mixed(self) -> Bool[Tensor, " batch"]:
        """True for scans that change."""
        return self.angle != 0


def draw_pairs(subject: Int[Tensor, " batch"], share: float, generator: torch.Generator) -> Pairs:
    """Draw a partner for about ``share`` of the scans, with angles even between 0 and a right angle.

    A scan that meets its own subject stays as it is: mixing a person with itself would only make it more extreme.
    """
    count, device = len(subject), generator.device
    partner = torch.randperm(count, generator=generator, device=device).to(subject.device)
    drawn = torch.rand(2, count, generator=generator, device=device).to(subject.device)
    is_mixed = (drawn[0] < share) & (subject != subject[partner])
    return Pairs(partner, torch.where(is_mixed, drawn[1] * (torch.pi / 2), 0.0))


def mix_people(
    vertices: Float[Tensor, "batch vertex 3"],
    neutrals: Float[Tensor, "batch vertex 3"],
    mean: Float[Tensor, "vertex 3"],
    pairs: Pairs,
) -> tuple[Float[Tensor, "batch vertex 3"], Float[Tensor, "batch vertex 3"]]:
    """Scans of the new people and their faces at rest, in mm.

    Examples
    --------
    >>> scans, rest = torch.tensor([[[3.0, 0, 0]], [[0, 1.0, 0]]]), torch.tensor([[[2.0, 0, 0]], [[0, 1.0, 0]]])
    >>> pairs = Pairs(torch.tensor([1, 0]), torch.tensor([torch.pi / 2, 0.0]))
    >>> _, mixed = mix_people(scans, rest, torch.zeros(1, 3), pairs)
    >>> torch.allclose(mixed[0], rest[1], atol=1e-6), torch.equal(mixed[1], rest[1])
    (True, True)
    """
    own = neutrals - mean
    angle = pairs.angle.to(vertices)[:, None, None]
    mixed = torch.where(
        pairs.is_mixed[:, None, None], mean + angle.cos() * own + angle.sin() * own[pairs.partner], neutrals
    )
    return mixed + (vertices - neutrals), mixed
