r"""What was seen of a face, as rows of a least-squares problem: one number each, and how it moves with the face.

A row looks at one place of the face, :math:`y = \sum_k b_k y_{v_k}` in the model's frame. Its residual is r, it
changes by :math:`d \cdot \delta y` when the place moves, and it is worth a precision :math:`w = 1 / \sigma^2`. Planes
of a scan, points in space and pixels of a picture are all of this kind, so one solver serves them.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int

from meshdisent.mesh.alignment import Similarity

TURN, SHIFT = slice(0, 3), slice(3, 6)


class Rows(NamedTuple):
    """Residuals and their directions.

    Attributes
    ----------
    residual : (N,) In the unit of what was measured: mm, or pixels.
    corners, weights : (N, 3) Vertices around each place, and their share of it.
    directions : (N, 3) Change of the residual for each mm that the place moves, in the model's frame.
    precision : (N,) One over the variance of each residual; 0 for what is not trusted.
    """

    residual: Float[np.ndarray, " row"]
    corners: Int[np.ndarray, "row 3"]
    weights: Float[np.ndarray, "row 3"]
    directions: Float[np.ndarray, "row 3"]
    precision: Float[np.ndarray, " row"]

    def places(self, vertices: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "row 3"]:
        """(N, 3) Where on a face each row looks."""
        return np.einsum("nk,nkd->nd", self.weights, vertices[self.corners])

    def slopes(
        self,
        vertices: Float[np.ndarray, "vertex 3"],
        jacobian: Float[np.ndarray, "coordinate number"],
        center: Float[np.ndarray, "3"],
        with_scale: bool,
    ) -> Float[np.ndarray, "row unknown"]:
        """(N, K + 6 or 7) How residuals move with the numbers, and with turn, shift and size about a center."""
        count = len(self.residual)
        column = 3 * self.corners[:, :, None] + np.arange(3)
        value = self.weights[:, :, None] * self.directions[:, None]
        row = np.repeat(np.arange(count), 9)
        by_vertex = sparse.csr_array((value.ravel(), (row, column.ravel())), shape=(count, 3 * len(vertices)))
        motion = np.einsum("pnd,nd->np", motion_columns(self.places(vertices), center, with_scale), self.directions)
        return np.hstack([by_vertex @ jacobian, motion])

    @property
    def cost(self) -> float:
        """Squared residuals in units of their deviation."""
        return float((self.precision * self.residual**2).sum())


def motion_columns(
    points: Float[np.ndarray, "point 3"], center: Float[np.ndarray, "3"], with_scale: bool
) -> Float[np.ndarray, "motion point 3"]:
    """How points move with a turn about each axis, a shift along each, and growth, about a center."""
    arm = points - center
    turns = [np.cross(axis, arm) for axis in np.eye(3)]
    shifts = [np.broadcast_to(axis, arm.shape) for axis in np.eye(3)]
    return np.stack([*turns, *shifts, *([arm] if with_scale else [])])


def motion_of(step: Float[np.ndarray, " motion"], center: Float[np.ndarray, "3"]) -> Similarity:
    """The motion that a step of three angles, three mm and perhaps a log scale about a center means."""
    from scipy.spatial.transform import Rotation

    turn = Rotation.from_rotvec(step[TURN]).as_matrix().T
    scale = float(np.exp(np.clip(step[6], -0.1, 0.1))) if len(step) > 6 else 1.0
    return Similarity(scale, turn, center + step[SHIFT] - scale * center @ turn)


def point_rows(
    vertices: Float[np.ndarray, "vertex 3"],
    which: Int[np.ndarray, " landmark"],
    wanted: Float[np.ndarray, "landmark 3"],
    deviation: float,
) -> Rows:
    """(3L,) Rows that pull vertices to places in the model's frame, one an axis."""
    residual = vertices[which] - wanted
    corners = np.repeat(which, 9).reshape(-1, 3)
    weights = np.tile([1.0, 0.0, 0.0], (len(corners), 1))
    directions = np.tile(np.eye(3), (len(which), 1))
    return Rows(residual.ravel(), corners, weights, directions, np.full(len(corners), deviation**-2.0))


def stacked(*parts: Rows) -> Rows:
    """Several kinds of evidence as one."""
    return Rows(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))
