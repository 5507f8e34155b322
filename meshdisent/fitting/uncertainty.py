r"""How sure a fit is: the Gaussian about its optimum (Laplace), mapped to vertices, and draws from it.

With H the precision of all unknowns (:mod:`~meshdisent.fitting.gauss_newton`) and B the change of a vertex with each
of them, through the decoder and the pose,

.. math:: \operatorname{cov}(x_v) = B_v H^{-1} B_v^T + \tau^2 I,

where :math:`\tau` is the misfit, what the codes of the model cannot say of a face: an error of the true face that no
code has. Draws have no misfit: they are faces of the model.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.linalg
import torch
from jaxtyping import Float

from meshdisent.errors import UsageError
from meshdisent.fitting.code_space import CodeSpace
from meshdisent.fitting.gauss_newton import State
from meshdisent.fitting.rows import motion_columns, motion_of
from meshdisent.morphable.contract import Codes


@dataclass(frozen=True, eq=False)
class Draws:
    """Faces drawn from a posterior.

    Attributes
    ----------
    codes : One row a draw.
    vertices : (N, V, 3) In the frame of the input.
    in_model_frame : (N, V, 3) mm.
    """

    codes: Codes
    vertices: Float[np.ndarray, "draw vertex 3"]
    in_model_frame: Float[np.ndarray, "draw vertex 3"]


@dataclass(frozen=True, eq=False)
class Posterior:
    """A Gaussian over the numbers of a face and its pose.

    Attributes
    ----------
    space, state : The model and the optimum.
    precision : (K + 6 or 7, ...) Of numbers, turn, shift and perhaps size about ``center``.
    center : (3,) Of the turn, in the model's frame.
    misfit_mm : Error of a coordinate that codes cannot mend.
    """

    space: CodeSpace
    state: State
    precision: Float[np.ndarray, "unknown unknown"]
    center: Float[np.ndarray, "3"]
    misfit_mm: float

    @cached_property
    def _root(self) -> Float[np.ndarray, "unknown unknown"]:
        """Lower triangular L of the precision, L L^T = H."""
        return scipy.linalg.cholesky(self.precision, lower=True)

    def covariances(self, with_pose: bool = True) -> Float[np.ndarray, "vertex 3 3"]:
        """(V, 3, 3) Of each vertex in mm^2 of the model.

        Parameters
        ----------
        with_pose : Of the placed face, along the axes of the input; else of the face in the model's frame, whatever
            its pose.
        """
        state, count = self.state, self.space.size
        by_code = self.space.jacobian(state.numbers).T.reshape(count, -1)
        if with_pose:
            motion = motion_columns(state.vertices, self.center, len(self.precision) > count + 6)
            moves = np.concatenate([by_code, motion.reshape(len(motion), -1)])
            spread = scipy.linalg.solve_triangular(self._root, moves, lower=True)
        else:
            inverse = scipy.linalg.cho_solve((self._root, True), np.eye(len(self.precision)))[:count, :count]
            spread = np.linalg.cholesky(inverse).T @ by_code
        spread = spread.reshape(len(spread), -1, 3)
        found = np.einsum("pvd,pve->vde", spread, spread) + self.misfit_mm**2 * np.eye(3)
        turn = state.motion.rotation
        return np.einsum("ka,vkl,lb->vab", turn, found, turn) if with_pose else found

    def draw(self, count: int, generator: torch.Generator) -> Draws:
        """Draw faces with their poses.

        Raises
        ------
        UsageError : If none is asked for.
        """
        if count < 1:
            raise UsageError(f"{count} samples of a fit were asked for; wanted 1 or more.")
        noise = torch.randn(len(self.precision), count, generator=generator, dtype=torch.float64).numpy()
        steps = scipy.linalg.solve_triangular(self._root, noise, lower=True, trans="T").T  # (N, P)
        numbers = self.state.numbers + steps[:, : self.space.size]
        faces = self.space.faces(numbers)
        motions = (self.state.motion.compose(motion_of(step[self.space.size :], self.center)) for step in steps)
        placed = np.stack([motion.apply(face) for motion, face in zip(motions, faces, strict=True)])
        return Draws(self.space.codes(numbers), placed, faces)
