"""Colors of a face taken from its photograph, and what two fits can lend each other: skin and expression.

A vertex that the camera sees from in front gets the color of the photograph without its light; what is hidden gets that
of its mirror image and of its neighbors. All in one sparse least-squares problem over the colors a of the vertices:

.. math:: \\sum_p q_p \\lVert s_p \\circ \\sum_i \\pi_{pi} a_i - I_p \\rVert^2
    + \\lambda \\lVert \\Delta (a - \\bar a) \\rVert^2 + \\mu \\lVert M a - a \\rVert^2 + \\nu \\lVert a - \\bar a
    \\rVert^2

with pixels I, light s, barycentric weights, the Laplacian, the mirror M and the likely colors of the fit. These are the
applications of texture and expression transfer of WSDF (its section on applications).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Float
from scipy.sparse.linalg import splu

from meshdisent.errors import UsageError
from meshdisent.fitting.appearance import harmonics
from meshdisent.fitting.image import ImageFit
from meshdisent.fitting.image_equations import FAR, NEAR
from meshdisent.fitting.image_windows import SMALLEST, Photo, camera_of, windows_of
from meshdisent.mesh.laplacian import uniform_laplacian
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.symmetry import mirror_map
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.render.heads import outer_normals
from meshdisent.render.rasterizer import rasterize

#: Cosines to the camera from which on a pixel counts, and counts fully; light below which a color cannot be told; the
#: difference from the fit that something before the face makes; and the most pixels a side that are looked at.
_EDGE, _FULL, _DARK, _FOREIGN, _LARGEST = 0.2, 0.5, 0.08, 0.4, 512


@dataclass(frozen=True, kw_only=True)
class TextureConfig:
    """How colors are taken.

    Attributes
    ----------
    smooth, mirror, likely : Weights of the three terms after the first, whose weights add up to one at each vertex that
        is well seen.
    """

    smooth: float = 0.05
    mirror: float = 0.02
    likely: float = 1e-4

    def __post_init__(self) -> None:
        for name in ("smooth", "mirror", "likely"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}; wanted a positive number.")


@dataclass(frozen=True, eq=False)
class VertexTexture:
    """Colors without light, (V, 3) from 0 to 1, and which vertices the photograph shows."""

    colors: Float[np.ndarray, "vertex 3"]
    is_seen: Bool[np.ndarray, " vertex"]


def texture_of(
    model: MorphableModel, fit: ImageFit, photo: Photo, config: TextureConfig | None = None
) -> VertexTexture:
    """Take the colors of a face from the photograph that it was fitted to.

    Parameters
    ----------
    model, fit, photo : As they went into and came out of :func:`~meshdisent.fitting.image.fit_images`.
    """
    config = config or TextureConfig()
    topology = model.topology
    found = _measured(fit, photo, topology.faces)
    weight = found.shares.T @ found.counts
    usual = float(np.median(weight[weight > 0])) if (weight > 0).any() else 1.0
    likely = fit.albedo.double().numpy()
    one = sparse.eye_array(len(likely))
    laplacian = uniform_laplacian(topology)
    mirror = mirror_map(topology).map - one
    calm = config.smooth * (laplacian.T @ laplacian) + config.likely * one
    twin = config.mirror * (mirror.T @ mirror)
    colors = np.empty_like(likely)
    for color in range(3):
        # Less light tells less of a color, so that light stands in the weights, too.
        lit = sparse.diags_array(np.sqrt(found.counts / usual) * found.light[:, color]) @ found.shares
        left = sparse.csc_array(lit.T @ lit + calm + twin)
        target = np.sqrt(found.counts / usual) * found.colors[:, color]
        colors[:, color] = splu(left).solve(lit.T @ target + calm @ likely[:, color])
    return VertexTexture(colors.clip(0, 1), weight > 0.3 * usual)


def transferred_texture(model: MorphableModel, shape: ImageFit, texture: VertexTexture) -> Mesh:
    """The face of one fit in its own skin, or in that of another fit (WSDF's texture transfer).

    Raises
    ------
    UsageError : If the texture has not a color for each vertex of the model.
    """
    if len(texture.colors) != model.topology.vertex_count:
        raise UsageError(
            f"The texture has {len(texture.colors)} colors; wanted {model.topology.vertex_count}, one for each vertex "
            "of the model. Take both from fits of one model."
        )
    return _colored(shape.mesh, texture.colors)


@torch.no_grad()
def transferred_expression(
    model: MorphableModel, identity: ImageFit, expression: ImageFit, texture: VertexTexture | None = None
) -> Mesh:
    """The person of one fit with the expression of another (WSDF's expression transfer).

    Parameters
    ----------
    texture : Of the person, where the mesh is to have colors.
    """
    face = model.decode(Codes(identity.codes.identity, expression.codes.expression))[0].double().cpu().numpy()
    mesh = Mesh(face, np.asarray(model.topology.faces))
    return mesh if texture is None else _colored(mesh, texture.colors)


def _colored(mesh: Mesh, colors: Float[np.ndarray, "vertex 3"]) -> Mesh:
    named = {name: colors[:, c] for c, name in enumerate(("red", "green", "blue"))}
    return Mesh(mesh.vertices, mesh.faces, vertex_attributes=dict(mesh.vertex_attributes) | named)


class _Measured(NamedTuple):
    """What pixels that see the face say.

    Attributes
    ----------
    shares : (P, V) Barycentric weights of vertices.
    counts : (P,) How much each counts.
    colors, light : (P, 3) Colors of the photograph, and what light makes of white.
    """

    shares: sparse.csr_array
    counts: Float[np.ndarray, " pixel"]
    colors: Float[np.ndarray, "pixel 3"]
    light: Float[np.ndarray, "pixel 3"]


def _measured(fit: ImageFit, photo: Photo, faces: np.ndarray) -> _Measured:
    size = int(np.clip(round(fit.square[2]), SMALLEST, _LARGEST))
    windows = windows_of([photo], None, [size])
    picture, counts = (part[0] for part in windows.pictures[size])
    corners = torch.as_tensor(faces)
    points = fit.in_camera(torch.from_numpy(fit.mesh.vertices).float())
    normals = outer_normals(points[None], corners)[0]
    facing = -(normals * torch.nn.functional.normalize(points, dim=1)).sum(1)
    seen = rasterize((points @ windows.shear[0].T)[None], corners, camera_of(size), near=NEAR, far=FAR)
    shade = harmonics(normals) @ fit.light
    values = torch.cat([shade, shade * fit.albedo, facing[:, None]], 1)
    shown = seen.interpolate(values[None])[0]
    weight = counts * ((shown[..., -1] - _EDGE) / (_FULL - _EDGE)).clamp(0, 1)
    off = (shown[..., 3:6] - picture).norm(dim=-1) * seen.is_seen[0]
    # What stands before the face bleeds into the pixels beside it.
    foreign = torch.nn.functional.max_pool2d((off > _FOREIGN).float()[None], 5, stride=1, padding=2)[0]
    weight = weight * (1 - foreign) * (shown[..., :3].amin(-1) > _DARK)
    is_used = (seen.is_seen[0] & (weight > 0)).numpy()
    kept = is_used[seen.is_seen[0].numpy()]
    rows = np.repeat(np.arange(int(kept.sum())), 3)
    content = seen.perspective.double().numpy()[kept].ravel()
    shape = (int(kept.sum()), len(fit.mesh.vertices))
    return _Measured(
        sparse.csr_array((content, (rows, seen.corners.numpy()[kept].ravel())), shape=shape),
        weight.double().numpy()[is_used],
        picture.double().numpy()[is_used],
        shown.double().numpy()[is_used][:, :3],
    )
