"""Depth maps as surfaces: points, normals, triangles, and the same surface seen from elsewhere.

A depth map has the depth z of what each pixel center sees (B, H, W). Conventions and formulas are those of Unsup3D
(Wu et al. 2020, "Unsupervised Learning of Probably Symmetric Deformable 3D Objects from Images in the Wild").
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

from meshdisent.render.camera import Camera
from meshdisent.render.rasterizer import FAR, rasterize


def depth_points(depth: Float[Tensor, "batch height width"], camera: Camera) -> Float[Tensor, "batch height width 3"]:
    """Points in the camera's frame: depth times the ray of each pixel."""
    return depth[..., None] * camera.rays(depth)


def depth_normals(depth: Float[Tensor, "batch height width"], camera: Camera) -> Float[Tensor, "batch height width 3"]:
    """Unit normals by central differences, pointing away from the camera for a flat map; (0, 0, 1) on the border."""
    points = depth_points(depth, camera)
    along_u = points[:, 1:-1, 2:] - points[:, 1:-1, :-2]
    along_v = points[:, 2:, 1:-1] - points[:, :-2, 1:-1]
    normals = torch.linalg.cross(along_u, along_v)
    normals = functional.pad(normals, (0, 0, 1, 1, 1, 1))
    is_border = torch.ones(depth.shape[1:], dtype=depth.dtype, device=depth.device)
    is_border[1:-1, 1:-1] = 0
    normals = normals + is_border[..., None] * normals.new_tensor([0.0, 0.0, 1.0])
    return normals / (normals.norm(dim=-1, keepdim=True) + 1e-7)


def grid_faces(height: int, width: int, device: torch.device | str = "cpu") -> Int[Tensor, "face 3"]:
    """Two triangles for each square of neighboring pixels; all upper left ones, then all lower right ones.

    Examples
    --------
    >>> grid_faces(2, 2).tolist()
    [[0, 2, 1], [1, 2, 3]]
    """
    pixel = torch.arange(height * width, device=device).reshape(height, width)
    here, right, below, across = pixel[:-1, :-1], pixel[:-1, 1:], pixel[1:, :-1], pixel[1:, 1:]
    upper = torch.stack([here, below, right], -1).reshape(-1, 3)
    lower = torch.stack([right, below, across], -1).reshape(-1, 3)
    return torch.cat([upper, lower])


def surface_depth(
    points: Float[Tensor, "batch height width 3"],
    camera: Camera,
    *,
    samples: int = 1,
    shift: float = 0.0,
    background: float = FAR,
) -> Float[Tensor, "batch h w"]:
    """Depth map of a moved surface: its points become a mesh that is drawn again.

    Parameters
    ----------
    points : (B, H, W, 3) In the frame of the camera, neighbors as in the map that they come from.
    samples, shift : As in :func:`~meshdisent.render.rasterizer.rasterize`; a pixel is the mean of its samples.
    background : Depth of a sample that sees nothing. Unsup3D's renderer has 100, which enters the mean.
    """
    batch, height, width = points.shape[:3]
    faces = grid_faces(height, width, points.device)
    seen = rasterize(points.reshape(batch, -1, 3), faces, camera, samples=samples, shift=shift)
    return seen.per_pixel(torch.where(seen.is_seen, seen.depth, background))


def normalized(pixels: Float[Tensor, "*batch 2"], camera: Camera) -> Float[Tensor, "*batch 2"]:
    """Pixels (column, row) as -1 .. 1 between the outermost pixel centers."""
    size = pixels.new_tensor([camera.width - 1, camera.height - 1])
    return 2 * pixels / size - 1


def sample_picture(
    picture: Float[Tensor, "batch channel height width"], grid: Float[Tensor, "batch h w 2"]
) -> Float[Tensor, "batch channel h w"]:
    """Bilinear samples at positions of :func:`normalized`; black outside. Corners are pixel centers, as published."""
    return functional.grid_sample(picture, grid, mode="bilinear", padding_mode="zeros", align_corners=True)
