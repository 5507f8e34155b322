"""Where a head may be in a photograph before anything is known of it: from landmarks, or by looking in many places.

Without landmarks the face is taken to fill the square, more or less: the mean face of the prior is laid into it at some
sizes, places and turns, with the light that explains each best, and those are followed further that explain most of
what a smooth picture (a polynomial of the place) does not: a wall is explained by either, a face by a face.
"""

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.fitting.appearance import HARMONICS, harmonics, light_precision, likely_light
from meshdisent.fitting.image_equations import FAR, NEAR, ImageProblem
from meshdisent.fitting.image_state import FaceMaker, ImageState, turned
from meshdisent.fitting.image_windows import Windows, camera_of
from meshdisent.render.heads import outer_normals
from meshdisent.render.rasterizer import rasterize

#: What is tried without landmarks: turns in degrees about the vertical and the sideways axis, widths of the face as a
#: part of the square, and how far its middle lies from the square's.
YAWS, PITCHES, WIDTHS, SHIFTS = (-40.0, -20.0, 0.0, 20.0, 40.0), (-8.0, 8.0), (0.5, 0.68, 0.9, 1.2), (-0.1, 0.0, 0.1)
#: Side of the picture that is searched, candidates that are followed, and turns that landmarks start from.
_SEARCHED, FOLLOWED, _LANDMARK_YAWS = 32, 6, (0.0, -45.0, 45.0)


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
    """The states of one photograph that explain most of it, best first, of different turns or sizes.

    The mean face in mean colors may explain less than a smooth picture even where a face is; whether one is can be told
    only after its own shape and colors were found.
    """
    maker, windows = problem.maker, problem.windows
    still = still_states(maker, windows)
    shape = maker.shapes(still.identity[None], still.expression)[0]
    found = []
    for yaw, pitch, width in product(YAWS, PITCHES, WIDTHS):
        rotation = _rotation(yaw, pitch)
        distance = float(windows.shear[0, 0, 0]) * maker.width_m / width
        places = torch.tensor([[u, v, np.log(distance)] for u, v in product(SHIFTS, SHIFTS)], dtype=torch.float32)
        gains, lights = _explained(problem, shape, rotation, places)
        best = int(gains.argmax())
        found.append((float(gains[best]), _replaced(still, rotation, places[best : best + 1], lights[best : best + 1])))
    found.sort(key=lambda pair: -pair[0])
    return [state for _, state in found[:FOLLOWED]]


def smooth_waves(size: int) -> Float[Tensor, "pixel 6"]:
    """1, u, v, u^2, uv, v^2 of the places of pixels: pictures without a face."""
    along = torch.linspace(-1, 1, size)
    v, u = (part.flatten() for part in torch.meshgrid(along, along, indexing="ij"))
    return torch.stack([torch.ones_like(u), u, v, u * u, u * v, v * v], 1)


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


def _explained(
    problem: ImageProblem, shape: Tensor, rotation: Tensor, places: Float[Tensor, "candidate 3"]
) -> tuple[Float[Tensor, " candidate"], Float[Tensor, "candidate 9 3"]]:
    """How much of the picture a face at each place explains with the best light, and that light."""
    maker, windows = problem.maker, problem.windows
    photo, counts = (part[0] for part in windows.pictures[_SEARCHED])
    head = maker.rigid(shape, rotation)
    normals = outer_normals(head[None], maker.faces)[0]
    put = places[:, 2:].exp() * torch.cat([places[:, :2], torch.ones(len(places), 1)], 1)
    points = (head @ windows.shear[0].T)[None] + put[:, None]
    seen = rasterize(points, maker.faces, camera_of(_SEARCHED), near=NEAR, far=FAR)
    painted = harmonics(normals)[:, None] * maker.albedo.mean[..., None]  # (V, 3, 9)
    shown = seen.interpolate(torch.cat([painted.flatten(1), normals[:, 2:]], 1).expand(len(places), -1, -1))
    weight = counts * (-shown[..., -1] > 0.1) * seen.is_seen
    parts = shown[..., :-1].unflatten(-1, (3, HARMONICS)).flatten(1, 2)  # (N, P, 3, 9)
    weight, target = weight.flatten(1), photo.flatten(0, 1)
    scale = problem.trust.color**2 * 4  # pixels of this size err alike
    precision = torch.from_numpy(light_precision()).float().reshape(HARMONICS, 3, HARMONICS, 3)
    likely = likely_light(photo)
    lights = []
    for color in range(3):  # each color by itself, held near white
        own = precision[:, color, :, color]
        rows = parts[..., color, :]
        matrix = torch.einsum("np,npj,npk->njk", weight, rows, rows) / scale + own
        right = torch.einsum("np,npj,p->nj", weight, rows, target[:, color]) / scale + own @ likely[:, color]
        lights.append(torch.linalg.solve(matrix, right))
    light = torch.stack(lights, -1)
    off = (torch.einsum("npck,nkc->npc", parts, light) - target).square().sum(-1)
    plain = _smooth_error(weight, target)
    limit = problem.trust.outlier**2
    return (weight * (plain / (1 + plain / limit) - off / (1 + off / limit))).sum(1), light


def _smooth_error(
    weight: Float[Tensor, "candidate pixel"], target: Float[Tensor, "pixel 3"]
) -> Float[Tensor, "candidate pixel"]:
    """Squared differences from the best polynomial of the place over the pixels of each candidate."""
    waves = smooth_waves(_SEARCHED)
    matrix = torch.einsum("np,pj,pk->njk", weight, waves, waves) + 1e-4 * torch.eye(waves.shape[1])
    right = torch.einsum("np,pj,pc->njc", weight, waves, target)
    return (waves @ torch.linalg.solve(matrix, right) - target).square().sum(-1)
