"""Heads in a picture: colors, light, a view and a background go in, the picture and its truth come out."""

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.nn import functional

from meshdisent.errors import UsageError
from meshdisent.render.camera import Camera
from meshdisent.render.rasterizer import rasterize
from meshdisent.render.shading import Light
from meshdisent.render.view import View

#: Where a head stands in the frame of the camera, whose unit is the meter: millimeters of the point that comes to lie
#: on the optical axis, one meter away. For a face whose eyes are at height 0 this is the middle of the face.
_PIVOT_MM = (0.0, -25.0, -30.0)


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """Rendered heads with their truth, in the frame of the camera (x right, y down, z forward; meters).

    Attributes
    ----------
    picture : (B, S, S, 3) Colors from 0 to 1.
    depth : (B, S, S) z of what the center of each pixel sees; 0 where it sees no head.
    normals : (B, S, S, 3) Unit normals that point away from the camera, (0, 0, 1) where there is no head.
    albedo : (B, S, S, 3) Colors without light, 0 to 1.
    mask : (B, S, S) Whether the center of a pixel sees the head.
    """

    picture: Float[Tensor, "batch height width 3"]
    depth: Float[Tensor, "batch height width"]
    normals: Float[Tensor, "batch height width 3"]
    albedo: Float[Tensor, "batch height width 3"]
    mask: Bool[Tensor, "batch height width"]


def in_camera_frame(
    vertices: Float[Tensor, "batch vertex 3"], pivot_mm: tuple[float, float, float] = _PIVOT_MM
) -> Float[Tensor, "batch vertex 3"]:
    """Frontal heads in mm (y up, z towards the viewer) as a camera one meter away sees them, in meters."""
    moved = (vertices - vertices.new_tensor(pivot_mm)) / 1000
    return moved * moved.new_tensor([1.0, -1.0, -1.0]) + moved.new_tensor([0.0, 0.0, 1.0])


def outer_normals(
    vertices: Float[Tensor, "batch vertex 3"], faces: Int[Tensor, "face 3"]
) -> Float[Tensor, "batch vertex 3"]:
    """Unit normals of vertices, means of those of their faces by area; they point outside for faces that do."""
    corners = vertices[:, faces]  # (B, F, 3, 3)
    of_faces = torch.linalg.cross(corners[:, :, 1] - corners[:, :, 0], corners[:, :, 2] - corners[:, :, 0])
    sums = torch.zeros_like(vertices)
    for corner in faces.unbind(1):
        sums.index_add_(1, corner, of_faces)
    return functional.normalize(sums, dim=-1)


def picture_heads(
    heads: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
    albedo: Float[Tensor, "batch vertex 3"],
    light: Light,
    view: View,
    background: Float[Tensor, "batch height width 3"],
    camera: Camera,
    samples: int = 2,
) -> Pictures:
    """Render heads, one a picture.

    Parameters
    ----------
    heads : (B, V, 3) Frontal heads in the frame of the camera, as :func:`in_camera_frame` gives them.
    faces : (F, 3) Counter-clockwise from outside in mm with y up.
    albedo : (B, V, 3) Colors without light, 0 to 1.
    light : In the frame of the frontal head: it turns with the head, as LatentFace supposes.
    view : Where the heads are.
    background : (B, S, S, 3) Colors behind them.
    samples : Along each side of a pixel, for smooth edges.

    Raises
    ------
    UsageError : If colors are not given for each vertex.
    """
    if albedo.shape != heads.shape:
        raise UsageError(f"The colors are {tuple(albedo.shape)}; wanted {tuple(heads.shape)}, one for each vertex.")
    # The frame of the camera is turned about x by half a turn, so faces keep their sense; normals look outside.
    normals = -outer_normals(heads, faces)
    facing = (normals @ light.direction[:, :, None]).clamp(min=0)
    colors = albedo * (light.ambient[:, None, None] + light.diffuse[:, None, None] * facing)
    moved = view.apply(heads)
    fine = rasterize(moved, faces, camera, samples=samples)
    share = fine.per_pixel(fine.is_seen.to(heads.dtype))[..., None]
    picture = fine.per_pixel(fine.interpolate(colors)) + (1 - share) * background
    exact = rasterize(moved, faces, camera)
    turned = normals @ view.rotation.mT
    seen = exact.interpolate(torch.cat([turned, albedo], -1))
    mask = exact.is_seen
    seen_normals = functional.normalize(seen[..., :3], dim=-1)
    return Pictures(
        picture=picture.clamp(0, 1),
        depth=torch.where(mask, exact.depth, 0.0),
        normals=torch.where(mask[..., None], seen_normals, seen_normals.new_tensor([0.0, 0.0, 1.0])),
        albedo=seen[..., 3:],
        mask=mask,
    )
