"""Leading principal directions of many scans, without a matrix larger than the scans themselves.

A randomized subspace iteration (Halko, Martinsson and Tropp 2011; ``torch.svd_lowrank``) where the matrix is large, the
exact decomposition where it is small.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

#: Up to this many rows or columns the exact decomposition costs less than a second.
_SMALL = 700
#: Deviations below this share of the largest are rounding: centered rows span one direction less than there are rows,
#: and in single precision the missing one comes out at about 1e-6.
_NOISE = 1e-5


class PrincipalDirections(NamedTuple):
    """Orthonormal directions and the standard deviation (root mean square for uncentered data) along each."""

    directions: Float[Tensor, "component coordinate"]
    deviations: Float[Tensor, " component"]


def principal_directions(rows: Float[Tensor, "scan coordinate"], count: int, rounds: int = 4) -> PrincipalDirections:
    """The ``count`` directions along which rows vary most, about the origin: center them first if that is wanted.

    Fewer are given where the rows span fewer. The sign of a direction is fixed by its largest entry, and the random
    start by a seed of its own, so the same rows give the same directions. ``rounds`` of the iteration make the last few
    of many directions exact; where these only serve as coordinates, one will do.
    """
    smaller = min(rows.shape)
    if smaller <= _SMALL or count > smaller // 2:
        _, values, transposed = torch.linalg.svd(rows, full_matrices=False)
        directions = transposed
    else:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            _, values, columns = torch.svd_lowrank(rows, q=min(count + 30, smaller), niter=rounds)
        directions = columns.T
    spanned = int((values > _NOISE * values[0]).sum()) if len(values) and values[0] > 0 else 0
    keep = min(count, spanned)
    directions, values = directions[:keep], values[:keep]
    largest = directions.gather(1, directions.abs().argmax(dim=1, keepdim=True))
    return PrincipalDirections(directions * largest.sign(), values / len(rows) ** 0.5)
