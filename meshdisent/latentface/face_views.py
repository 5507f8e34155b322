"""What can be shown of a photograph once it is explained.

The face without light, from the front, turned, in another light, as the identity alone has it, and as a mesh.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.latentface.reconstruction import frontal_depth, turned
from meshdisent.mesh.mesh import Mesh
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_normals, grid_faces
from meshdisent.render.shading import Light, lit, shading
from meshdisent.render.view import View, scaled_view

if TYPE_CHECKING:
    from meshdisent.latentface.latentface import FaceCodes, LatentFace


@dataclass(frozen=True, kw_only=True)
class FaceViews:
    """Photographs explained; pictures are (B, 3, S, S) from 0 to 1.

    Attributes
    ----------
    depth : (B, S, S) Of the frontal face, in units of the scene.
    normals : (B, S, S, 3) Of it, away from the camera (x right, y down, z forward).
    albedo : Skin without light, frontal.
    light : Where it comes from in the frame of the frontal face, and how strong it is.
    angles : (B, 6) The view: radians about x, y and z, and moves.
    frontal : The face from the front, in its light.
    rebuilt, mask : The photograph as explained, and (B, 1, S, S) where it shows the face.
    view_depth : (B, S, S) Depth in the view of the photograph.
    codes : Who it is and what the face does; None without stage two.
    identity : The face of the identity from the front in even light; None where stage two does not find both parts.
    """

    depth: Float[Tensor, "batch size size"]
    normals: Float[Tensor, "batch size size 3"]
    albedo: Float[Tensor, "batch 3 size size"]
    light: Light
    angles: Float[Tensor, "batch 6"]
    frontal: Float[Tensor, "batch 3 size size"]
    rebuilt: Float[Tensor, "batch 3 size size"]
    mask: Float[Tensor, "batch 1 size size"]
    view_depth: Float[Tensor, "batch size size"]
    codes: "FaceCodes | None"
    identity: Float[Tensor, "batch 3 size size"] | None


@torch.no_grad()
def look(
    model: "LatentFace", images: Float[Tensor, "batch 3 size size"], *, seed: int = 0, draws: int = 1
) -> FaceViews:
    """Explain photographs in 0 .. 1.

    Parameters
    ----------
    seed, draws : Of the identity; see :meth:`~meshdisent.latentface.latentface.LatentFace.encode`.
    """
    model.eval()
    scene, said = model.config.scene, model.explain(images)
    found = model.stage_one.rebuild(said)
    depth, frontal, view_depth = (values.chunk(2)[0] for values in (found.depth, found.frontal, found.view_depth))
    has_both = {"texture", "shape"} <= set(model.identities)
    codes = model.encode(images, seed=seed, draws=draws) if has_both else None
    angles = scaled_view(said.raw_view, scene.largest_angle, scene.largest_move, scene.largest_approach)
    return FaceViews(
        depth=depth,
        normals=found.normals.chunk(2)[0],
        albedo=to_colors(found.albedo.chunk(2)[0]),
        light=Light.of(said.raw_light),
        angles=angles,
        frontal=to_colors(frontal),
        rebuilt=to_colors(turned(depth, frontal, View.of(angles, scene.middle), scene)[1]),
        mask=found.mask,
        view_depth=view_depth,
        codes=codes,
        identity=None if codes is None else identity_face(model, codes.texture_identity, codes.shape_identity),
    )


@torch.no_grad()
def identity_face(
    model: "LatentFace", texture: Float[Tensor, "batch latent"], shape: Float[Tensor, "batch latent"]
) -> Float[Tensor, "batch 3 size size"]:
    """The frontal face of two codes in light from the front, 0 to 1."""
    one = model.stage_one
    depth = frontal_depth(one.shape.decoder(shape)[:, 0], model.config.scene)
    return relit(model, depth, to_colors(one.texture.decoder(texture)), front_light(len(depth), depth))


@torch.no_grad()
def relit(
    model: "LatentFace",
    depth: Float[Tensor, "batch size size"],
    albedo: Float[Tensor, "batch 3 size size"],
    light: Light,
) -> Float[Tensor, "batch 3 size size"]:
    """Frontal faces in another light; colors from 0 to 1."""
    normals = depth_normals(depth, model.config.scene.camera(depth.shape[-1]))
    return to_colors(lit(2 * albedo - 1, shading(normals, light)))


@torch.no_grad()
def reposed(
    model: "LatentFace",
    depth: Float[Tensor, "batch size size"],
    frontal: Float[Tensor, "batch 3 size size"],
    angles: Float[Tensor, "batch 6"],
) -> Float[Tensor, "batch 3 size size"]:
    """Frontal pictures (0 to 1) turned into views (radians about x, y, z; moves); white where nothing is seen."""
    scene = model.config.scene
    _, picture, is_face = turned(depth, frontal, View.of(angles, scene.middle), scene)
    return picture * is_face + (1 - is_face)


def front_light(count: int, like: Tensor) -> Light:
    """Light that shows shape: half of it from everywhere, half from the front and a little from above."""
    direction = torch.nn.functional.normalize(like.new_tensor([[0.0, 0.3, 1.0]]), dim=1)
    half = like.new_full((count,), 0.5)
    return Light(ambient=half, diffuse=half, direction=direction.expand(count, 3))


def face_mesh(
    depth: Float[np.ndarray, "size size"], camera: Camera, *, unit_mm: float, middle: float, border: int = 0
) -> Mesh:
    """A frontal depth map as a mesh in mm, y up, z to the viewer, with texture coordinates of its own pixels.

    Parameters
    ----------
    unit_mm, middle : Millimeters of a unit, and the depth that becomes z = 0.
    border : Columns and rows at each edge that are left out.
    """
    size = depth.shape[0]
    rays = camera.rays(torch.from_numpy(depth)).numpy()
    points = (depth[..., None] * rays - [0, 0, middle]) * [unit_mm, -unit_mm, -unit_mm]
    at = (np.arange(size) + 0.5) / size
    uv = np.stack(np.broadcast_arrays(at[None, :], 1 - at[:, None]), -1)
    inner = slice(border, size - border)
    points, uv = points[inner, inner], uv[inner, inner]
    faces = grid_faces(*points.shape[:2]).numpy()
    return Mesh(points.reshape(-1, 3), faces, uv=uv.reshape(-1, 2), face_uv=faces)


def to_colors(picture: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Colors from 0 to 1 of a picture in -1 .. 1, which light may have pushed beyond."""
    return (picture / 2 + 0.5).clamp(0, 1)
