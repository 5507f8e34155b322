"""The shapes of ARKit as expression codes of a model on ICT-FaceKit's topology, solved from a clone of its repository.

A rig that drives ``jawOpen`` or ``mouthSmile_L`` then drives the model: its weights scale the codes, and scaled codes
add up. ``mouthClose`` is no face of its own, in ARKit neither: it closes the lips of a jaw that ``jawOpen`` opened.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.data.ict_facekit import arkit_shapes, clone_folder, find_rows, read_displacement, read_generic
from meshdisent.errors import DataError
from meshdisent.morphable.contract import MorphableModel
from meshdisent.morphable.shape_codes import PRIOR_WEIGHT, ShapeCodes, solve_expression_codes

#: A shape that moves no vertex of the model this far, mm, has no code: it happens elsewhere, as in the pupils.
STILL_MM = 0.1


class ClonedShapes(NamedTuple):
    """Shapes of a clone on the vertices of a model, mm.

    Attributes
    ----------
    generic : The generic face at rest.
    displacements : What each shape of ARKit does to it.
    still : Names of shapes that do nothing to these vertices.
    """

    generic: Float[Tensor, "vertex 3"]
    displacements: dict[str, Tensor]
    still: tuple[str, ...]


def solve_arkit_codes(model: MorphableModel, shapes: ClonedShapes, weight: float = PRIOR_WEIGHT) -> ShapeCodes:
    """Codes with which the model's generic face does the shapes; see :mod:`~meshdisent.morphable.shape_codes`."""
    with torch.no_grad():
        identity = model.encode(shapes.generic[None]).identity[0]
    return solve_expression_codes(model, shapes.displacements, identity, weight)


def read_cloned_shapes(model: MorphableModel, clone: Path) -> ClonedShapes:
    """Read what a clone of ICT-FaceKit has for the vertices of a model.

    Raises
    ------
    DataError : If the folder is no clone, or holds no shape of ARKit.
    TopologyError : If the model is not on ICT-FaceKit's topology.
    """
    names = arkit_shapes(clone)
    if not names:
        raise DataError(f"{clone} holds the generic face and no expression; wanted a whole clone of ICT-FaceKit.")
    with torch.no_grad():
        mean = model.neutral(model.prior().identity_mean[None])[0]
    rows = find_rows(mean.double().cpu().numpy(), clone)
    generic = read_generic(clone).vertices
    moved = {name: read_displacement(clone_folder(clone) / f"{name}.obj", generic)[rows] for name in names}
    is_still = {name: bool(np.linalg.norm(move, axis=1).max() < STILL_MM) for name, move in moved.items()}
    return ClonedShapes(
        generic=torch.from_numpy(generic[rows]).to(mean),
        displacements={name: torch.from_numpy(move).to(mean) for name, move in moved.items() if not is_still[name]},
        still=tuple(name for name in names if is_still[name]),
    )
