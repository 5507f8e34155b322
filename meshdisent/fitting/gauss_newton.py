r"""The most probable face and pose given rows of evidence, by damped Gauss-Newton steps.

.. math:: \min_{u, T} \; \sum_i w_i \, r_i(u, T)^2 + (u - m)^T P (u - m)

where u are the numbers of a :class:`~meshdisent.fitting.code_space.CodeSpace`, T is a motion, and m and P are what the
prior comes to near the state (:mod:`~meshdisent.fitting.code_priors`). Steps that do not lower the cost are damped
(Levenberg 1944, Marquardt 1963). At the optimum :math:`H = A^T W A + P`, with A the slopes of the residuals, is the
precision of the Gaussian that :mod:`~meshdisent.fitting.uncertainty` takes for the posterior.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import scipy.linalg
from jaxtyping import Float

from meshdisent.fitting.code_priors import CodesPrior, Term
from meshdisent.fitting.code_space import CodeSpace
from meshdisent.fitting.rows import Rows, motion_of
from meshdisent.mesh.alignment import Similarity

_MOST_TRIES, _FIRST_DAMPING = 8, 1e-3


@dataclass(frozen=True, eq=False)
class State:
    """A face and where it stands.

    Attributes
    ----------
    numbers : (K,) Of the code space.
    motion : From the model's frame to that of the input.
    vertices : (V, 3) The face in the model's frame, mm.
    """

    numbers: Float[np.ndarray, " number"]
    motion: Similarity
    vertices: Float[np.ndarray, "vertex 3"]

    @classmethod
    def mean(cls, space: CodeSpace, motion: Similarity) -> "State":
        """The face at the middle of the prior."""
        numbers = np.zeros(space.size)
        return cls(numbers, motion, space.face(numbers))


class Normal(NamedTuple):
    """Normal equations at a state: curvature and downhill direction of half the cost, and about what points turn."""

    matrix: Float[np.ndarray, "unknown unknown"]
    right: Float[np.ndarray, " unknown"]
    center: Float[np.ndarray, "3"]
    prior: Term  # of the numbers, which both hold already


Measure = Callable[[State], Rows]


def normal_equations(
    state: State,
    rows: Rows,
    jacobian: Float[np.ndarray, "coordinate number"],
    with_scale: bool,
    prior: CodesPrior,
) -> Normal:
    """Gather slopes of trusted rows, and add the prior of the numbers."""
    trusted = np.flatnonzero(rows.precision > 0)
    rows = Rows(*(part[trusted] for part in rows))
    center = rows.places(state.vertices).mean(axis=0) if len(trusted) else state.vertices.mean(axis=0)
    slopes = rows.slopes(state.vertices, jacobian, center, with_scale)
    weighted = slopes * np.sqrt(rows.precision)[:, None]
    data = weighted.T @ weighted
    matrix, right = data.copy(), -slopes.T @ (rows.precision * rows.residual)
    count = len(state.numbers)
    term = prior.term(state.numbers, data, right)
    matrix[:count, :count] += term.matrix
    right[:count] += term.right
    return Normal(matrix, right, center, term)


def moved(space: CodeSpace, state: State, step: Float[np.ndarray, " unknown"], center: np.ndarray) -> State:
    """The state after a step of all unknowns."""
    numbers = state.numbers + step[: space.size]
    # A place y of the face goes to motion(y); to turn the face first, then to place it, composes in this order.
    motion = state.motion.compose(motion_of(step[space.size :], center))
    return replace(state, numbers=numbers, motion=motion, vertices=space.face(numbers))


def descend(
    space: CodeSpace, state: State, measure: Measure, *, with_scale: bool, steps: int, still_mm: float = 1e-3
) -> State:
    """Follow a measure whose rows belong to fixed places, such as landmarks, to the nearest optimum.

    Parameters
    ----------
    measure : Rows at a state. Their precision must not depend on it.
    steps : Most steps.
    still_mm : Ends when no vertex moves farther.
    """
    rows = measure(state)
    damping, jacobian = 0.0, space.jacobian(state.numbers)
    for _ in range(steps):
        normal = normal_equations(state, rows, jacobian, with_scale, space.prior)
        for _ in range(_MOST_TRIES):
            step = solve(normal, damping)
            tried = moved(space, state, step, normal.center)
            tried_rows = measure(tried)
            if tried_rows.cost + _prior_rise(normal.prior, step) <= rows.cost:
                break
            damping = max(10 * damping, _FIRST_DAMPING)
        else:
            return state
        before, after = (one.motion.apply(one.vertices) / one.motion.scale for one in (state, tried))
        state, rows, damping = tried, tried_rows, damping / 10
        if np.abs(after - before).max() < still_mm:
            break
        jacobian = space.jacobian(state.numbers)
    return state


def _prior_rise(prior: Term, step: Float[np.ndarray, " unknown"]) -> float:
    """By how much a step raises the cost of the numbers."""
    numbers = step[: len(prior.right)]
    return float(numbers @ prior.matrix @ numbers - 2 * prior.right @ numbers)


def solve(normal: Normal, damping: float = 0.0) -> Float[np.ndarray, " unknown"]:
    """The step of the normal equations; what nothing fixes (a turn of a ball) does not move."""
    scale = 1.0 / np.sqrt(np.maximum(normal.matrix.diagonal(), 1e-12))
    matrix = normal.matrix * scale[:, None] * scale
    matrix[range(len(matrix)), range(len(matrix))] += damping + 1e-12
    return scale * scipy.linalg.solve(matrix, scale * normal.right, assume_a="pos")
