"""How good the fit of a photograph is: in pictures, and in numbers."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from meshdisent.errors import DataError
from meshdisent.fitting.appearance import harmonics
from meshdisent.fitting.image_equations import FAR, NEAR, ImageProblem
from meshdisent.fitting.image_start import bounded, smooth_error, smooth_waves
from meshdisent.fitting.image_state import ImageState
from meshdisent.fitting.image_windows import camera_of
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology
from meshdisent.render.camera import Camera
from meshdisent.render.fillings import Fillings
from meshdisent.render.heads import in_camera_frame, outer_normals
from meshdisent.render.rasterizer import rasterize
from meshdisent.render.view import View

#: Part of the square that a face covers at least.
_LEAST = 0.01
#: A squared difference of color counts so much at most.
_MOST = 0.2
#: The residual shows a difference of this much, 0 to 1, as white or black.
_SHOWN = 0.25

Picture = UInt8[np.ndarray, "height width 3"]


@dataclass(frozen=True, eq=False, kw_only=True)
class Views:
    """The square around a face: as it is, as it is explained, that laid on it, and what is left (gray: nothing)."""

    photo: Picture
    fitted: Picture
    overlay: Picture
    residual: Picture
    shape: Picture

    def side_by_side(self) -> Picture:
        """All of them in a row."""
        return np.concatenate(list(vars(self).values()), axis=1)


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Numbers of a fit.

    Attributes
    ----------
    color_error : Root mean square difference of colors, 0 to 1, over pixels that see bare skin from in front, large
        ones bounded.
    likeness : Part that the fit explains of the squared differences that a smooth picture leaves where the face is (a
        polynomial of the place): 1 at most, below 0 where no face is.
    covered : Part of the square that shows it.
    landmark_pixels : Root mean square distance of landmarks in pixels of the photograph; None without any.
    identity_deviation, expression_deviation : Root mean square of the whitened codes: 1 is usual, 2 is a monster.
    """

    color_error: float
    likeness: float
    covered: float
    landmark_pixels: float | None
    identity_deviation: float
    expression_deviation: float


def evidence_of(problem: ImageProblem, state: ImageState) -> Evidence:
    """Measure the fit of one photograph.

    Raises
    ------
    DataError : If the camera sees nothing of the face.
    """
    windows, size = problem.windows, max(problem.windows.pictures)
    off, plain = differences(problem, state, size)
    covered = len(off) / size**2
    if covered < _LEAST:
        raise DataError(
            f"The camera sees nothing of the face (it covers {100 * covered:.1f} % of the square; wanted at least "
            f"{100 * _LEAST:.0f} %). Check landmarks, mask and field of view."
        )
    rows, places = windows.landmarks[0]
    distance = None
    if len(rows):
        surface = problem.maker.surface(state, 0, windows.shear[0])
        apart = (surface.places[torch.from_numpy(rows)].double().numpy() - places) * windows.squares[0][2]
        distance = float(np.sqrt((apart**2).sum(1).mean()))
    return Evidence(
        color_error=float((off.mean() / 3).sqrt()),
        likeness=float(1 - off.sum() / plain.sum().clamp(min=1e-9)),
        covered=covered,
        landmark_pixels=distance,
        identity_deviation=_usual(state.identity),
        expression_deviation=_usual(state.expression),
    )


def differences(
    problem: ImageProblem, state: ImageState, size: int
) -> tuple[Float[Tensor, " pixel"], Float[Tensor, " pixel"]]:
    """Squared differences of colors, bounded, where bare skin of one photograph is seen from in front.

    Returns
    -------
    Those of the fit, and those of the best smooth picture in its place (:func:`image_start.smooth_waves`).
    """
    maker, windows = problem.maker, problem.windows
    photo, counts = (part[0] for part in windows.pictures[size])
    surface = maker.surface(state, 0, windows.shear[0])
    seen = rasterize(surface.points[None], maker.faces, camera_of(size), near=NEAR, far=FAR)
    values = torch.cat([surface.colors, maker.albedo.bare[:, None], surface.facing[:, None]], 1)
    shown = seen.interpolate(values[None])[0]
    is_front = seen.is_seen[0] & (counts > 0.5) & (shown[..., -1] > 0.3) & (shown[..., -2] > 0.5)
    target = photo[is_front].double()
    off = (shown[is_front][:, :3] - target).square().sum(1).clamp(max=_MOST)
    waves = smooth_waves(size)[is_front.flatten()].double()
    if not len(waves):
        return off, off
    even = torch.linalg.lstsq(waves, target, driver="gelsd").solution
    return off, (waves @ even - target).square().sum(1).clamp(max=_MOST)


def explained(problem: ImageProblem, state: ImageState, size: int) -> float:
    """How well the face of one photograph and a smooth picture around it explain all of it; larger is better."""
    maker, windows = problem.maker, problem.windows
    photo, counts = (part[0] for part in windows.pictures[size])
    surface = maker.surface(state, 0, windows.shear[0])
    seen = rasterize(surface.points[None], maker.faces, camera_of(size), near=NEAR, far=FAR)
    off = (seen.interpolate(surface.colors[None])[0] - photo).square().sum(-1)
    around = counts * ~seen.is_seen[0]
    plain = smooth_error(around.flatten()[None], photo.flatten(0, 1)).reshape(size, size)
    limit = problem.trust.outlier**2
    return -float((counts * torch.where(seen.is_seen[0], bounded(off, limit), bounded(plain, limit))).sum())


def _usual(code: Tensor) -> float:
    return float(code.square().mean().sqrt()) if code.numel() else 0.0


def views_of(problem: ImageProblem, state: ImageState, albedo: Float[Tensor, "vertex 3"] | None = None) -> Views:
    """Draw one photograph and what explains it, on the finest picture.

    Parameters
    ----------
    albedo : Colors without light; by default the likely ones of the state.
    """
    maker, windows = problem.maker, problem.windows
    size = max(windows.pictures)
    photo = windows.pictures[size][0][0]
    surface = maker.surface(state, 0, windows.shear[0])
    shape = maker.shapes(state.identity[None], state.expression)[0]
    normals = outer_normals(maker.rigid(shape, state.rotation[0])[None], maker.faces)[0]
    shade = harmonics(normals) @ state.light[0]
    colors = (maker.albedo.albedo(state.albedo) if albedo is None else albedo) * shade
    gray = (0.25 + 0.65 * (-normals[:, 2:]).clamp(min=0)).expand(-1, 3)
    seen = rasterize(surface.points[None], maker.faces, camera_of(size), samples=2, near=NEAR, far=FAR)
    share = seen.per_pixel(seen.is_seen.float())[0, ..., None]
    drawn = seen.per_pixel(seen.interpolate(torch.cat([colors, gray], 1)[None]))[0]
    filled = _with_fillings(problem, state, shape, colors, float(shade.mean().clamp(0.2, 1.2)), size)
    left = torch.where(share > 0.99, drawn[..., :3] - photo, torch.zeros_like(photo))
    return Views(
        photo=_bytes(photo),
        fitted=_bytes(filled),
        overlay=_bytes(drawn[..., :3] + (1 - share) * photo),
        residual=_bytes(0.5 + left / (2 * _SHOWN)),
        shape=_bytes(drawn[..., 3:] + (1 - share)),
    )


def _with_fillings(
    problem: ImageProblem, state: ImageState, shape: Tensor, colors: Tensor, light: float, size: int
) -> Float[Tensor, "size size 3"]:
    """The face on gray, with eyeballs and the dark of a mouth behind its openings."""
    maker = problem.maker
    fillings = Fillings.of(maker.model.topology)
    head = shape.double().numpy()
    filled = torch.from_numpy(fillings.fill(head[None])[0]).float()
    put = state.place[0, 2].exp() * torch.cat([state.place[0, :2], torch.ones(1)])
    points = maker.rigid(filled, state.rotation[0]) @ problem.windows.shear[0].T + put
    behind = torch.from_numpy(fillings.color(colors.double().numpy(), head)).float()[len(colors) :]
    painted = torch.cat([colors, behind * light])
    seen = rasterize(points[None], torch.from_numpy(fillings.faces), camera_of(size), samples=2, near=NEAR, far=FAR)
    share = seen.per_pixel(seen.is_seen.float())[0, ..., None]
    return seen.per_pixel(seen.interpolate(painted[None]))[0] + (1 - share) * 0.5


def turned_picture(mesh: Mesh, size: int, degrees: float = 30.0) -> Picture:
    """A face from its side in its own colors and even light, with eyeballs and the dark of a mouth."""
    fillings = Fillings.of(Topology(mesh.vertices, mesh.faces))
    own = np.stack([mesh.vertex_attributes[name] for name in ("red", "green", "blue")], axis=1)
    vertices = torch.from_numpy(fillings.fill(mesh.vertices[None])).float()
    colors = torch.from_numpy(fillings.color(own, mesh.vertices)).float()
    low, high = mesh.vertices.min(0), mesh.vertices.max(0)
    heads = in_camera_frame(vertices, tuple(((low + high) / 2).tolist()))
    points = View.of(torch.tensor([[0.0, math.radians(degrees), 0.0, 0.0, 0.0, 0.0]])).apply(heads)
    faces = torch.from_numpy(fillings.faces)
    shade = 0.55 + 0.45 * (-outer_normals(points, faces)[0, :, 2:]).clamp(min=0)
    field = math.degrees(2 * math.atan(1.15 * float((high - low).max()) / 2000))
    seen = rasterize(points, faces, Camera.of_field_of_view(size, field), samples=2)
    share = seen.per_pixel(seen.is_seen.float())[0, ..., None]
    return _bytes(seen.per_pixel(seen.interpolate((colors * shade)[None]))[0] + (1 - share))


def _bytes(colors: Tensor) -> Picture:
    return (colors.clamp(0, 1) * 255).round().byte().numpy()
