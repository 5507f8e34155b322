r"""Which expressions a rig has as morph targets: an expression code for each name.

``expressions``: those that the model has under names, or those of scans. ``arkit``: Apple's names. ``directions``: what
the expression code does most, found as the principal directions of the displacements that likely codes make. With
:math:`L` a factor of the covariance of the training scans' codes and :math:`J` the decoder's Jacobian at rest (mm):

.. math:: J L = U S W^T, \qquad z_k = \pm 2 L w_k

Entries of a code as such say little: networks give all of them about unit variance, however little they do.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacfwd

from meshdisent.editing import encode_scans
from meshdisent.errors import UsageError
from meshdisent.morphable.arkit_codes import read_cloned_shapes, solve_arkit_codes
from meshdisent.morphable.arkit_names import arkit_codes
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.named_expressions import find_expression

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset

#: How far a direction goes at full weight, in standard deviations of the training scans.
DEVIATIONS = 2.0
ExpressionCodes = dict[str, Tensor]


def named_codes(model: MorphableModel, names: Sequence[str] = ()) -> ExpressionCodes:
    """Codes of expressions that the model has under names; all of them if none is given.

    Raises
    ------
    UsageError : If the model has none, or not one of these; it names the nearest.
    """
    if not names and not model.named_expressions:
        raise UsageError(
            f"This {model.name} model has no expression under a name, so a rig of it needs some: name scans that show "
            "them (--expressions faces.h5, or faces.h5:SUBJECT/EXPRESSION ...), or take --targets directions."
        )
    return {name: find_expression(model.named_expressions, name) for name in names or model.named_expressions}


def scanned_codes(model: MorphableModel, scans: Mapping[str, Any]) -> ExpressionCodes:
    """Codes of the expressions that scans show, each under its name; raises as ``editing.as_scans`` does."""
    return {name: encode_scans(model, scan, name).expression[0] for name, scan in scans.items()}


def dataset_codes(model: MorphableModel, scans: "ScanDataset") -> ExpressionCodes:
    """For each expression of a dataset the mean code of all scans that show it; the neutral is no target.

    Raises
    ------
    UsageError : If no scan has a label of an expression.
    """
    found = {}
    at_rest = set(scans.expression[scans.neutral_row[scans.neutral_row >= 0]].tolist())
    for label, name in enumerate(scans.expressions):
        rows = (scans.expression == label).nonzero()[0]
        if label not in at_rest and len(rows):
            found[name] = encode_scans(model, scans.vertices(rows)).expression.mean(dim=0)
    if not found:
        raise UsageError(
            f"{scans.path or 'The dataset'} has no scan with the name of an expression, the neutral aside. "
            "Name scans (faces.h5:SUBJECT/EXPRESSION/FRAME), or take --targets directions."
        )
    return found


def apple_codes(model: MorphableModel, clone: str | Path | None = None) -> ExpressionCodes:
    """Codes under the names of ARKit, 51 of 52 for a whole face: ``tongueOut`` needs a tongue.

    Parameters
    ----------
    clone : A clone of ICT-FaceKit, from which codes are solved; without one the model has to know them.

    Raises
    ------
    UsageError : If the model does not know them and no clone is given.
    TopologyError : If the model is not on ICT-FaceKit's topology.
    DataError : If the folder is no clone of it.
    """
    if clone is not None:
        return arkit_codes(solve_arkit_codes(model, read_cloned_shapes(model, Path(clone))).codes)
    found = arkit_codes(model.named_expressions)
    if not found:
        raise UsageError(
            f"This {model.name} model does not know the shapes of ARKit. A model on ICT-FaceKit's topology solves them "
            "from a clone (--facekit FOLDER; git clone https://github.com/USC-ICT/ICT-FaceKit); wsdf-ict has them. "
            "Any model can do --targets directions, or expressions of scans."
        )
    return found


@torch.no_grad()
def direction_codes(model: MorphableModel, identity: Float[Tensor, " identity"], count: int = 10) -> ExpressionCodes:
    """Both ends of the leading directions of the expression, ``direction-1-plus``, ``direction-1-minus``, ...

    Parameters
    ----------
    identity : Code of the face that shows them.
    count : Directions, at most; there are no more than entries of the code.

    Raises
    ------
    UsageError : If the count is below 1.
    """
    if count < 1:
        raise UsageError(f"A rig of {count} directions was asked for; wanted at least 1 (--count).")
    factor = model.prior().expression_factor  # (E, E)

    def shown(weights: Tensor) -> Tensor:  # (E,) in standard deviations -> (V, 3) mm
        return model.decode(Codes(identity[None], (factor @ weights)[None]))[0]

    slope = jacfwd(shown)(torch.zeros(len(factor)).to(factor)).flatten(end_dim=1).double()  # (3V, E)
    _, vectors = torch.linalg.eigh(slope.T @ slope)
    leading = vectors.flip(1).T[:count].to(factor)  # rows
    # The same sign on every machine.
    leading = leading * leading.gather(1, leading.abs().argmax(dim=1, keepdim=True)).sign()
    ends = {"plus": DEVIATIONS, "minus": -DEVIATIONS}
    return {
        f"direction-{number}-{end}": scale * (factor @ weights)
        for number, weights in enumerate(leading, start=1)
        for end, scale in ends.items()
    }
