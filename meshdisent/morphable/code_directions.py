"""Leading directions of a code: what moves the face most where codes are likely.

Where codes are likely is the Gaussian of ``model.prior()``. Its covariance alone does not say what people see: the
entries of a variational code all vary alike. So the face is moved by one deviation along each column of the factor
:math:`L`, and the principal directions of these movements, in mm, turn the columns:

.. math:: R_j = (f(m + L e_j) - f(m - L e_j)) / 2, \\quad R R^T = W \\Lambda W^T, \\quad D = W^T L^T

Rows of :math:`D` are one standard deviation long (Mahalanobis), independent under the prior, and in the order of what
they do to a face. For a linear model they are the principal components of its faces.
"""

from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.morphable.contract import Codes, MorphableModel

_BLOCK = 64


@dataclass(frozen=True, eq=False)
class CodeDirections:
    """All directions of one code, the leading ones first.

    Attributes
    ----------
    mean : (C,) The mean code.
    directions : (C, C) A row for each direction, one standard deviation long.
    moved_mm : (C,) Root mean square over the vertices of what one standard deviation does, mm, descending.
    """

    mean: Float[Tensor, " code"]
    directions: Float[Tensor, "code code"]
    moved_mm: Float[Tensor, " code"]

    def code(self, coordinates: Float[Tensor, "batch code"]) -> Float[Tensor, "batch code"]:
        """The codes at coordinates in standard deviations."""
        return self.mean + coordinates @ self.directions

    def coordinates(self, code: Float[Tensor, "batch code"]) -> Float[Tensor, "batch code"]:
        """Where codes lie, in standard deviations along the directions."""
        return torch.linalg.solve(self.directions.T, (code - self.mean).T).T


@torch.no_grad()
def leading_directions(model: MorphableModel, factor: Literal["identity", "expression"]) -> CodeDirections:
    """Directions of one code in float64, on the CPU; the sign of each moves its most moved coordinate up.

    Examples
    --------
    >>> found = leading_directions(model, "identity")
    >>> bool((found.moved_mm.diff() <= 0).all()), found.directions.shape == (model.identity_size,) * 2
    (True, True)
    """
    prior = model.prior()
    mean, root = (
        (prior.identity_mean, prior.identity_factor)
        if factor == "identity"
        else (prior.expression_mean, prior.expression_factor)
    )
    steps = root.T  # a row for each column of L
    moved = torch.cat(
        [
            (_faces(model, factor, mean + part) - _faces(model, factor, mean - part)).flatten(1).double().cpu() / 2
            for part in steps.split(_BLOCK)
        ]
    )
    squares, turn = torch.linalg.eigh(moved @ moved.T / model.topology.vertex_count)
    squares, turn = squares.flip(0).clamp(min=0), turn.flip(1)
    shown = turn.T @ moved
    strongest = shown.gather(1, shown.abs().argmax(dim=1, keepdim=True)) < 0
    turn = torch.where(strongest.T, -turn, turn)
    return CodeDirections(mean.double().cpu(), turn.T @ steps.double().cpu(), squares.sqrt())


def _faces(model: MorphableModel, factor: str, codes: Tensor) -> Float[Tensor, "batch vertex 3"]:
    """Faces of codes of one kind, the other one being the mean; of identities at rest, where that is defined."""
    prior, count = model.prior(), len(codes)
    if factor == "expression":
        return model.decode(Codes(prior.identity_mean.expand(count, -1), codes))
    if model.expression_size:
        return model.neutral(codes)
    return model.decode(Codes(codes, prior.expression_mean.expand(count, -1)))
