"""From what the networks say to a picture: frontal depth and albedo, lit, turned into the view of the photograph.

The pipeline of Unsup3D (Wu et al. 2020, section 3), which LatentFace takes over. Everything is done twice: with depth
and albedo as they are, and mirrored. A face is nearly symmetric, so both must look like the photograph; that is what
tells depth from albedo without any label.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import RecipeError
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_normals, depth_points, normalized, sample_picture, surface_depth
from meshdisent.render.shading import Light, lit, shading
from meshdisent.render.view import View, scaled_view


@dataclass(frozen=True, kw_only=True)
class SceneConfig:
    """The scene that photographs are explained by. Lengths have the unit in which a head is about 1 away.

    Attributes
    ----------
    field_of_view : Degrees between the outermost pixels.
    nearest, farthest : Range of the frontal depth.
    border : Where the depth of the outermost columns lies in that range (0.7); ``border_width`` of them on each side.
    room : How far the depth in the view may leave the range, as a part of its width on either side.
    largest_angle, largest_move, largest_approach : Degrees and lengths that a network's 1 stands for.
    samples, shift : How the depth is drawn: along each side of a pixel, and where (see
        :func:`~meshdisent.render.rasterizer.rasterize`). Unsup3D's renderer has 2 and 0.5, half a pixel off; ours
        looks at pixel centers once.
    has_light, has_view, has_depth, has_albedo : Without one, the ablation of the paper (table 6): light is even, the
        head frontal, the surface flat, or the skin of one middle gray.
    unit_mm : Millimeters of a unit; 1000 for faces rendered here. What photographs leave open is how large a face is.
    """

    field_of_view: float = 10.0
    nearest: float = 0.9
    farthest: float = 1.1
    border: float = 0.7
    border_width: int = 2
    room: float = 0.5
    largest_angle: float = 60.0
    largest_move: float = 0.1
    largest_approach: float = 0.0
    samples: int = 1
    shift: float = 0.0
    has_light: bool = True
    has_view: bool = True
    has_depth: bool = True
    has_albedo: bool = True
    unit_mm: float = 1000.0

    def __post_init__(self) -> None:
        if not 0 < self.nearest < self.farthest:
            raise RecipeError(
                f"scene.nearest is {self.nearest}, farthest {self.farthest}; wanted 0 < nearest < farthest."
            )
        if not 0 < self.field_of_view < 180:
            raise RecipeError(f"scene.field_of_view is {self.field_of_view}; wanted degrees between 0 and 180.")
        for name, lowest in (("samples", 1), ("border_width", 0), ("room", 0), ("unit_mm", 1e-9)):
            if getattr(self, name) < lowest:
                raise RecipeError(f"scene.{name} is {getattr(self, name)}; wanted at least {lowest}.")

    def camera(self, size: int) -> Camera:
        """The camera of square pictures."""
        return Camera.of_field_of_view(size, self.field_of_view)

    @property
    def middle(self) -> float:
        """Depth of the point about which heads turn: the middle of the range."""
        return (self.nearest + self.farthest) / 2


@dataclass(frozen=True, kw_only=True)
class Reconstruction:
    """Photographs explained; each (2B, ...): first as said, then with depth and albedo mirrored.

    Attributes
    ----------
    depth, normals, shade : Of the frontal face, (2B, H, W), (2B, H, W, 3), (2B, H, W).
    albedo, frontal : (2B, 3, H, W) Skin without light, and with it, -1 .. 1 (light may go beyond).
    view : Where the heads are.
    view_depth : (2B, H, W) Depth in the view of the photographs.
    picture : (2B, 3, H, W) The face as the photograph should show it; 0 outside the mask.
    mask : (B, 1, H, W) 1 where both see the face, else 0; has no gradient.
    """

    depth: Float[Tensor, "both height width"]
    normals: Float[Tensor, "both height width 3"]
    shade: Float[Tensor, "both height width"]
    albedo: Float[Tensor, "both 3 height width"]
    frontal: Float[Tensor, "both 3 height width"]
    view: View
    view_depth: Float[Tensor, "both height width"]
    picture: Float[Tensor, "both 3 height width"]
    mask: Float[Tensor, "batch 1 height width"]


def frontal_depth(raw: Float[Tensor, "batch height width"], scene: SceneConfig) -> Float[Tensor, "batch height width"]:
    """The depth of a frontal face from a network's map: its mean taken out, squashed into the range, border fixed.

    The border lies a little behind the middle, so that a face does not end in a cliff that the view would show.
    """
    relief = (raw - raw.mean((1, 2), keepdim=True)).tanh()
    depth = (1 + relief) / 2 * scene.farthest + (1 - relief) / 2 * scene.nearest
    width = scene.border_width
    if width == 0:
        return depth
    border = scene.border * scene.farthest + (1 - scene.border) * scene.nearest
    edge = torch.full_like(depth[:, :, :width], border)
    return torch.cat([edge, depth[:, :, width:-width], edge], 2)


def reconstruct(
    raw_depth: Float[Tensor, "batch height width"],
    albedo: Float[Tensor, "batch 3 height width"],
    raw_light: Float[Tensor, "batch 4"],
    raw_view: Float[Tensor, "batch 6"],
    scene: SceneConfig,
) -> Reconstruction:
    """Explain photographs by what the four networks say.

    Parameters
    ----------
    raw_depth : Any numbers. albedo, raw_light, raw_view : -1 .. 1.
    """
    if not scene.has_depth:
        raw_depth = torch.zeros_like(raw_depth)
    if not scene.has_albedo:
        albedo = torch.zeros_like(albedo)
    if not scene.has_light:
        raw_light = raw_light.new_tensor([1.0, -1.0, 0.0, 0.0]).expand_as(raw_light)
    if not scene.has_view:
        raw_view = torch.zeros_like(raw_view)
    depth = frontal_depth(raw_depth, scene)
    return show(
        torch.cat([depth, depth.flip(2)]),
        torch.cat([albedo, albedo.flip(3)]),
        Light.of(raw_light.repeat(2, 1)),
        View.of(
            scaled_view(raw_view, scene.largest_angle, scene.largest_move, scene.largest_approach).repeat(2, 1),
            scene.middle,
        ),
        scene,
    )


def show(
    depth: Float[Tensor, "both height width"],
    albedo: Float[Tensor, "both 3 height width"],
    light: Light,
    view: View,
    scene: SceneConfig,
) -> Reconstruction:
    """Light frontal faces and turn them into views; the second half are the mirror images of the first."""
    normals = depth_normals(depth, scene.camera(depth.shape[-1]))
    shade = shading(normals, light)
    frontal = lit(albedo, shade)
    view_depth, picture, is_face = turned(depth, frontal, view, scene)
    first, second = is_face.chunk(2)
    mask = first * second
    return Reconstruction(
        depth=depth,
        normals=normals,
        shade=shade,
        albedo=albedo,
        frontal=frontal,
        view=view,
        view_depth=view_depth,
        picture=picture * mask.repeat(2, 1, 1, 1),
        mask=mask,
    )


def turned(
    depth: Float[Tensor, "batch height width"],
    frontal: Float[Tensor, "batch channel height width"],
    view: View,
    scene: SceneConfig,
) -> tuple[
    Float[Tensor, "batch height width"],
    Float[Tensor, "batch channel height width"],
    Float[Tensor, "batch 1 height width"],
]:
    """Depth and picture of frontal faces in another view, and where it sees them (1, else 0, without gradient)."""
    camera = scene.camera(depth.shape[-1])
    spare = scene.room * (scene.farthest - scene.nearest)
    limit = scene.farthest + spare
    moved = view.apply(depth_points(depth, camera))
    drawn = surface_depth(moved, camera, samples=scene.samples, shift=scene.shift)
    view_depth = drawn.clamp(scene.nearest - spare, limit)
    # Each pixel of the view asks the frontal face for its color.
    grid = normalized(camera.project(view.undo(depth_points(view_depth, camera))), camera)
    is_face = (view_depth < limit).to(depth.dtype).detach()[:, None]
    return view_depth, sample_picture(frontal, grid), is_face
