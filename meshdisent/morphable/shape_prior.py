"""What a morphable model holds likely, as a linear model of shapes: for registration, which knows no networks."""

from typing import TYPE_CHECKING

import numpy as np
import torch

from meshdisent.errors import UsageError
from meshdisent.mesh.plane_fit import ShapePrior

if TYPE_CHECKING:
    from meshdisent.morphable.contract import MorphableModel

#: Faces that are drawn, and principal directions that are kept.
DRAWN, MODES = 1000, 120
_BLOCK = 100


@torch.no_grad()
def shape_prior(model: "MorphableModel", drawn: int = DRAWN, modes: int = MODES, seed: int = 0) -> ShapePrior:
    """Principal directions of faces that a model draws, whatever kind it is.

    Parameters
    ----------
    drawn, modes : Faces to draw, and most directions to keep.
    seed : Of the draws.

    Raises
    ------
    UsageError : If fewer than two faces are to be drawn, or no direction kept.
    """
    if drawn < 2 or modes < 1:
        raise UsageError(
            f"A shape prior of {drawn} faces and {modes} directions was asked for; wanted 2 and 1 or more."
        )
    model.eval()
    generator = torch.Generator().manual_seed(seed)
    codes = model.prior().sample(drawn, generator)
    faces = [
        model.decode(type(codes)(*(code[start : start + _BLOCK] for code in codes))).double().cpu()
        for start in range(0, drawn, _BLOCK)
    ]
    shapes = torch.cat(faces).flatten(1)  # (N, 3V)
    mean = shapes.mean(0)
    # By the smaller side: N x N.
    values, vectors = torch.linalg.eigh((shapes - mean) @ (shapes - mean).T / (drawn - 1))
    kept = [k for k in range(drawn - 1, -1, -1) if values[k] > 1e-9 * values[-1]][:modes]
    basis = torch.nn.functional.normalize(vectors[:, kept].T @ (shapes - mean), dim=1)
    return ShapePrior(
        mean=mean.reshape(-1, 3).numpy(),
        basis=basis.reshape(len(kept), -1, 3).numpy(),
        deviations=np.sqrt(values[kept].numpy()),
    )
