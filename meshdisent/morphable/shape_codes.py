r"""Expression codes that best give known shapes, such as the 53 of ARKit on the generic face of ICT-FaceKit.

For a shape that displaces the face of an identity code from rest by :math:`d_v` (mm):

.. math:: z = \arg\min_z \frac{1}{V} \sum_v \lVert D_v(z_{id}, z) - N_v(z_{id}) - d_v \rVert^2
    + w \lVert z / s \rVert^2

with :math:`D` the model's decoder, :math:`N` its face at rest, and :math:`s` the root mean square of each code entry
over the training scans. Solved by damped Gauss-Newton steps (Levenberg 1944, Marquardt 1963) from no expression. The
first step is the ridge regression of the model made linear there; for a linear model it is the answer.

The weight matters: such a shape is one muscle at full strength, which training scans show only in mixtures. Without it
codes run far beyond them for a few hundredths of a millimeter.
"""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import jacfwd

from meshdisent.errors import ModelFileError, UsageError
from meshdisent.morphable.contract import Codes, MorphableModel

#: mm^2 for one entry as large as usual. Chosen by looking at all 53 shapes: a tenth fits 0.002 mm better and looks
#: the same, ten times as much leaves eyelids ajar and takes a quarter of a puffed cheek away.
PRIOR_WEIGHT = 1e-3
#: Steps at most, and how small a step, in units of s, ends them.
STEPS, SMALLEST_STEP = 200, 1e-6


class ShapeCodes(NamedTuple):
    """What was found for each shape, by its name.

    Attributes
    ----------
    codes : (E,) Expression codes.
    residual_mm : Root mean square distance over the vertices between what the code does and what the shape does.
    size_mm : Root mean square displacement of the shape itself: a residual as large says that the model cannot show it.
    deviations : Root mean square of the code's entries in units of s: a usual training scan has 1.
    """

    codes: dict[str, Tensor]
    residual_mm: dict[str, float]
    size_mm: dict[str, float]
    deviations: dict[str, float]


@torch.no_grad()
def solve_expression_codes(
    model: MorphableModel,
    displacements: Mapping[str, Float[Tensor, "vertex 3"]],
    identity: Float[Tensor, " identity"] | None = None,
    weight: float = PRIOR_WEIGHT,
) -> ShapeCodes:
    """Find the expression code of each shape.

    Parameters
    ----------
    displacements : What each shape does to the vertices of the model's topology, mm.
    identity : Code of the face that the shapes displace. Default: the mean of the training scans.
    weight : :math:`w` of the module's first lines, mm^2.

    Raises
    ------
    UsageError : If a displacement is not (V, 3) finite numbers, or the model has no expression code.
    ModelFileError : If the model gives coordinates that are not finite.

    Examples
    --------
    >>> identity, code = model.prior().identity_mean[None], torch.full((1, model.expression_size), 0.5)
    >>> moved = model.decode(Codes(identity, code)) - model.neutral(identity)
    >>> found = solve_expression_codes(model, {"smile": moved[0].detach()}, weight=1e-9)
    >>> [round(entry, 3) for entry in found.codes["smile"].tolist()]
    [0.5, 0.5, 0.5]
    """
    if model.expression_size == 0:
        raise UsageError(f"A {model.name} model has no expression code to solve for; give one that has.")
    person = (model.prior().identity_mean if identity is None else identity)[None]
    model.check_code("identity", person)
    at_rest, scale = model.neutral(person)[0], expression_scale(model)

    def move(code: Tensor) -> Tensor:  # (E,) in units of s -> (V, 3) mm
        return model.decode(Codes(person, (code * scale)[None]))[0] - at_rest

    found = ShapeCodes({}, {}, {}, {})
    for name, displacement in displacements.items():
        _check(name, displacement, model)
        wanted = displacement.to(at_rest)
        code = _solve(move, wanted, torch.zeros_like(scale), weight)
        found.codes[name] = code * scale
        found.residual_mm[name] = _length(move(code) - wanted)
        found.size_mm[name] = _length(wanted)
        found.deviations[name] = float(code.square().mean().sqrt())
    return found


def expression_scale(model: MorphableModel) -> Float[Tensor, " expression"]:
    """(E,) Root mean square of each expression code entry over the training scans: about zero, the face at rest."""
    prior = model.prior()
    scale = (prior.expression_mean.square() + prior.expression_factor.square().sum(dim=1)).sqrt()
    # An entry that never changed in training stays where it was: next to nothing.
    return scale.clamp(min=1e-6 * float(scale.max()))


def _length(moved: Tensor) -> float:
    return float(moved.square().sum(dim=1).mean().sqrt())


def _solve(move: Callable[[Tensor], Tensor], wanted: Tensor, code: Tensor, weight: float) -> Tensor:
    """Gauss-Newton steps, damped more after one that does not help; normal equations in double precision."""

    def cost(at: Tensor) -> float:
        return float((move(at) - wanted).double().square().sum() / len(wanted) + weight * at.double().square().sum())

    one = torch.eye(len(code), dtype=torch.float64, device=code.device)
    damping, lowest, is_new = 0.0, cost(code), True
    if not torch.isfinite(torch.tensor(lowest)):
        raise ModelFileError("The model gives coordinates that are not finite; wanted millimeters. Train it again.")
    for _ in range(STEPS):
        if is_new:
            slope = jacfwd(move)(code).flatten(end_dim=1).double()  # (3V, E)
            gap = (move(code) - wanted).flatten().double()
            normal = slope.T @ slope / len(wanted) + weight * one
            downhill = slope.T @ gap / len(wanted) + weight * code.double()
        damped = normal + damping * normal.diagonal().mean() * one
        step = torch.linalg.lstsq(damped, downhill[:, None]).solution[:, 0].to(code)
        if float(step.abs().max()) < SMALLEST_STEP:
            break
        reached = cost(code - step)
        is_new = reached < lowest
        if is_new:
            code, lowest = code - step, reached
        damping = damping / 4 if is_new else max(4 * damping, 1e-4)
    return code


def _check(name: str, displacement: Tensor, model: MorphableModel) -> None:
    count = model.topology.vertex_count
    is_finite = bool(torch.isfinite(displacement).all())
    if displacement.shape != (count, 3) or not is_finite:
        raise UsageError(
            f"The shape {name} is an array of shape {tuple(displacement.shape)}"
            f"{'' if is_finite else ' with numbers that are not finite'}; wanted ({count}, 3) finite displacements "
            "in mm, a row for each vertex of the model. Take those rows of the shape."
        )
