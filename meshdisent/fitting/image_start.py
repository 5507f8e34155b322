"""Where a head may be in a photograph before anything is known of it: from landmarks, or by looking in many places.

Without landmarks the face is taken to fill the square, more or less: the mean face of the prior is laid into it at some
sizes, places and turns, with the light that explains each best, and those are followed further that explain most
together with a smooth picture (a polynomial of the place) around them. A head that is too small leaves a face to what
is smooth, one that is too large has to be a wall.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.fitting.appearance import HARMONICS, harmonics, light_precision, likely_light
from meshdisent.fitting.image_equations import FAR, NEAR, ImageProblem
from meshdisent.fitting.image_state import FaceMaker, ImageState, turned
from meshdisent.fitting.image_windows import Windows, camera_of
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import outer_normals
from meshdisent.render.rasterizer import rasterize

#: What is tried without landmarks: turns in degrees about the vertical and the sideways axis, widths of the face as a
#: part of the square, and how far its middle lies from the square's.
YAWS, PITCHES, WIDTHS, SHIFTS = (-40.0, -20.0, 0.0, 20.0, 40.0), (-8.0, 8.0), (0.5, 0.68, 0.9, 1.2), (-0.1, 0.0, 0.1)
#: Side of the picture that is searched, candidates that are followed, and turns that landmarks start from.
_SEARCHED, FOLLOWED, _LANDMARK_YAWS = 32, 4, (0.0, -45.0, 45.0)
#: Parts of the grid's steps by which candidates are moved to better places, one after the other.
_FINER = (0.5, 0.5, 0.25)


def still_states(maker: FaceMaker, windows: Windows) -> ImageState:
    """The mean face, looking ahead in the middle of each square, as wide as it."""
    count = len(windows)
    prior = maker.prior
    distance = windows.shear[:, 0, 0] * maker.width_m
    place = torch.cat([torch.zeros(count, 2), distance.log()[:, None]], 1)
    return ImageState(
        identity=torch.zeros(len(prior.identity_mean)),
        albedo=torch.zeros(len(maker.albedo.basis)),
        expression=torch.zeros(count, len(prior.expression_mean)),
        rotation=torch.eye(3).expand(count, 3, 3),
        place=place,
        light=likely_light(torch.zeros(1)).expand(count, HARMONICS, 3),
    )


def landmark_starts(problem: ImageProblem) -> Iterator[ImageState]:
    """States of one photograph from which its landmarks can be reached."""
    maker, windows = problem.maker, problem.windows
    rows, places = windows.landmarks[0]
    still = still_states(maker, windows)
    shape = maker.shapes(still.identity[None], still.expression)[0]
    for yaw in _LANDMARK_YAWS:
        rotation = _rotation(yaw, 0.0)
        here = maker.rigid(shape, rotation)[torch.from_numpy(rows)].double().numpy()[:, :2]
        spread = np.sqrt(((here - here.mean(0)) ** 2).sum() / max(((places - places.mean(0)) ** 2).sum(), 1e-12))
        distance = max(float(windows.shear[0, 0, 0]) * spread, 1e-3)
        middle = places.mean(0) - float(windows.shear[0, 0, 0]) * here.mean(0) / distance
        place = torch.tensor([[middle[0], middle[1], np.log(distance)]], dtype=torch.float32)
        yield _replaced(still, rotation, place, still.light)


def searched_starts(problem: ImageProblem) -> list[ImageState]:
    """The states of one photograph that explain most of it, best first: found on a grid, then moved to better places.

    The mean face in mean colors may explain less than a smooth picture even where a face is; whether one is can be told
    only after its own shape and colors were found.
    """
    search = _Search(problem)
    found = [
        search.best_place(_Pose(yaw, pitch, width, 0.0, 0.0), SHIFTS)
        for yaw, pitch, width in product(YAWS, PITCHES, WIDTHS)
    ]
    kept = sorted(found, key=lambda each: -each.gain)[:FOLLOWED]
    for part in _FINER:
        kept = [search.improved(each, part) for each in kept]
    return [search.state(each) for each in sorted(kept, key=lambda each: -each.gain)]


class _Pose(NamedTuple):
    """Degrees, the width of the face as a part of the square, and its place in the square."""

    yaw: float
    pitch: float
    width: float
    u: float
    v: float


@dataclass(frozen=True, eq=False)
class _Found:
    """A pose, how well it explains the photograph, and its light."""

    pose: _Pose
    gain: float
    light: Float[Tensor, "9 3"]


class _Search:
    """Lays the mean face, with eyeballs and the dark of a mouth, into one photograph."""

    def __init__(self, problem: ImageProblem):
        self.problem, maker = problem, problem.maker
        self.still = still_states(maker, problem.windows)
        shape = maker.shapes(self.still.identity[None], self.still.expression)[0].double().numpy()
        fillings = Fillings.of(maker.model.topology)
        self.faces = torch.from_numpy(fillings.faces)
        self.shape = torch.from_numpy(fillings.fill(shape[None])[0]).float()
        self.albedo = torch.from_numpy(fillings.color(maker.albedo.mean.double().numpy(), shape)).float()

    def best_place(self, pose: _Pose, shifts: Sequence[float]) -> _Found:
        """The best of places around a pose."""
        log_distance = self._log_distance(pose.width)
        around = [(pose.u + du, pose.v + dv) for du, dv in product(shifts, shifts)]
        places = torch.tensor([[u, v, log_distance] for u, v in around], dtype=torch.float32)
        gains, lights = self._explained(_rotation(pose.yaw, pose.pitch), places)
        best = int(gains.argmax())
        return _Found(pose._replace(u=around[best][0], v=around[best][1]), float(gains[best]), lights[best])

    def improved(self, found: _Found, part: float) -> _Found:
        """Turn, nod and grow by a part of the steps of the grid, one after the other, each with places around."""
        shifts = tuple(part * shift for shift in SHIFTS)
        for name, step in (("yaw", 20.0), ("pitch", 16.0), ("width", 0.3)):
            at = getattr(found.pose, name)
            changed = (
                at * (1 + sign * part * step) if name == "width" else at + sign * part * step for sign in (-1, 1)
            )
            tried = [self.best_place(found.pose._replace(**{name: value}), shifts) for value in changed]
            found = max([found, *tried], key=lambda each: each.gain)
        return found

    def state(self, found: _Found) -> ImageState:
        """All numbers of what was found."""
        pose = found.pose
        place = torch.tensor([[pose.u, pose.v, self._log_distance(pose.width)]], dtype=torch.float32)
        return _replaced(self.still, _rotation(pose.yaw, pose.pitch), place, found.light[None])

    def _log_distance(self, width: float) -> float:
        return math.log(float(self.problem.windows.shear[0, 0, 0]) * self.problem.maker.width_m / width)

    def _explained(
        self, rotation: Float[Tensor, "3 3"], places: Float[Tensor, "candidate 3"]
    ) -> tuple[Float[Tensor, " candidate"], Float[Tensor, "candidate 9 3"]]:
        """How well a face at each place explains the picture with the best light, and that light."""
        windows, trust = self.problem.windows, self.problem.trust
        photo, counts = (part[0] for part in windows.pictures[_SEARCHED])
        head = self.problem.maker.rigid(self.shape, rotation)
        normals = outer_normals(head[None], self.faces)[0]
        put = places[:, 2:].exp() * torch.cat([places[:, :2], torch.ones(len(places), 1)], 1)
        points = (head @ windows.shear[0].T)[None] + put[:, None]
        seen = rasterize(points, self.faces, camera_of(_SEARCHED), near=NEAR, far=FAR)
        painted = harmonics(normals)[:, None] * self.albedo[..., None]  # (V, 3, 9)
        parts = (
            seen.interpolate(painted.flatten(1).expand(len(places), -1, -1)).unflatten(-1, (3, HARMONICS)).flatten(1, 2)
        )
        weight, target = counts.flatten() * seen.is_seen.flatten(1), photo.flatten(0, 1)
        light = _best_light(parts, weight, target, 4 * trust.color**2)  # pixels of this size err alike
        off = (torch.einsum("npck,nkc->npc", parts, light) - target).square().sum(-1)
        around = counts.flatten() * ~seen.is_seen.flatten(1)
        limit = trust.outlier**2
        cost = weight * bounded(off, limit) + around * bounded(smooth_error(around, target), limit)
        return -cost.sum(1), light


def _best_light(
    parts: Float[Tensor, "candidate pixel 3 9"],
    weight: Float[Tensor, "candidate pixel"],
    target: Float[Tensor, "pixel 3"],
    variance: float,
) -> Float[Tensor, "candidate 9 3"]:
    """The light that explains colors best, each color by itself, held near white."""
    precision = torch.from_numpy(light_precision()).float().reshape(HARMONICS, 3, HARMONICS, 3)
    likely = likely_light(target)
    lights = []
    for color in range(3):
        own, rows = precision[:, color, :, color], parts[..., color, :]
        matrix = torch.einsum("np,npj,npk->njk", weight, rows, rows) / variance + own
        right = torch.einsum("np,npj,p->nj", weight, rows, target[:, color]) / variance + own @ likely[:, color]
        lights.append(torch.linalg.solve(matrix, right))
    return torch.stack(lights, -1)


def _rotation(yaw: float, pitch: float) -> Float[Tensor, "3 3"]:
    sideways, up = turned(
        torch.tensor([[0.0, np.radians(yaw), 0.0], [np.radians(pitch), 0.0, 0.0]], dtype=torch.float32)
    )
    return up @ sideways


def _replaced(state: ImageState, rotation: Tensor, place: Tensor, light: Tensor) -> ImageState:
    return ImageState(
        identity=state.identity,
        albedo=state.albedo,
        expression=state.expression,
        rotation=rotation[None],
        place=place,
        light=light,
    )


def bounded(square: Float[Tensor, "*pixel"], limit: float) -> Float[Tensor, "*pixel"]:
    """Squared differences that never count more than a limit (Geman and McClure)."""
    return square / (1 + square / limit)


def smooth_error(
    weight: Float[Tensor, "candidate pixel"], target: Float[Tensor, "pixel 3"]
) -> Float[Tensor, "candidate pixel"]:
    """Squared differences from the best polynomial of the place over the pixels that count for each candidate."""
    waves = smooth_waves(math.isqrt(len(target)))
    matrix = torch.einsum("np,pj,pk->njk", weight, waves, waves) + 1e-4 * torch.eye(waves.shape[1])
    right = torch.einsum("np,pj,pc->njc", weight, waves, target)
    return (waves @ torch.linalg.solve(matrix, right) - target).square().sum(-1)


def smooth_waves(size: int) -> Float[Tensor, "pixel 6"]:
    """1, u, v, u^2, uv, v^2 of the places of pixels: pictures without a face."""
    along = torch.linspace(-1, 1, size)
    v, u = (part.flatten() for part in torch.meshgrid(along, along, indexing="ij"))
    return torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], 1)
