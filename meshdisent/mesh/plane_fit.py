r"""One step of a small motion, and of the weights of a linear model of shapes, towards tangent planes.

With matches (p_v, n_v) of the points y_v, weights w_v and modes b_k (one standard deviation long), it minimizes

.. math:: \frac{1}{\sigma^2} \sum_v w_v \left[(n_v \cdot (y_v' - p_v))^2 + \tau |y_v' - p_v|^2\right]
          + \sum_k (c_k + \delta_k)^2, \quad
          y_v' = y_v + \sum_k \delta_k b_{kv} + \omega \times (y_v - \bar y) + t \; (+ \, s \, (y_v - \bar y)),

to first order in the turn (point to plane, Chen and Medioni 1992; the maximum a posteriori of a Gaussian shape model).
"""

from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity

_NOISE_MM2, _MODES_MORE = 4.0, 8
_MOST_SCALE = 0.1  # a step may change the size by this share


class Planes(NamedTuple):
    """Where points should go: onto a plane each, and a little towards its point."""

    points: Float[np.ndarray, "vertex 3"]
    normals: Float[np.ndarray, "vertex 3"]
    weights: Float[np.ndarray, " vertex"]
    point_weight: float


@dataclass(frozen=True, eq=False, kw_only=True)
class ShapePrior:
    """A linear model of shapes on the template's topology: plain arrays, from any morphable model.

    Attributes
    ----------
    mean : (V, 3) mm, in the template's frame.
    basis : (K, V, 3) Directions.
    deviations : (K,) Standard deviation of the weight of each; basis times deviation is in mm.

    Raises
    ------
    DataError : If the arrays do not belong together, or a number is not finite.
    """

    mean: Float[np.ndarray, "_ 3"]
    basis: Float[np.ndarray, "_ _ 3"]
    deviations: Float[np.ndarray, " _"]

    def __post_init__(self) -> None:
        if self.basis.shape != (len(self.deviations), *self.mean.shape):
            raise DataError(
                f"The shape prior has a mean {self.mean.shape}, a basis {self.basis.shape} and "
                f"{len(self.deviations)} deviations; wanted (V, 3), (K, V, 3) and K of one model."
            )
        if not all(np.isfinite(part).all() for part in (self.mean, self.basis, self.deviations)):
            raise DataError("The shape prior has numbers that are not finite; wanted a mean and modes in mm.")

    @cached_property
    def modes(self) -> Float[np.ndarray, "mode vertex 3"]:
        """(K, V, 3) Each direction as far as one standard deviation goes, in mm."""
        return np.asarray(self.basis, dtype=np.float64) * np.asarray(self.deviations, dtype=np.float64)[:, None, None]

    def shape(self, weights: Float[np.ndarray, " mode"]) -> Float[np.ndarray, "vertex 3"]:
        """(V, 3) The shape with these weights, counted in standard deviations."""
        return np.asarray(self.mean, dtype=np.float64) + np.tensordot(weights, self.modes, axes=1)

    def unlikeliness(self, shape: Float[np.ndarray, "vertex 3"]) -> float:
        """How far a shape lies from the mean in standard deviations, root mean square over the modes.

        Counted as if there were eight modes more with weight 0, so that one of few may be far out. Faces of the model
        itself have 1 on average.

        Parameters
        ----------
        shape : (V, 3) mm, in the frame of the mean.
        """
        modes = self.modes.reshape(len(self.modes), -1)
        away = (shape - self.mean).ravel()
        weights = np.linalg.solve(modes @ modes.T + _NOISE_MM2 * np.eye(len(modes)), modes @ away)
        return float(np.sqrt((weights**2).sum() / (len(weights) + _MODES_MORE)))


def motion_step(points: Float[np.ndarray, "vertex 3"], planes: Planes, with_scale: bool = False) -> Similarity:
    """The small motion that brings points closest to their planes."""
    rows = np.flatnonzero(planes.weights > 0)
    columns, center = _motion_columns(points, rows, with_scale)
    matrix, right = _normal_equations(columns, points, planes, rows)
    found = np.linalg.lstsq(matrix, right, rcond=1e-10)[0]  # a plane or a ball fixes no turn: then none is made
    return _motion(found, center, with_scale)


def shape_step(
    points: Float[np.ndarray, "vertex 3"],
    planes: Planes,
    prior: ShapePrior,
    weights: Float[np.ndarray, " mode"],
    noise_mm: float,
    with_scale: bool = False,
) -> tuple[Similarity, Float[np.ndarray, " mode"]]:
    """The small motion and the new weights of the modes together; ``points`` is the shape with the old weights."""
    rows = np.flatnonzero(planes.weights > 0)
    motion, center = _motion_columns(points, rows, with_scale)
    columns = np.concatenate([motion, prior.modes[:, rows]])
    matrix, right = _normal_equations(columns, points, planes, rows)
    count = len(motion)
    matrix[count:, count:] += noise_mm**2 * np.eye(len(weights))
    right[count:] -= noise_mm**2 * weights
    found = np.linalg.lstsq(matrix, right, rcond=1e-12)[0]
    return _motion(found[:count], center, with_scale), weights + found[count:]


def _motion_columns(points: np.ndarray, rows: np.ndarray, with_scale: bool) -> tuple[np.ndarray, np.ndarray]:
    """(M, R, 3) How each point moves with a turn about each axis, a shift along each, and growth."""
    center = points[rows].mean(axis=0)
    arm = points[rows] - center
    turns = [np.cross(axis, arm) for axis in np.eye(3)]
    shifts = [np.broadcast_to(axis, arm.shape) for axis in np.eye(3)]
    return np.stack([*turns, *shifts, *([arm] if with_scale else [])]), center


def _normal_equations(
    columns: np.ndarray, points: np.ndarray, planes: Planes, rows: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    normals, weights = planes.normals[rows], planes.weights[rows]
    gap = planes.points[rows] - points[rows]
    along = np.einsum("kvd,vd->kv", columns, normals)
    matrix = (along * weights) @ along.T
    right = along @ (weights * (gap * normals).sum(axis=1))
    flat = columns.reshape(len(columns), -1)
    spread = planes.point_weight * np.repeat(weights, 3)
    return matrix + (flat * spread) @ flat.T, right + flat @ (spread * gap.ravel())


def _motion(found: np.ndarray, center: np.ndarray, with_scale: bool) -> Similarity:
    turn = Rotation.from_rotvec(found[:3]).as_matrix().T
    scale = float(np.exp(np.clip(found[6], -_MOST_SCALE, _MOST_SCALE))) if with_scale else 1.0
    return Similarity(scale, turn, center + found[3:6] - scale * center @ turn)
