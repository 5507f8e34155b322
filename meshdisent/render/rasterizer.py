"""Triangles to pixels in torch alone: which face each sample sees, where on it, and how far away.

Visibility is found without gradients: each triangle is cut into pixel rows and each row into pixels, all of them at
once, so the cost follows the number of covered samples, for small triangles and for large ones. What a sample sees is
then computed again from the three corners of its face, differentiably. So gradients are exact wherever a sample stays
on its face, and nothing flows through visibility, as in the renderer of Unsup3D (Kato et al. 2018, interior part).

A sample belongs to a face when it lies inside or on an edge; both sides are drawn. The nearest face wins, the first of
them on ties. Neighbors leave no gap between them: the edge function of a common edge is the same number for both, but
for its sign. Faces that reach behind the camera are left out whole; there is no clipping.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from meshdisent.errors import UsageError
from meshdisent.render.camera import Camera

#: Depth of a sample that sees nothing, and the limits between which faces are drawn, in the unit of the vertices.
FAR, NEAR = 100.0, 0.1

#: Samples that are looked at together; bounds the memory of large triangles (about 100 bytes each).
_TOGETHER = 4_000_000


@dataclass(frozen=True, kw_only=True)
class Fragments:
    """What each sample of a picture sees; with ``samples`` of them along each side of a pixel.

    Attributes
    ----------
    face : (B, H, W) Row of the face, -1 where there is none; H and W count samples.
    corners : (P, 3) Rows of the corners in the flattened vertices (B*V), for the P samples that see a face.
    weights : (P, 3) Screen barycentric coordinates of these samples, in the order of the corners.
    depth : (B, H, W) z of what is seen; ``far`` where there is nothing.
    perspective : (P, 3) Weights of the corners in space: ``weights * depth / z of the corner``.
    samples : Samples along each side of a pixel.
    """

    face: Int[Tensor, "batch height width"]
    corners: Int[Tensor, "seen 3"]
    weights: Float[Tensor, "seen 3"]
    depth: Float[Tensor, "batch height width"]
    perspective: Float[Tensor, "seen 3"]
    samples: int

    @property
    def is_seen(self) -> Bool[Tensor, "batch height width"]:
        """Whether a sample sees a face."""
        return self.face >= 0

    def interpolate(
        self, attributes: Float[Tensor, "batch vertex channel"], background: float = 0.0
    ) -> Float[Tensor, "batch height width channel"]:
        """Attributes of vertices where the samples see them, in perspective; ``background`` elsewhere."""
        flat = attributes.reshape(-1, attributes.shape[-1])
        seen = (_corners(flat, self.corners) * self.perspective[..., None]).sum(1)
        return self._spread(seen, background)

    def barycentric(self) -> Float[Tensor, "batch height width 3"]:
        """Screen barycentric coordinates of every sample; 0 where nothing is seen."""
        return self._spread(self.weights, 0.0)

    def per_pixel(self, picture: Float[Tensor, "batch height width *channel"]) -> Float[Tensor, "batch h w *channel"]:
        """The mean over the samples of each pixel."""
        n = self.samples
        batch, height, width, *channels = picture.shape
        return picture.reshape(batch, height // n, n, width // n, n, *channels).mean((2, 4))

    def _spread(self, values: Float[Tensor, "seen channel"], background: float) -> Tensor:
        picture = values.new_full((self.face.numel(), values.shape[1]), background)
        picture = picture.index_copy(0, self.is_seen.flatten().nonzero()[:, 0], values)
        return picture.reshape(*self.face.shape, -1)


def rasterize(
    vertices: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
    camera: Camera,
    *,
    samples: int = 1,
    shift: float = 0.0,
    near: float = NEAR,
    far: float = FAR,
) -> Fragments:
    """Draw meshes of one topology, each into its own picture.

    Parameters
    ----------
    vertices : (B, V, 3) In the frame of the camera: x right, y down, z forward.
    faces : (F, 3) Corners; either orientation is drawn.
    samples : Along each side of a pixel, evenly: 1 looks at its center, 2 at four points around it.
    shift : Added to both coordinates of all samples, in pixels. Unsup3D's renderer has 0.5: it takes the corner of a
        pixel for its center.
    near, far : Samples nearer or farther than these see nothing.

    Returns
    -------
    Fragments of (B, samples * height, samples * width) samples; depth and weights have gradients to the vertices.
    """
    if samples < 1 or not 0 <= near < far:
        raise UsageError(
            f"rasterize got samples {samples}, near {near}, far {far}; wanted samples >= 1, 0 <= near < far."
        )
    height, width = camera.height * samples, camera.width * samples
    with torch.no_grad():
        face = _visible(_on_samples(vertices, camera, samples, shift), faces, height, width, near, far)
    pixel = (face.flatten() >= 0).nonzero()[:, 0]
    picture = torch.div(pixel, height * width, rounding_mode="floor")
    corners = faces[face.flatten()[pixel]] + (picture * vertices.shape[1])[:, None]
    seen = _on_samples(_corners(vertices.reshape(-1, 3), corners), camera, samples, shift)  # (P, 3 corners, u v z)
    edges = _edges(seen[..., 0] - (pixel % width)[:, None], seen[..., 1] - (pixel // width % height)[:, None])
    weights = edges / edges.sum(-1, keepdim=True)
    over_z = weights / seen[..., 2]
    depth = 1 / over_z.sum(-1)
    whole = depth.new_full((face.numel(),), far).index_copy(0, pixel, depth).reshape(face.shape)
    return Fragments(
        face=face,
        corners=corners,
        weights=weights,
        depth=whole,
        perspective=over_z * depth[:, None],
        samples=samples,
    )


def _on_samples(points: Tensor, camera: Camera, samples: int, shift: float) -> Tensor:
    """Points (*, 3) as column and row, counted in samples, and z."""
    z = points[..., 2:]
    pixels = camera.project(points)
    return torch.cat([(pixels - shift + 0.5) * samples - 0.5, z], -1)


def _corners(rows: Float[Tensor, "row channel"], corners: Int[Tensor, "seen 3"]) -> Float[Tensor, "seen 3 channel"]:
    """Rows of the corners. An embedding: its backward pass adds up rows on all cores, that of indexing on one."""
    return torch.nn.functional.embedding(corners, rows)


def _edges(u: Float[Tensor, "*row 3"], v: Float[Tensor, "*row 3"]) -> Float[Tensor, "*row 3"]:
    """Edge functions of triangles at the origin: twice the areas of the origin with corners (1,2), (2,0), (0,1)."""
    u0, u1, u2 = u.unbind(-1)
    v0, v1, v2 = v.unbind(-1)
    return torch.stack([u1 * v2 - v1 * u2, u2 * v0 - v2 * u0, u0 * v1 - v0 * u1], -1)


def _visible(
    points: Float[Tensor, "batch vertex 3"],
    faces: Int[Tensor, "face 3"],
    height: int,
    width: int,
    near: float,
    far: float,
) -> Int[Tensor, "batch height width"]:
    """Row of the nearest face at each sample, or -1; points are columns, rows and depths."""
    batch, vertex_count = points.shape[:2]
    face_count = len(faces)
    first = torch.arange(batch, device=points.device)[:, None, None] * vertex_count
    u, v, z = (a[(faces + first).reshape(-1, 3)] for a in points.reshape(-1, 3).unbind(-1))  # each (B*F, 3)
    nearest = points.new_full((batch * height * width,), far)
    winner = torch.full_like(nearest, face_count, dtype=torch.long)
    found = []
    for face, column, row in _candidates(u, v, z, height, width):
        edges = _edges(u[face] - column[:, None], v[face] - row[:, None])
        total = edges.sum(-1)
        is_inside = ((edges >= 0).all(-1) | (edges <= 0).all(-1)) & (total != 0)
        depth = total / (edges / z[face]).sum(-1)
        keep = (is_inside & (depth > near) & (depth < far)).nonzero()[:, 0]
        face, depth = face[keep], depth[keep]
        pixel = (torch.div(face, face_count, rounding_mode="floor") * height + row[keep]) * width + column[keep]
        nearest.scatter_reduce_(0, pixel, depth, "amin")
        found.append((pixel, depth, face % face_count))
    for pixel, depth, face in found:
        wins = (depth == nearest[pixel]).nonzero()[:, 0]
        winner.scatter_reduce_(0, pixel[wins], face[wins], "amin")
    return torch.where(winner == face_count, -1, winner).reshape(batch, height, width)


def _candidates(
    u: Float[Tensor, "face 3"], v: Float[Tensor, "face 3"], z: Float[Tensor, "face 3"], height: int, width: int
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Face, column and row of every sample that may lie in a face, some millions at a time."""
    low_v, high_v = v.aminmax(dim=-1)
    top, count = _whole_numbers(low_v, high_v, height)
    low_u, high_u = u.aminmax(dim=-1)
    is_drawable = (z > 0).all(-1) & (high_u >= 0) & (low_u <= width - 1)
    face, row = _expand(top, torch.where(is_drawable, count, 0))
    left, count = _whole_numbers(*_span(u[face], v[face], row), width)
    for part in _parts(count):
        span, column = _expand(left[part], count[part])
        yield face[part][span], column, row[part][span]


def _span(u: Float[Tensor, "row 3"], v: Float[Tensor, "row 3"], row: Int[Tensor, " row"]) -> tuple[Tensor, Tensor]:
    """Leftmost and rightmost column of each triangle on a row of samples, a little too wide on purpose."""
    left, right = torch.full_like(u[:, 0], torch.inf), torch.full_like(u[:, 0], -torch.inf)
    for a, b in ((0, 1), (1, 2), (2, 0)):
        rise = v[:, b] - v[:, a]
        along = (row - v[:, a]) / rise
        # The edge meets the row between its ends; a flat edge (0/0 or x/0) is covered by the ends of the other two.
        at = torch.where((along >= 0) & (along <= 1), u[:, a] + along * (u[:, b] - u[:, a]), torch.nan)
        left, right = torch.fmin(left, at), torch.fmax(right, at)
    # Rounding moves these columns by some units in the last place of the largest; who is inside is decided later.
    slack = 1e-3 + 8 * torch.finfo(u.dtype).eps * u.abs().amax(-1)
    return left - slack, right + slack


def _whole_numbers(low: Tensor, high: Tensor, limit: int) -> tuple[Tensor, Tensor]:
    """The first whole number from ``low`` on within 0 .. limit-1, and how many there are up to ``high``."""
    first = low.clamp(0, limit).nan_to_num(limit).ceil().long()
    last = high.clamp(-1, limit - 1).nan_to_num(-1).floor().long()
    return first, (last - first + 1).clamp(min=0)


def _expand(first: Int[Tensor, " row"], count: Int[Tensor, " row"]) -> tuple[Tensor, Tensor]:
    """Each row ``count`` times: its number, and ``first``, ``first + 1``, and so on."""
    row = torch.repeat_interleave(count)
    begin = count.cumsum(0) - count
    return row, torch.arange(len(row), device=count.device) - (begin - first)[row]


def _parts(count: Int[Tensor, " row"]) -> Iterator[slice]:
    """Slices of rows that hold about as many samples as are looked at together."""
    ends = count.cumsum(0)
    total = int(ends[-1]) if len(ends) else 0
    limits = torch.arange(_TOGETHER, total + _TOGETHER, _TOGETHER, device=count.device)
    begin = 0
    for end in torch.searchsorted(ends, limits, right=True).clamp(max=len(count)).tolist():
        if end > begin:
            yield slice(begin, end)
        begin = max(end, begin)
    if begin < len(count):
        yield slice(begin, len(count))
