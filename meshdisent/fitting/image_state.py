"""What a photograph is explained by, all numbers of it, and the face that they give, with slopes.

Numbers are such that one is a usual change: codes and colors in standard deviations, angles in radians, places in
widths of the square around the face, the distance as a logarithm.
"""

from dataclasses import dataclass, replace

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from meshdisent.fitting.appearance import HARMONICS, AlbedoPrior, harmonic_slopes, harmonics
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.render.heads import outer_normals

#: Step of the differences that give slopes of a decoder, in standard deviations: exact for linear models, and small
#: enough for deep ones, whose faces in single precision are known to about 1e-5 mm.
_STEP = 0.1
#: Slopes hold for codes that lie so many standard deviations from where they were taken (steps are checked by the face
#: itself), and of so many places they are kept.
_NEAR, _KEPT = 1.0, 12
#: Numbers of one photograph beside its expression: angles, place and distance, light.
POSE, LIGHT = 6, 3 * HARMONICS


@dataclass(frozen=True, eq=False, kw_only=True)
class ImageState:
    """The numbers behind photographs of one subject.

    Attributes
    ----------
    identity : (I,) Whitened identity code.
    albedo : (K,) Along the directions of the prior of colors.
    expression : (B, E) Whitened expression codes.
    rotation : (B, 3, 3) Of the head in the camera's frame.
    place : (B, 3) Of the head's middle in the square (0 is the square's), and logarithm of its distance in meters.
    light : (B, 9, 3) In the camera's frame.
    """

    identity: Float[Tensor, " identity"]
    albedo: Float[Tensor, " direction"]
    expression: Float[Tensor, "batch expression"]
    rotation: Float[Tensor, "batch 3 3"]
    place: Float[Tensor, "batch 3"]
    light: Float[Tensor, "batch 9 3"]

    @property
    def shared(self) -> int:
        """Numbers that all photographs share."""
        return len(self.identity) + len(self.albedo)

    @property
    def own(self) -> int:
        """Numbers of each photograph alone."""
        return self.expression.shape[1] + POSE + LIGHT

    def columns(self, k: int) -> Int[Tensor, " number"]:
        """Where the numbers of photograph k stand among all."""
        start = self.shared + k * self.own
        return torch.cat([torch.arange(self.shared), torch.arange(start, start + self.own)])

    def moved(self, step: Float[Tensor, " all"]) -> "ImageState":
        """The state a step further; the rotation is turned, the others are added."""
        step = step.to(self.identity)
        sizes = [len(self.identity), len(self.albedo), len(self.expression) * self.own]
        identity, albedo, rest = step.split(sizes)
        expression, turn, place, light = rest.reshape(-1, self.own).split(
            [self.expression.shape[1], 3, 3, LIGHT], dim=1
        )
        return replace(
            self,
            identity=self.identity + identity,
            albedo=self.albedo + albedo,
            expression=self.expression + expression,
            rotation=turned(turn) @ self.rotation,
            place=self.place + place,
            light=self.light + light.reshape(self.light.shape),
        )

    def one(self, k: int) -> "ImageState":
        """Photograph k alone."""
        rows = slice(k, k + 1)
        return replace(
            self,
            expression=self.expression[rows],
            rotation=self.rotation[rows],
            place=self.place[rows],
            light=self.light[rows],
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """One face in the common camera, with slopes by the numbers behind it (I + K + own columns) where asked for.

    Attributes
    ----------
    points : (V, 3) In the common camera's frame.
    facing : (V,) Cosine between the normal and the way to the camera.
    colors : (V, 3) Under light.
    place_slopes, color_slopes : (V, 2, D) of the place in the square, and (V, 3, D).
    """

    points: Float[Tensor, "vertex 3"]
    facing: Float[Tensor, " vertex"]
    colors: Float[Tensor, "vertex 3"]
    place_slopes: Float[Tensor, "vertex 2 number"] | None = None
    color_slopes: Float[Tensor, "vertex 3 number"] | None = None

    @property
    def places(self) -> Float[Tensor, "vertex 2"]:
        """Where vertices are in the square."""
        return self.points[:, :2] / self.points[:, 2:]


class FaceMaker:
    """Makes faces of a morphable model from whitened codes, and surfaces from states.

    Parameters
    ----------
    model : Any morphable model; it is used without gradients.
    albedo : What colors are likely.
    """

    def __init__(self, model: MorphableModel, albedo: AlbedoPrior):
        self.model, self.albedo = model.eval(), albedo
        self.prior = model.prior()
        self.faces = torch.as_tensor(model.topology.faces)
        template = torch.as_tensor(model.topology.template).float()
        self.middle = (template.amax(0) + template.amin(0)) / 2
        self.width_m = float(template[:, 0].max() - template[:, 0].min()) / 1000
        self._known: list[tuple[Tensor, Tensor]] = []
        # mm, y up, z to the viewer -> meters, y down, z away from the viewer
        self.axes = torch.tensor([1.0, -1.0, -1.0]) / 1000

    def codes(self, identity: Float[Tensor, "row identity"], expression: Float[Tensor, "row expression"]) -> Codes:
        """Codes of whitened ones."""
        prior = self.prior
        return Codes(
            prior.identity_mean + identity.to(prior.identity_mean) @ prior.identity_factor.T,
            prior.expression_mean + expression.to(prior.expression_mean) @ prior.expression_factor.T,
        )

    @torch.no_grad()
    def shapes(
        self, identity: Float[Tensor, "row identity"], expression: Float[Tensor, "row expression"]
    ) -> Float[Tensor, "row vertex 3"]:
        """Faces in mm, float32 on the CPU."""
        rows = [
            self.model.decode(self.codes(i, e))
            for i, e in zip(identity.split(_TOGETHER), expression.split(_TOGETHER), strict=True)
        ]
        return torch.cat(rows).float().cpu()

    def slopes(
        self, identity: Float[Tensor, " identity"], expression: Float[Tensor, " expression"]
    ) -> Float[Tensor, "vertex 3 code"]:
        """Central differences of the face by both whitened codes, mm, here or at codes that are near enough."""
        both = torch.cat([identity, expression])
        for codes, known in self._known:
            if float((codes - both).norm()) < _NEAR:
                return known
        steps = _STEP * torch.eye(len(both))
        rows = torch.cat([both + steps, both - steps])
        faces = self.shapes(rows[:, : len(identity)], rows[:, len(identity) :])
        ahead, behind = faces.chunk(2)
        found = ((ahead - behind) / (2 * _STEP)).permute(1, 2, 0).contiguous()
        self._known = [(both, found), *self._known[: _KEPT - 1]]
        return found

    def rigid(self, shape: Float[Tensor, "vertex 3"], rotation: Float[Tensor, "3 3"]) -> Float[Tensor, "vertex 3"]:
        """A face turned about its middle, in meters, before it is put anywhere."""
        return ((shape - self.middle) * self.axes) @ rotation.T

    def surface(self, state: ImageState, k: int, shear: Float[Tensor, "3 3"], slopes: str = "none") -> Surface:
        """The face of photograph k in the common camera; ``slopes`` are ``none``, of ``places``, or of ``all``."""
        shape = self.shapes(state.identity[None], state.expression[k : k + 1])[0]
        at_origin = self.rigid(shape, state.rotation[k])
        distance = state.place[k, 2].exp()
        put = distance * torch.cat([state.place[k, :2], torch.ones(1)])
        points = at_origin @ shear.T + put
        eye = points @ torch.linalg.inv(shear).T  # in the photograph's camera
        normals = outer_normals(at_origin[None], self.faces)[0]
        facing = -(normals * functional.normalize(eye, dim=1)).sum(1)
        albedo = self.albedo.albedo(state.albedo)
        shade = harmonics(normals) @ state.light[k]
        surface = Surface(points=points, facing=facing, colors=albedo * shade)
        if slopes == "none":
            return surface
        codes = self.slopes(state.identity, state.expression[k])
        moves = torch.einsum("ij,j,vjd->vid", state.rotation[k], self.axes, codes)
        moves = torch.cat([moves, _turns(at_origin)], -1)  # codes, then angles
        moved = torch.cat([torch.einsum("ij,vjd->vid", shear, moves), _puts(put, distance, len(points))], -1)
        place = (moved[:, :2] - surface.places[..., None] * moved[:, 2:]) / points[:, 2, None, None]
        surface = replace(surface, place_slopes=_arranged(place, None, None, state))
        if slopes == "places":
            return surface
        color = _color_slopes(moves, at_origin, normals, self.faces, albedo, state.light[k])
        return replace(
            surface,
            color_slopes=_arranged(
                functional.pad(color, (0, 3)), (self.albedo.basis, shade), _light_slopes(albedo, normals), state
            ),
        )


_TOGETHER = 64


def turned(angles: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    """Rotations about the axes ``angles``, by their lengths in radians."""
    return torch.linalg.matrix_exp(_cross(angles.double())).to(angles)


def _cross(vectors: Float[Tensor, "batch 3"]) -> Float[Tensor, "batch 3 3"]:
    x, y, z = vectors.unbind(-1)
    o = torch.zeros_like(x)
    return torch.stack([torch.stack(row, -1) for row in ((o, -z, y), (z, o, -x), (-y, x, o))], -2)


def _turns(points: Float[Tensor, "vertex 3"]) -> Float[Tensor, "vertex 3 3"]:
    """How points move when they are turned about each axis: -[p]x, a column an axis."""
    return -_cross(points)


def _puts(put: Float[Tensor, "3"], distance: Tensor, count: int) -> Float[Tensor, "vertex 3 3"]:
    across, down = distance * torch.eye(3)[:, 0], distance * torch.eye(3)[:, 1]
    return torch.stack([across, down, put], -1).expand(count, 3, 3)


def _color_slopes(
    moves: Float[Tensor, "vertex 3 number"],
    points: Float[Tensor, "vertex 3"],
    normals: Float[Tensor, "vertex 3"],
    faces: Int[Tensor, "face 3"],
    albedo: Float[Tensor, "vertex 3"],
    light: Float[Tensor, "9 3"],
) -> Float[Tensor, "vertex 3 number"]:
    """Change of color under light when vertices move and normals turn with them."""
    a, b, c = faces.unbind(1)
    moved = moves.permute(0, 2, 1)  # (V, D, 3)
    first, second = (points[b] - points[a])[:, None], (points[c] - points[a])[:, None]
    turned_ = torch.linalg.cross(moved[b] - moved[a], second.expand(-1, moved.shape[1], -1), dim=-1)
    turned_ += torch.linalg.cross(first.expand(-1, moved.shape[1], -1), moved[c] - moved[a], dim=-1)
    sums = torch.zeros_like(moved)
    whole = torch.linalg.cross(first[:, 0], second[:, 0])
    length = torch.zeros_like(points)
    for corner in (a, b, c):
        sums.index_add_(0, corner, turned_)
        length.index_add_(0, corner, whole)
    sums /= length.norm(dim=1).clamp(min=1e-12)[:, None, None]
    along = normals[:, None]
    sums -= (sums * along).sum(-1, keepdim=True) * along  # unit normals turn only
    by_normal = torch.einsum("vkj,kc->vcj", harmonic_slopes(normals), light) * albedo[..., None]
    return torch.einsum("vcj,vdj->vcd", by_normal, sums)


def _light_slopes(albedo: Float[Tensor, "vertex 3"], normals: Float[Tensor, "vertex 3"]) -> Tensor:
    """(V, 3, 27): a color of the face changes with its own color of the light."""
    each = torch.einsum("vc,vk,ce->vcke", albedo, harmonics(normals), torch.eye(3))
    return each.flatten(2)


def _arranged(
    by_codes_and_pose: Tensor, colors: tuple[Tensor, Tensor] | None, light: Tensor | None, state: ImageState
) -> Tensor:
    """Columns in the order of :meth:`ImageState.columns`: identity, albedo, expression, pose, light."""
    count, channels = by_codes_and_pose.shape[:2]
    identity = by_codes_and_pose[..., : len(state.identity)]
    rest = by_codes_and_pose[..., len(state.identity) :]
    if colors is None:
        painted = torch.zeros(count, channels, len(state.albedo))
        lit = torch.zeros(count, channels, LIGHT)
    else:
        basis, shade = colors
        painted = basis.permute(1, 2, 0) * shade[..., None]
        assert light is not None
        lit = light
    return torch.cat([identity, painted, rest, lit], -1)
