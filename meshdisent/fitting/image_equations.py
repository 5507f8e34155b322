r"""How well numbers explain photographs, and in which way to change them: one sum of squares and its normal equations.

.. math:: \frac{1}{2\sigma^2}\sum_p q_p\, \rho(\lVert I_p - c_p \rVert^2)
    + \frac{1}{2 s^2} \sum_l \rho(\lVert u_l - \hat u_l \rVert^2) + \frac12 \lVert \text{numbers} \rVert^2_P

over pixels p that see bare skin from in front, landmarks l, and what is likely. :math:`\rho(x) = x/(1 + x/k^2)` (Geman
and McClure) bounds what glasses, hair or a hand can do. A pixel keeps its face, as in the rasterizer: when the face
moves by d under it, its color changes by that of the vertices less the gradient of color along d. Visibility has no
slope. Pulling the outline of a face to the border of a mask was tried and left out: it made faces of rendered pictures
worse (mean distance 3.5 mm instead of 2.6), because the nearest vertex of an outline is seldom the right one.
"""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.sparse import csr_array
from torch import Tensor

from meshdisent.errors import UsageError
from meshdisent.fitting.appearance import light_precision, likely_light
from meshdisent.fitting.image_state import FaceMaker, ImageState, Surface
from meshdisent.fitting.image_windows import Windows, camera_of
from meshdisent.render.rasterizer import Fragments, rasterize

#: Vertices nearer or farther (meters) are not drawn.
NEAR, FAR = 0.01, 1000.0
#: A surface that turns away further than the first cosine counts nothing, from the second on it counts fully.
_EDGE, _FULL = 0.1, 0.35
#: Pixels a side of a grid that is compared, whatever the size of the pictures: neighbors err alike, so that more of
#: them say little more; finer pictures are sharper in the same places.
_GRID = 64


@dataclass(frozen=True, kw_only=True)
class Trust:
    """What is believed of what is measured.

    Attributes
    ----------
    color : Standard deviation of a color (0 to 1) from what can be explained; larger: photographs count less against
        the prior. The one dial between data and prior.
    outlier : Difference of color from which on a pixel hardly counts.
    landmark : Standard deviation of a landmark, as a part of the width of the square around the face.
    smooth : Of changes between neighbors in a sequence: expression (deviations), angles, places, light.
    """

    color: float = 0.15
    outlier: float = 0.25
    landmark: float = 0.006
    smooth: tuple[float, float, float, float] = (0.35, 0.06, 0.02, 0.03)

    def __post_init__(self) -> None:
        for name in ("color", "outlier", "landmark"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; wanted a positive number.")
        if len(self.smooth) != 4 or not all(value > 0 for value in self.smooth):
            raise UsageError(f"smooth is {self.smooth}; wanted four positive numbers.")


@dataclass(frozen=True, eq=False)
class Equations:
    """A cost, its slope and its curvature (Gauss-Newton) by all numbers."""

    cost: float
    slope: Float[np.ndarray, " all"]
    curvature: Float[np.ndarray, "all all"]


#: A part of a cost, its slope and its curvature.
Part = tuple[float, np.ndarray, np.ndarray]
_NOTHING: Part = (0.0, np.zeros(1), np.zeros((1, 1)))


class ImageProblem:
    """Photographs of one subject to be explained.

    Parameters
    ----------
    maker : Makes faces.
    windows : What is seen.
    trust : What is believed.
    is_sequence : Whether neighbors are neighbors in time.
    """

    def __init__(self, maker: FaceMaker, windows: Windows, trust: Trust, is_sequence: bool = False):
        self.maker, self.windows, self.trust, self.is_sequence = maker, windows, trust, is_sequence
        self._light = light_precision()
        self._likely = likely_light(torch.zeros(1))

    def cost(self, state: ImageState, size: int | None) -> float:
        """The sum of squares with pictures of a size; None: of landmarks and what is likely alone."""
        total = self._likelihood(state)[0]
        for k in range(len(self.windows)):
            surface = self.maker.surface(state, k, self.windows.shear[k])
            total += self._landmarks(surface, k)[0]
            if size is not None:
                total += self._pixels(surface, k, size)[0]
        return total

    def equations(self, state: ImageState, size: int | None) -> Equations:
        """The same with slopes."""
        cost, slope, curvature = self._likelihood(state)
        for k in range(len(self.windows)):
            surface = self.maker.surface(state, k, self.windows.shear[k], "places" if size is None else "all")
            columns = state.columns(k).numpy()
            parts = [self._landmarks(surface, k)]
            parts += [] if size is None else [self._pixels(surface, k, size)]
            for part, own_slope, own_curvature in parts:
                cost += part
                slope[columns] += own_slope
                curvature[np.ix_(columns, columns)] += own_curvature
        return Equations(cost, slope, curvature)

    def _landmarks(self, surface: Surface, k: int) -> Part:
        rows, places = self.windows.landmarks[k]
        return _pulled(surface, rows, places, self.trust.landmark)

    def _pixels(self, surface: Surface, k: int, size: int) -> Part:
        photo, counts = (part[k] for part in self.windows.pictures[size])
        seen = self._seen(surface, size)
        facing = ((seen.interpolate(surface.facing[None, :, None])[0, ..., 0] - _EDGE) / (_FULL - _EDGE)).clamp(0, 1)
        is_seen = seen.is_seen[0]
        bare = seen.interpolate(self.maker.albedo.bare[None, :, None])[0, ..., 0]
        weight = (counts * facing * bare * _grid(size))[is_seen].double().numpy() / self.trust.color**2
        off = (seen.interpolate(surface.colors[None])[0] - photo)[is_seen].double().numpy()
        square, limit = (off**2).sum(1), self.trust.outlier**2
        # What is explained earns something, so that a face which hides from the photograph is no good answer.
        cost = 0.5 * (weight * (square / (1 + square / limit) - limit / 4)).sum()
        if surface.color_slopes is None or surface.place_slopes is None:
            return (float(cost), *_NOTHING[1:])
        kept = np.flatnonzero(weight)
        robust = (np.sqrt(weight) / (1 + square / limit))[kept]
        slopes = self._pixel_slopes(surface, seen, kept, robust)
        return float(cost), slopes.T @ (off[kept] * robust[:, None]).ravel().astype(np.float32), slopes.T @ slopes

    def _seen(self, surface: Surface, size: int) -> Fragments:
        return rasterize(surface.points[None], self.maker.faces, camera_of(size), near=NEAR, far=FAR)

    def _pixel_slopes(
        self, surface: Surface, seen: Fragments, kept: np.ndarray, weights: np.ndarray
    ) -> Float[np.ndarray, "row number"]:
        """(3P, D): weighted change of the color of some of the pixels that see the face."""
        assert surface.color_slopes is not None
        assert surface.place_slopes is not None
        count, _, numbers = surface.color_slopes.shape
        corners = seen.corners[kept].numpy()

        def mixed(values: Tensor, shares: Tensor) -> np.ndarray:
            rows = np.repeat(np.arange(len(kept)), 3)
            content = (shares[kept].numpy() * weights[:, None]).astype(np.float32).ravel()
            mix = csr_array((content, (rows, corners.ravel())), shape=(len(kept), count))
            return (mix @ values.reshape(count, -1).numpy()).reshape(len(kept), -1, numbers)

        changes = mixed(surface.color_slopes, seen.perspective)
        moves = mixed(surface.place_slopes, seen.weights)
        gradients = _gradients(surface, seen.corners[kept]).numpy()
        for axis in range(2):
            changes -= gradients[:, :, axis, None] * moves[:, None, axis]
        return changes.reshape(-1, numbers)

    def _likelihood(self, state: ImageState) -> Part:
        total = state.shared + len(state.expression) * state.own
        slope, curvature = np.zeros(total), np.zeros((total, total))
        size = state.expression.shape[1]
        normal = np.zeros(total, bool)
        values = np.zeros(total)
        normal[: state.shared] = True
        values[: state.shared] = torch.cat([state.identity, state.albedo]).double().numpy()
        cost = 0.0
        for k in range(len(state.expression)):
            start = state.shared + k * state.own
            normal[start : start + size] = True
            values[start : start + size] = state.expression[k].double().numpy()
            rows = np.arange(start + state.own - len(self._light), start + state.own)
            off = (state.light[k] - self._likely).double().numpy().ravel()
            slope[rows] = self._light @ off
            curvature[np.ix_(rows, rows)] = self._light
            cost += 0.5 * float(off @ self._light @ off)
        slope[normal] = values[normal]
        curvature[normal, normal] = 1.0
        cost += 0.5 * float((values[normal] ** 2).sum())
        if self.is_sequence:
            cost += self._smoothness(state, slope, curvature)
        return cost, slope, curvature

    def _smoothness(self, state: ImageState, slope: np.ndarray, curvature: np.ndarray) -> float:
        """Neighbors in time are alike; angles between them are small enough to be added."""
        size = state.expression.shape[1]
        spreads = np.repeat(self.trust.smooth, [size, 3, 3, self._light.shape[0]])
        cost = 0.0
        for k in range(len(state.expression) - 1):
            turn = _angles(state.rotation[k + 1] @ state.rotation[k].T)
            parts = [state.expression, state.place, state.light.flatten(1)]
            expression, place, light = ((part[k + 1] - part[k]).double().numpy() for part in parts)
            off = np.concatenate([expression, turn, place, light])
            cost += 0.5 * float(((off / spreads) ** 2).sum())
            here = state.shared + k * state.own + np.arange(state.own)
            there, weight = here + state.own, 1 / spreads**2
            slope[there] += weight * off
            slope[here] -= weight * off
            curvature[there, there] += weight
            curvature[here, here] += weight
            curvature[here, there] -= weight
            curvature[there, here] -= weight
        return cost


def _pulled(surface: Surface, rows: np.ndarray, places: np.ndarray, spread: float) -> Part:
    """Vertices that should be at places in the square, each within a spread, as far as that is possible."""
    if not len(rows):
        return _NOTHING
    off = surface.places[torch.from_numpy(rows)].double().numpy() - places
    square, limit = (off**2).sum(1), (8 * spread) ** 2
    cost = 0.5 * (square / (1 + square / limit)).sum() / spread**2
    if surface.place_slopes is None:
        return (float(cost), *_NOTHING[1:])
    slopes = surface.place_slopes[torch.from_numpy(rows)].double().numpy()
    weights = 1 / (1 + square / limit) ** 2 / spread**2
    flat = (slopes * weights[:, None, None]).reshape(-1, slopes.shape[-1])
    return float(cost), flat.T @ off.ravel(), flat.T @ slopes.reshape(flat.shape)


def _grid(size: int) -> Float[Tensor, "size size"]:
    """1 at the pixels that are compared, which stand for all; 0 elsewhere."""
    step = max(size // _GRID, 1)
    grid = torch.zeros(size, size)
    grid[step // 2 :: step, step // 2 :: step] = (_GRID * step / size) ** 2
    return grid


def _angles(rotation: Tensor) -> Float[np.ndarray, "3"]:
    """The rotation vector of a rotation."""
    r = rotation.double().numpy()
    axis = np.array([r[2, 1] - r[1, 2], r[0, 2] - r[2, 0], r[1, 0] - r[0, 1]]) / 2
    sine = np.linalg.norm(axis)
    angle = np.arctan2(sine, (np.trace(r) - 1) / 2)
    return axis * (angle / sine if sine > 1e-8 else 1.0)


def _gradients(surface: Surface, corners: Tensor) -> Float[Tensor, "row 3 2"]:
    """How color changes along the square's sides on the face that a pixel sees."""
    places, colors = surface.places[corners], surface.colors[corners]  # (P, 3 corners, 2), (P, 3 corners, 3)
    first, second = places[:, 1] - places[:, 0], places[:, 2] - places[:, 0]
    area = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    area = torch.where(area.abs() < 1e-12, torch.full_like(area, torch.inf), area)
    up, down = colors[:, 1] - colors[:, 0], colors[:, 2] - colors[:, 0]
    across = (up * second[:, 1:] - down * first[:, 1:]) / area[:, None]
    along = (down * first[:, :1] - up * second[:, :1]) / area[:, None]
    return torch.stack([across, along], -1)
