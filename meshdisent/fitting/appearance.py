"""How a face looks: colors without light that are likely, and light from everywhere as nine numbers a color.

Light on a matte surface is a quadratic function of its normal to within some percent, whatever shines (Basri and Jacobs
2003; Ramamoorthi and Hanrahan 2001): :math:`c_v = a_v \\circ \\sum_k Y_k(n_v) L_k` with nine polynomials Y and the
colors a without light. What is likely for a, as a Gaussian of few directions, comes from the paint of rendered faces
(lips, brows, eyes and skin are where they are on a head), or says only that neighbors are alike.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.interpolate import RBFInterpolator
from scipy.sparse import csr_array
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import eigsh
from torch import Tensor

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import DataError
from meshdisent.fitting.face_points import pairs_with_synthetic_head
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.openings import find_openings
from meshdisent.mesh.topology import Topology
from meshdisent.render.paint import FacePaint

#: Number of polynomials of a light.
HARMONICS = 9
#: Even light that is likely, its spread, that of the others, and how much colors of light differ.
LIKELY, EVEN_SPREAD, SPREAD, COLOR_SPREAD = 0.85, 0.3, 0.4, 0.06

_PAINTED, _DIRECTIONS, _FARTHEST_MM, _HEAD = 240, 40, 15.0, 4000
_SKIN, _SMOOTH_DIRECTIONS = (0.67, 0.49, 0.39), 24
#: Where skin ends to be bare for sure, and where it is hidden as a rule, mm of the flat face: outwards, up, and down.
_BARE = ((75.0, 88.0), (28.0, 45.0), (104.0, 116.0))
#: Lighter or darker, more or less red, and blue against green, with their spreads.
_TONES = (((1.0, 1.0, 1.0), 0.18), ((1.0, -0.5, -0.5), 0.05), ((0.0, 0.7, -0.7), 0.03))


@dataclass(frozen=True, eq=False, kw_only=True)
class AlbedoPrior:
    """Colors of a face without light that are likely, 0 to 1: ``mean + numbers @ basis`` with standard normal numbers.

    Attributes
    ----------
    mean : (V, 3)
    basis : (K, V, 3) One standard deviation along each direction.
    bare : (V,) How surely a photograph shows skin there, 0 to 1: hair lies over foreheads and ears, clothes over necks.
        Where nothing is known of a face, 1.
    """

    mean: Float[Tensor, "vertex 3"]
    basis: Float[Tensor, "direction vertex 3"]
    bare: Float[Tensor, " vertex"]

    def albedo(self, numbers: Float[Tensor, " direction"]) -> Float[Tensor, "vertex 3"]:
        """Colors of the numbers along the directions."""
        return self.mean + torch.tensordot(numbers, self.basis, dims=1)


def painted_albedo(topology: Topology) -> AlbedoPrior:
    """What the paint of rendered faces is like on a topology, by 240 draws of it and their principal directions.

    Raises
    ------
    DataError : If the template is no face on which the synthetic head could lie.
    """
    return _painted(topology.template_hash, _Kept(topology))


def smooth_albedo(topology: Topology) -> AlbedoPrior:
    """Any skin, smooth over the face: the slowest waves of the mesh, slower ones stronger, mostly lighter or darker."""
    faces, count = topology.faces, topology.vertex_count
    ends = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    edges = csr_array((np.ones(len(ends)), ends.T), shape=(count, count))
    graph = laplacian(((edges + edges.T) > 0).astype(np.float64))
    kept = min(_SMOOTH_DIRECTIONS, count - 2)
    # A little below zero, so that the matrix can be factored; the first vector fixes the signs.
    values, waves = eigsh(graph.tocsc(), k=kept, sigma=-1e-3, v0=np.ones(count))
    waves = waves[:, np.argsort(values)] * np.sqrt(count) / (1 + np.arange(kept))
    basis = np.zeros((3 * waves.shape[1], len(waves), 3))
    for tone, (color, spread) in enumerate(_TONES):
        basis[tone::3] = spread * waves.T[:, :, None] * np.array(color)
    mean = torch.tensor(_SKIN).expand(len(waves), 3)
    return AlbedoPrior(mean=mean.clone(), basis=torch.from_numpy(basis).float(), bare=torch.ones(len(waves)))


#: The choices of what is known about colors.
ALBEDOS = {"painted": painted_albedo, "smooth": smooth_albedo}


def harmonics(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9"]:
    """1, x, y, z, xy, xz, yz, x^2 - y^2, 3 z^2 - 1 of unit normals."""
    x, y, z = normals.unbind(-1)
    return torch.stack([torch.ones_like(x), x, y, z, x * y, x * z, y * z, x * x - y * y, 3 * z * z - 1], -1)


def harmonic_slopes(normals: Float[Tensor, "*batch 3"]) -> Float[Tensor, "*batch 9 3"]:
    """Their derivatives by the normal."""
    x, y, z = normals.unbind(-1)
    o, one = torch.zeros_like(x), torch.ones_like(x)
    rows = [(o, o, o), (one, o, o), (o, one, o), (o, o, one), (y, x, o), (z, o, x), (o, z, y), (2 * x, -2 * y, o)]
    return torch.stack([torch.stack(row, -1) for row in [*rows, (o, o, 6 * z)]], -2)


def likely_light(like: Tensor) -> Float[Tensor, "9 3"]:
    """White light from everywhere."""
    light = like.new_zeros(HARMONICS, 3)
    light[0] = LIKELY
    return light


def light_precision() -> Float[np.ndarray, "27 27"]:
    """Inverse covariance of a light, row by row of (9, 3): white on the whole, colors that differ little."""
    common = np.full((3, 3), 1 / 3)
    blocks = np.zeros((HARMONICS, 3, HARMONICS, 3))
    for k in range(HARMONICS):
        spread = EVEN_SPREAD if k == 0 else SPREAD
        blocks[k, :, k] = common / spread**2 + (np.eye(3) - common) / COLOR_SPREAD**2
    return blocks.reshape(3 * HARMONICS, -1)


class _Kept:
    """A topology that is not looked at when a cache compares what it was asked."""

    def __init__(self, topology: Topology):
        self.topology = topology

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Kept)

    def __hash__(self) -> int:
        return 0


@lru_cache(maxsize=4)
def _painted(template_hash: str, kept: _Kept) -> AlbedoPrior:
    paint = paint_of(kept.topology)
    draws = np.stack([paint.albedo(np.random.default_rng([7, k])) for k in range(_PAINTED)])
    mean = draws.mean(0)
    rows = (draws - mean).reshape(_PAINTED, -1)
    _, values, directions = np.linalg.svd(rows, full_matrices=False)
    basis = (values[:_DIRECTIONS, None] / np.sqrt(_PAINTED) * directions[:_DIRECTIONS]).reshape(-1, *mean.shape)
    bare = torch.from_numpy(_bare(paint.place)).float()
    return AlbedoPrior(mean=torch.from_numpy(mean).float(), basis=torch.from_numpy(basis).float(), bare=bare)


def _bare(place: Float[np.ndarray, "vertex 2"]) -> Float[np.ndarray, " vertex"]:
    """1 from brows to chin and between the ears, 0 where hair or clothes may be, by places on the flat face."""
    out, up = np.abs(place[:, 0]), place[:, 1]
    low, high = np.array(_BARE).T
    over = (np.stack([out, up, -up], 1) - low) / (high - low)
    return (1 - over.clip(0, 1)).prod(1)


def paint_of(topology: Topology) -> FacePaint:
    """Where lips, brows and eyes are on a topology: the paint of the synthetic head, laid on its template."""
    count = topology.vertex_count
    is_open = find_openings(np.asarray(topology.template), topology.faces) is not None
    if not is_open and 1200 <= count <= 6000 and SyntheticHead(count).topology.topology_hash == topology.topology_hash:
        return FacePaint.of_synthetic_head(count)
    head = SyntheticHead(_HEAD)
    return FacePaint.of_synthetic_head(_HEAD).carried(_laid_on(head.topology, topology))


def _laid_on(source: Topology, target: Topology) -> csr_array:
    """For each vertex of the target the closest place of the source, bent onto it: (target, source) weights.

    A neck or an ear that the source has not takes the color of what is next, so :func:`resampling_map`, which refuses
    what lies far off, would not do.
    """
    pairs = pairs_with_synthetic_head(source, target)
    bent = RBFInterpolator(pairs.source, pairs.target, kernel="linear", degree=1, smoothing=1.0)(source.template)
    face, weights, distance = closest_points(np.asarray(target.template), bent, source.faces)
    if not np.median(distance) < _FARTHEST_MM:
        raise DataError(
            f"Half of the template lies {np.median(distance):.0f} mm or more from the painted head; wanted at most "
            f"{_FARTHEST_MM:.0f} mm, a face in mm. Take albedo='smooth' (--albedo smooth), which knows no paint."
        )
    rows = np.repeat(np.arange(len(face)), 3)
    return csr_array((weights.ravel(), (rows, source.faces[face].ravel())), shape=(len(face), source.vertex_count))
