"""Alignment: the rotation, translation and perhaps scale that bring one scan onto another (Kabsch 1976; Umeyama 1991).

Points are rows: a similarity maps ``x`` to ``scale * x @ rotation + translation``. A mirror image is never the answer.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError


@dataclass(frozen=True, eq=False)
class Similarity:
    """A rotation, a uniform scale and a translation of row vectors.

    Parameters
    ----------
    scale : Above 0.
    rotation : (3, 3) Proper rotation, applied from the right.
    translation : (3,) In the unit of the target.
    """

    scale: float
    rotation: Float[np.ndarray, "3 3"]
    translation: Float[np.ndarray, "3"]

    @staticmethod
    def identity() -> "Similarity":
        """The similarity that moves nothing."""
        return Similarity(1.0, np.eye(3), np.zeros(3))

    def apply(self, points: Float[np.ndarray, "*batch 3"]) -> Float[np.ndarray, "*batch 3"]:
        """Move points ``(..., 3)``; the result is float64."""
        return self.scale * (np.asarray(points, dtype=np.float64) @ self.rotation) + self.translation

    def inverse(self) -> "Similarity":
        """The similarity that undoes this one."""
        back = self.rotation.T
        return Similarity(1.0 / self.scale, back, -(self.translation @ back) / self.scale)

    def compose(self, first: "Similarity") -> "Similarity":
        """The similarity that applies ``first``, then this one."""
        return Similarity(self.scale * first.scale, first.rotation @ self.rotation, self.apply(first.translation))


def align(
    source: Float[np.ndarray, "source 3"],
    target: Float[np.ndarray, "target 3"],
    with_scale: bool = False,
    stable: Int[np.ndarray, " stable"] | None = None,
) -> Similarity:
    """Find the motion that brings ``source`` closest to ``target``, in least squares over corresponding points.

    Parameters
    ----------
    source, target : (V, 3) Corresponding points.
    with_scale : Find a scale too; otherwise size is kept.
    stable : Look at these vertices only: the forehead and the nose, not the jaw.

    Returns
    -------
    Similarity; ``align(source, target).apply(source)`` is the aligned scan.

    Raises
    ------
    DataError : If the points do not correspond, are fewer than three, not finite, or all on one line: then no single
        motion is the best.

    Examples
    --------
    >>> corners = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]])
    >>> align(corners, corners + 5.0).translation.round(6)
    array([5., 5., 5.])
    """
    source, target = _corresponding(source, target, stable)
    center, target_center = source.mean(axis=0), target.mean(axis=0)
    cross = (source - center).T @ (target - target_center)
    rotation, gain = _best_rotations(cross[None])
    scale = float(gain[0] / ((source - center) ** 2).sum()) if with_scale else 1.0
    return Similarity(scale, rotation[0], target_center - scale * center @ rotation[0])


def published_alignment(source: Float[np.ndarray, "source 3"], target: Float[np.ndarray, "target 3"]) -> Similarity:
    """Align as the published WSDF code does: size is kept, but the center lands on ``mean(target) / s``.

    With s the :func:`published_scale`, the code finds ``T = mean(Y) - s mean(X) R`` and applies ``X R + T / s``. For
    reproduction only; :func:`align` puts the center where it belongs. Raises what :func:`align` raises.
    """
    motion = align(source, target)
    center = np.asarray(source, dtype=np.float64).mean(axis=0)
    target_center = np.asarray(target, dtype=np.float64).mean(axis=0)
    shift = target_center / published_scale(source, target) - center @ motion.rotation
    return Similarity(1.0, motion.rotation, shift)


def published_scale(source: Float[np.ndarray, "source 3"], target: Float[np.ndarray, "target 3"]) -> float:
    """The size of ``target`` over that of ``source`` as published: mean ratio of the distances to the center.

    Raises
    ------
    DataError : If a source point lies exactly at the center, where that ratio is infinite.
    """
    radius = np.linalg.norm(np.asarray(source, dtype=np.float64) - source.mean(axis=0, dtype=np.float64), axis=1)
    target_radius = np.linalg.norm(np.asarray(target, dtype=np.float64) - target.mean(axis=0, dtype=np.float64), axis=1)
    if not radius.all():
        raise DataError(
            f"The published alignment divides by the distance to the center, and point {int(np.argmin(radius))} lies "
            "there. Use the alignment by least squares instead."
        )
    return float((target_radius / radius).mean())


def generalized_procrustes(
    scans: Float[np.ndarray, "scan vertex 3"],
    with_scale: bool = False,
    stable: Int[np.ndarray, " stable"] | None = None,
    iterations: int = 50,
    tolerance: float = 1e-5,
) -> tuple[Float[np.ndarray, "vertex 3"], list[Similarity]]:
    """Align all scans to their common mean, which they make themselves (Gower 1975).

    Parameters
    ----------
    scans : (N, V, 3)
    with_scale : Find a scale for each scan; the mean of the scales is held at 1, or everything would shrink to a point.
    stable : Vertices to look at.
    iterations, tolerance : Stop after so many rounds, or when no coordinate of the mean moves by more than this (mm).

    Returns
    -------
    mean : (V, 3) Mean of the aligned scans, in the place of the first scan.
    motions : One similarity a scan, by which it was aligned.

    Raises
    ------
    DataError : As :func:`align`, naming the row of the scan; or if there are no scans.
    """
    if not len(scans):
        raise DataError("Generalized Procrustes alignment got no scans; wanted at least one.")
    mean = np.asarray(scans[0], dtype=np.float64)
    scale, rotation, translation = np.ones(1), np.eye(3)[None], np.zeros((1, 3))
    for _ in range(max(iterations, 1)):
        scale, rotation, translation = _align_all(scans, mean, with_scale, stable)
        before, mean = mean, _mean_of_moved(scans, scale, rotation, translation)
        if np.abs(mean - before).max() <= tolerance:
            break
    motions = zip(scale.tolist(), rotation, translation, strict=True)
    return mean, [Similarity(*motion) for motion in motions]


def _corresponding(source: np.ndarray, target: np.ndarray, stable: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if source.shape != target.shape:
        raise DataError(
            f"Alignment got {len(source)} points for {len(target)}; wanted corresponding points, as many of each. "
            "Scans must share one topology."
        )
    source = np.asarray(source if stable is None else source[stable], dtype=np.float64)
    target = np.asarray(target if stable is None else target[stable], dtype=np.float64)
    if len(source) < 3:
        raise DataError(f"Alignment got {len(source)} points; wanted 3 or more. Choose a larger stable region.")
    for name, points in {"source": source, "target": target}.items():
        _refuse_degenerate(name, points)
    return source, target


def _refuse_degenerate(name: str, points: np.ndarray) -> None:
    if not np.isfinite(points).all():
        raise DataError(f"Alignment got a {name} with positions that are not finite. Leave that scan out.")
    spread = np.linalg.svd(points - points.mean(axis=0), compute_uv=False)
    if spread[1] <= 1e-9 * max(spread[0], np.abs(points).max()):
        shape = "at one place" if spread[0] <= 1e-9 * np.abs(points).max() else "on one line"
        raise DataError(
            f"Alignment got a {name} whose {len(points)} points lie all {shape}; wanted points that fix a rotation. "
            "Leave that scan out, or choose a larger stable region."
        )


def _best_rotations(cross: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Proper rotations (N, 3, 3) that maximize trace(R^T C) for covariances C (N, 3, 3), and that trace (N,)."""
    left, values, right = np.linalg.svd(cross)
    sign = np.ones_like(values)
    sign[:, 2] = np.where(np.linalg.det(left @ right) < 0, -1.0, 1.0)
    return (left * sign[:, None, :]) @ right, (values * sign).sum(axis=1)


def _align_all(
    scans: np.ndarray, target: np.ndarray, with_scale: bool, stable: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Scales (N,), rotations (N, 3, 3) and translations (N, 3) to one target; with scales, of mean 1."""
    chosen = np.arange(len(target)) if stable is None else stable
    fixed = target[chosen]
    center_of_target = fixed.mean(axis=0)
    cross, centers, sizes = np.empty((len(scans), 3, 3)), np.empty((len(scans), 3)), np.empty(len(scans))
    for rows in _blocks(scans):
        moving = scans[rows][:, chosen].astype(np.float64)
        for offset in np.flatnonzero(_looks_degenerate(moving)):
            try:
                _corresponding(moving[offset], fixed, None)
            except DataError as error:
                raise DataError(f"Scan {rows.start + offset}: {error}") from error
        centers[rows] = moving.mean(axis=1)
        moving -= centers[rows, None]
        sizes[rows] = (moving**2).sum(axis=(1, 2))
        cross[rows] = moving.transpose(0, 2, 1) @ (fixed - center_of_target)
    rotation, gain = _best_rotations(cross)
    scale = gain / sizes if with_scale else np.ones(len(scans))
    scale = scale / scale.mean()
    return scale, rotation, center_of_target - scale[:, None] * np.einsum("nd,nde->ne", centers, rotation)


def _looks_degenerate(scans: np.ndarray) -> np.ndarray:
    """(N,) Whether the points of a scan are not finite, too few, or within rounding of a line."""
    if scans.shape[1] < 3 or not np.isfinite(scans).all():
        return ~np.isfinite(scans).all(axis=(1, 2)) | (scans.shape[1] < 3)
    from_center = scans - scans.mean(axis=1, keepdims=True)
    spread = np.linalg.eigvalsh(from_center.transpose(0, 2, 1) @ from_center)
    return spread[:, 1] <= 1e-12 * np.maximum(spread[:, 2], (scans**2).max(axis=(1, 2)))


def _mean_of_moved(scans: np.ndarray, scale: np.ndarray, rotation: np.ndarray, translation: np.ndarray) -> np.ndarray:
    total = np.zeros(scans.shape[1:])
    for rows in _blocks(scans):
        total += np.einsum("nvd,nde->ve", scans[rows].astype(np.float64), scale[rows, None, None] * rotation[rows])
    return total / len(scans) + translation.mean(axis=0)


def _blocks(scans: np.ndarray, numbers: int = 5_000_000) -> Iterator[slice]:
    """Row ranges of about 40 MB in float64."""
    size = max(1, numbers // max(scans[0].size, 1))
    return (slice(begin, min(begin + size, len(scans))) for begin in range(0, len(scans), size))
