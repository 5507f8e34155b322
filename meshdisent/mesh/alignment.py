"""Alignment: the rotation, translation and perhaps scale that bring one scan onto another (Kabsch; Umeyama 1991).

Points are rows: a similarity maps ``x`` to ``scale * x @ rotation + translation``.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError


@dataclass(frozen=True, eq=False)
class Similarity:
    """A rotation, a uniform scale and a translation of row vectors.

    Parameters
    ----------
    scale : Factor above 0.
    rotation : (3, 3) Proper rotation, applied from the right.
    translation : (3,) In the unit of the target.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    def apply(self, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Move points ``(..., 3)``: ``scale * x @ rotation + translation``, in float64."""
        return self.scale * (np.asarray(points, dtype=np.float64) @ self.rotation) + self.translation

    def inverse(self) -> "Similarity":
        """The similarity that undoes this one."""
        back = self.rotation.T
        return Similarity(1.0 / self.scale, back, -(self.translation @ back) / self.scale)

    def compose(self, first: "Similarity") -> "Similarity":
        """The similarity that applies ``first``, then this one."""
        return Similarity(self.scale * first.scale, first.rotation @ self.rotation, self.apply(first.translation))

    @staticmethod
    def identity() -> "Similarity":
        """The similarity that moves nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))


def align(
    source: Float[np.ndarray, "vertex 3"],
    target: Float[np.ndarray, "vertex 3"],
    with_scale: bool = False,
    stable: Int[np.ndarray, " stable"] | None = None,
) -> Similarity:
    """Find the motion that brings ``source`` closest to ``target`` in the sense of least squares."""
    moving = np.asarray(source if stable is None else source[stable], dtype=np.float64)
    fixed = np.asarray(target if stable is None else target[stable], dtype=np.float64)
    if len(moving) < 3:
        raise DataError(f"Alignment got {len(moving)} points; wanted 3 or more.")
    moving_center, fixed_center = moving.mean(axis=0), fixed.mean(axis=0)
    left, values, right = np.linalg.svd((moving - moving_center).T @ (fixed - fixed_center))
    sign = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    rotation = (left * sign) @ right
    scale = float((values * sign).sum() / ((moving - moving_center) ** 2).sum()) if with_scale else 1.0
    return Similarity(scale, rotation, fixed_center - scale * moving_center @ rotation)


def generalized_procrustes(scans, with_scale=False, stable=None, iterations=20, tolerance=1e-6):
    """Align scans (N, V, 3) to their mean, again and again."""
    mean = np.asarray(scans[0], dtype=np.float64)
    for _ in range(iterations):
        motions = [align(scan, mean, with_scale, stable) for scan in scans]
        new = np.mean([motion.apply(scan) for motion, scan in zip(motions, scans, strict=True)], axis=0)
        change = np.abs(new - mean).max()
        mean = new
        if change < tolerance:
            break
    return mean, [align(scan, mean, with_scale, stable) for scan in scans]
