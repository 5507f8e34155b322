"""How far two feature vectors lie apart: along their directions, or as points."""

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import DataError

Features = Float[Tensor, "pair feature"]
Distance = Float[Tensor, " pair"]


def cosine_distance(first: Features, second: Features) -> Distance:
    r"""One minus the cosine of each pair, :math:`1 - \langle a, b \rangle / (|a| |b|)`, 0 to 2, in float64.

    Raises
    ------
    DataError : If a vector has no length or is not finite, and so no direction.

    Examples
    --------
    >>> cosine_distance(torch.tensor([[3.0, 0.0], [1.0, 0.0]]), torch.tensor([[2.0, 0.0], [0.0, 5.0]])).tolist()
    [0.0, 1.0]
    """
    a, b = first.double(), second.double()
    lengths = torch.stack([a.norm(dim=1), b.norm(dim=1)])  # (2, P)
    wrong = ~(torch.isfinite(lengths) & (lengths > 0)).all(dim=0)
    if wrong.any():
        raise DataError(
            f"A vector of pair {int(torch.nonzero(wrong)[0])} has no length, or is not finite; wanted a direction. "
            "Leave the pair out."
        )
    return 1 - (a * b).sum(dim=1) / lengths.prod(dim=0)


def euclidean_distance(first: Features, second: Features) -> Distance:
    r"""Length of the difference of each pair, :math:`|a - b|`, in the unit of the features, in float64.

    Examples
    --------
    >>> euclidean_distance(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 4.0]])).tolist()
    [5.0]
    """
    return (first.double() - second.double()).norm(dim=1)
