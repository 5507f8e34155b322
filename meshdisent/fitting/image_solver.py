"""Steps of Levenberg and Marquardt: towards the minimum of a sum of squares, shorter ones where that fails."""

import numpy as np
import torch

from meshdisent.fitting.image_equations import ImageProblem
from meshdisent.fitting.image_state import ImageState

#: How much the curvature is enlarged at first, after a step that failed, and after one that did not; and its limit.
_DAMPING, _WORSE, _BETTER, _GIVE_UP = 1e-2, 8.0, 0.3, 1e4
#: A step that gains less than this much of the cost is the last.
_ENOUGH = 1e-4


def descend(problem: ImageProblem, state: ImageState, size: int | None, steps: int) -> tuple[ImageState, float]:
    """Walk downhill; gives the last state and its cost, which is never above that of the first."""
    damping = _DAMPING
    equations = problem.equations(state, size)
    cost = equations.cost
    for _ in range(steps):
        while True:
            curvature = equations.curvature + damping * np.diag(np.diag(equations.curvature) + 1e-6)
            step = torch.from_numpy(-np.linalg.solve(curvature, equations.slope))
            further = state.moved(step)
            found = problem.cost(further, size)
            if np.isfinite(found) and found < cost:
                break
            damping *= _WORSE
            if damping > _GIVE_UP:
                return state, cost
        gained = cost - found
        state, cost, damping = further, found, damping * _BETTER
        if gained < _ENOUGH * (abs(cost) + 1):
            break
        equations = problem.equations(state, size)
    return state, cost
