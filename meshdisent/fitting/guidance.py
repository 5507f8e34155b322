"""Optimization of codes and colors under any score of the rendered face: what a score likes, made by a morphable model.

A score looks at pictures of the head from random sides and says a number; lower is better. It may be the distance from
known pictures, a classifier, or a diffusion model (:mod:`~meshdisent.fitting.distillation`), which makes text to 3D out
of a morphable model (the application of WSDF). Codes stay whitened, so that the prior of the model is a sum of squares.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import UsageError
from meshdisent.mesh.laplacian import uniform_laplacian
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.render.camera import Camera
from meshdisent.render.heads import in_camera_frame, outer_normals
from meshdisent.render.rasterizer import rasterize
from meshdisent.render.view import View

_SKIN = (0.67, 0.49, 0.39)


@runtime_checkable
class Score(Protocol):
    """What is to become small."""

    def __call__(self, pictures: Float[Tensor, "view 3 size size"], generator: torch.Generator) -> Float[Tensor, ""]:
        """A number with gradients to the pictures, whose colors are 0 to 1; random numbers come from ``generator``."""


@dataclass(frozen=True, kw_only=True)
class GuidanceConfig:
    """How a face is led by a score.

    Attributes
    ----------
    steps, learning_rate : Of Adam; codes in standard deviations, colors before a logistic curve.
    views, size : Pictures a step, and their pixels a side.
    yaw, pitch : Degrees to which views are turned at most, each way, evenly distributed.
    field_of_view : Degrees, one meter from the face; None: the head fills the picture.
    prior : Weight of half the squared whitened codes.
    smooth : Weight of the mean squared Laplacian of the colors.
    shape, color : Whether codes, and colors, are optimized.
    seed : Of views and scores.
    """

    steps: int = 200
    learning_rate: float = 0.02
    views: int = 2
    size: int = 64
    yaw: float = 35.0
    pitch: float = 10.0
    field_of_view: float | None = None
    prior: float = 1e-3
    smooth: float = 10.0
    shape: bool = True
    color: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("steps", "views"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} is {getattr(self, name)}; wanted at least 1.")
        if self.size < 8 or not self.learning_rate > 0:
            raise UsageError(
                f"size is {self.size} and learning_rate {self.learning_rate}; wanted at least 8 pixels and more than 0."
            )
        if min(self.yaw, self.pitch, self.prior, self.smooth) < 0:
            raise UsageError("yaw, pitch, prior and smooth must be 0 or more; one of them is below.")
        if not (self.shape or self.color):
            raise UsageError("Neither shape nor color is to be optimized; wanted at least one of them.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Guided:
    """What came of it.

    Attributes
    ----------
    codes, whitened : Of the model, and in standard deviations.
    colors : (V, 3) Without light, 0 to 1.
    mesh : The face in mm with these colors.
    scores : What the score said at each step.
    """

    codes: Codes
    whitened: Codes
    colors: Float[Tensor, "vertex 3"]
    mesh: Mesh
    scores: list[float]


class HeadPictures:
    """Draws heads of a model from sides, differentiably by vertices and colors.

    Parameters
    ----------
    model : Whose topology is drawn; its template says how large the pictures must be.
    size, field_of_view : Pixels a side, and degrees one meter away; None: the head fills the picture.
    """

    def __init__(self, model: MorphableModel, size: int, field_of_view: float | None = None):
        template = torch.as_tensor(model.topology.template).to(model.like)
        self.faces = torch.as_tensor(model.topology.faces, device=model.like.device)
        low, high = template.amin(0), template.amax(0)
        self.pivot_mm = tuple(((low + high) / 2).tolist())
        if field_of_view is None:
            field_of_view = math.degrees(2 * math.atan(1.1 * float((high - low)[:2].max()) / 2000))
        self.camera = Camera.of_field_of_view(size, field_of_view)

    def draw(
        self,
        vertices: Float[Tensor, "vertex 3"],
        colors: Float[Tensor, "vertex 3"],
        angles: Float[Tensor, "view 3"],
        background: Float[Tensor, "view 3"],
    ) -> Float[Tensor, "view 3 size size"]:
        """Pictures of one head, turned by angles in radians about x, y and z, in the light of a lamp at the camera."""
        count = len(angles)
        heads = in_camera_frame(vertices[None], self.pivot_mm).expand(count, -1, -1)
        points = View.of(torch.cat([angles, torch.zeros_like(angles)], 1)).apply(heads)
        normals = outer_normals(points, self.faces)
        shade = 0.35 + 0.65 * (-normals[..., 2:]).clamp(min=0)
        seen = rasterize(points, self.faces, self.camera, samples=2)
        share = seen.per_pixel(seen.is_seen.to(points))[..., None]
        shown = seen.per_pixel(seen.interpolate(colors[None] * shade)) + (1 - share) * background[:, None, None]
        return shown.permute(0, 3, 1, 2)


def guide(
    model: MorphableModel,
    score: Score,
    config: GuidanceConfig | None = None,
    *,
    start: Codes | None = None,
    colors: Float[Tensor, "vertex 3"] | None = None,
    say: Callable[[int, float], None] = lambda step, value: None,
) -> Guided:
    """Lead codes and colors of a face to where a score is low.

    Parameters
    ----------
    score : Looks at ``views`` pictures a step.
    start : Whitened codes to begin with; by default the mean of the prior.
    colors : Colors to begin with, 0 to 1; by default those of even skin.
    say : Is told each step and its score.

    Raises
    ------
    UsageError : If the score is no finite number with gradients to the pictures.
    """
    config = config or GuidanceConfig()
    generator = torch.Generator(model.like.device).manual_seed(config.seed)
    scene = HeadPictures(model.eval(), config.size, config.field_of_view)
    whitened, paint = _unknowns(model, start, colors)
    optimized = [*(whitened if config.shape else ()), *((paint,) if config.color else ())]
    for unknown in optimized:
        unknown.requires_grad_()
    calm = _laplacian(model)
    adam = torch.optim.Adam(optimized, lr=config.learning_rate)
    scores = []
    for step in range(config.steps):
        adam.zero_grad()
        vertices = model.decode(_codes(model, whitened))[0]
        shown = torch.sigmoid(paint)
        angles, background = _views(config, generator, vertices)
        value = score(scene.draw(vertices, shown, angles, background), generator)
        _refuse_useless(value)
        likely = config.prior * 0.5 * sum(code.square().sum() for code in whitened)
        bends = config.smooth * torch.sparse.mm(calm, shown).square().mean()
        (value + likely + bends).backward()
        adam.step()
        scores.append(float(value.detach()))
        say(step, scores[-1])
    return _guided(model, Codes(*(code.detach() for code in whitened)), torch.sigmoid(paint.detach()), scores)


def _unknowns(model: MorphableModel, start: Codes | None, colors: Tensor | None) -> tuple[Codes, Tensor]:
    if start is None:
        like = model.like
        start = Codes(like.new_zeros(1, model.identity_size), like.new_zeros(1, model.expression_size))
    model.check_codes(start)
    if colors is None:
        colors = model.like.new_tensor(_SKIN).expand(model.topology.vertex_count, 3)
    if colors.shape != (model.topology.vertex_count, 3):
        raise UsageError(
            f"The colors have shape {tuple(colors.shape)}; wanted ({model.topology.vertex_count}, 3), one a vertex."
        )
    own = Codes(*(code.detach().clone().to(model.like) for code in start))
    return own, torch.logit(colors.detach().to(model.like).clamp(0.01, 0.99))


def _codes(model: MorphableModel, whitened: Codes) -> Codes:
    prior = model.prior()
    return Codes(
        prior.identity_mean + whitened.identity @ prior.identity_factor.T,
        prior.expression_mean + whitened.expression @ prior.expression_factor.T,
    )


def _views(config: GuidanceConfig, generator: torch.Generator, like: Tensor) -> tuple[Tensor, Tensor]:
    """Random turns, and an even background each, so that no color of it becomes part of the face."""
    draws = 2 * torch.rand(config.views, 2, generator=generator, device=like.device, dtype=like.dtype) - 1
    turns = draws * like.new_tensor([math.radians(config.pitch), math.radians(config.yaw)])
    background = torch.rand(config.views, 1, generator=generator, device=like.device, dtype=like.dtype)
    return torch.cat([turns, torch.zeros_like(turns[:, :1])], 1), background.expand(-1, 3)


def _laplacian(model: MorphableModel) -> Tensor:
    matrix = uniform_laplacian(model.topology).tocoo()
    places = torch.from_numpy(np.stack(matrix.coords).astype(np.int64))
    sparse = torch.sparse_coo_tensor(places, torch.from_numpy(matrix.data), matrix.shape, check_invariants=True)
    return sparse.to(model.like).coalesce()


def _refuse_useless(value: Tensor) -> None:
    if value.ndim or not value.requires_grad or not bool(torch.isfinite(value)):
        raise UsageError(
            f"The score gave {value.detach().flatten()[:3].tolist()} of shape {tuple(value.shape)}, gradients: "
            f"{value.requires_grad}; wanted one finite number that depends on the pictures differentiably."
        )


@torch.no_grad()
def _guided(model: MorphableModel, whitened: Codes, colors: Tensor, scores: list[float]) -> Guided:
    codes = _codes(model, whitened)
    values = colors.double().cpu().numpy()
    mesh = Mesh(
        model.decode(codes)[0].double().cpu().numpy(),
        np.asarray(model.topology.faces),
        vertex_attributes={name: values[:, c] for c, name in enumerate(("red", "green", "blue"))},
    )
    return Guided(codes=codes, whitened=whitened, colors=colors, mesh=mesh, scores=scores)
