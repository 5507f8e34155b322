r"""Maps of a template onto a surface whose strain is small, and changes from place to place as little as it can.

The surface says how far a vertex moves along the normal; how far it slides must be guessed. A face that is larger, or
that smiles, is stretched more here and less there, without jumps. So among the maps y that lie on the surface the one
is looked for that minimizes

.. math:: E(y) = \int a |\varepsilon|^2 + g^2 |\nabla \varepsilon|^2
                 + b \left(|\Delta d|^2 + \frac{1}{h^2} |\nabla d|^2\right), \quad
          \varepsilon = \left( \tfrac12 \log \tfrac{1}{2} \operatorname{tr} C,\;
                 \frac{C_{11} - C_{22}}{\operatorname{tr} C},\; \frac{2 C_{12}}{\operatorname{tr} C} \right),

with the metric :math:`C = F^T F` of y (right Cauchy-Green) in an orthonormal frame of each triangle of the template:
the first number of the strain is the logarithm of the growth and the others are what is not conformal. None of
it changes when y is turned, here or as a whole; nor do the isometric and conformal energies of surfaces (Terzopoulos et
al. 1987; Levy et al. 2002). Those, which have no gradient of the strain, lead away from the truth: five faces that
began there came to lie 1.7 mm off with an isometric and 1.9 mm with a conformal energy, 1.3 mm with the gradient. It is
a difference over each edge, in frames along that edge (finite volumes). The last term is the thin plate
(:mod:`~meshdisent.mesh.thin_plate`) of :math:`d = y - x`, with x the template laid onto y: it holds what slides far.

Each step solves the normal equations of Gauss and Newton for the distance to the matches plus :math:`\lambda E`, and is
halved until that falls.
"""

from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.sparse.linalg import splu

from meshdisent.mesh.alignment import align
from meshdisent.mesh.normals import face_normals
from meshdisent.mesh.plane_fit import Planes
from meshdisent.mesh.thin_plate import Pulls, ThinPlate
from meshdisent.mesh.topology import Topology

#: a, g^2 and b. Six development faces without noise, with all rims given across, are 1.55 mm from the truth; 1.57 with
#: b = 100, 1.65 with 3 or 300, 1.83 without b and 1.84 with the plate alone (a = 0.3). Forty raw ones: a = 1, four
#: steps 1.695; a = 0.3, eight steps 1.710; a = 3 of what is not conformal 1.766.
_STRAIN_MM2, _GRADIENT_MM4, _PLATE_MM2 = 1.0, 100.0, 30.0
_HOLD_MM = 20.0  # h
_LEAST_AREA = 1e-6  # of the median: triangles without an area have no strain
_STILL = 1e-4  # of an area: what nothing holds stays
_FARTHEST_MM, _HALVINGS = 5.0, 4


class Slides(NamedTuple):
    """Vertices that belong on lines: points of those, their directions there, and how firmly they hold along them."""

    rows: Int[np.ndarray, " rim"]
    points: Float[np.ndarray, "rim 3"]
    along: Float[np.ndarray, "rim 3"]
    weight_mm2: float
    grip: Float[np.ndarray, " rim"] | float = 0.0  # of the weight across

    def pulls(self, shape: Float[np.ndarray, "vertex 3"]) -> Pulls:
        """What brings the vertices of a shape back to their lines: what has slid along them stays there."""
        points, weights = shape.copy(), np.zeros(len(shape))
        gap = self.points - shape[self.rows]
        points[self.rows] += gap - (gap * self.along).sum(axis=1, keepdims=True) * self.along
        weights[self.rows] = self.weight_mm2
        return Pulls(points, weights)


class EvenStrain:
    """The strain energy of maps of one template.

    Parameters
    ----------
    topology : Its template is where nothing is strained; in mm.
    """

    def __init__(self, topology: Topology):
        self._topology = topology
        self._plate = ThinPlate(topology, _HOLD_MM)
        area = np.linalg.norm(face_normals(topology.template, topology.faces), axis=1) / 2
        self._faces = topology.faces[area > _LEAST_AREA * np.median(area)]
        self._areas = area[area > _LEAST_AREA * np.median(area)]
        first, second = _frames(topology.template, self._faces)
        self._gradients = _hat_gradients(topology.template, self._faces, first, second)
        self._strain_energy = self._quadratic(topology, first, second)

    def energy(self, shape: Float[np.ndarray, "vertex 3"]) -> float:
        """E, in mm^4."""
        strain = np.concatenate(self._strain(shape)[0])
        moved = shape - align(self._topology.template, shape).apply(self._topology.template)
        bent = _PLATE_MM2 * float((moved * (self._plate.energy @ moved)).sum())
        return float(strain @ (self._strain_energy @ strain)) + bent

    def step(
        self,
        shape: Float[np.ndarray, "vertex 3"],
        planes: Planes,
        stiffness: float,
        slides: Slides | None = None,
        pulls: Pulls | None = None,
    ) -> Float[np.ndarray, "vertex 3"]:
        r"""The shape after one step towards the matches.

        Parameters
        ----------
        shape : (V, 3) y, mm.
        planes : Matches, with weights from 0 to 1 a vertex.
        stiffness : :math:`\lambda`; with 1 a noisy surface is followed within a tenth of a millimeter.
        slides : Vertices that belong on lines, if any.
        pulls : Places for some of the vertices, if any.
        """
        data, toward = self._data(shape, planes, slides, pulls)
        strain, slopes = self._strain(shape)
        jacobian = sparse.vstack([self._rows(part) for part in slopes]).tocsr()
        rest = align(self._topology.template, shape).apply(self._topology.template)
        bending = stiffness * _PLATE_MM2 * self._plate.energy
        gradient = toward - (bending @ (shape - rest))
        gradient -= stiffness * (jacobian.T @ (self._strain_energy @ np.concatenate(strain))).reshape(-1, 3)
        count = len(shape)
        blocks = data + _STILL * np.maximum(self._plate.areas, 0.1)[:, None, None] * np.eye(3)
        matrix = stiffness * (jacobian.T @ (self._strain_energy @ jacobian)) + sparse.kron(bending, np.eye(3))
        matrix = matrix + sparse.bsr_array((blocks, np.arange(count), np.arange(count + 1)), shape=matrix.shape)
        order = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
        way = splu(sparse.csc_array(matrix), **order).solve(gradient.ravel()).reshape(-1, 3)
        way *= min(1.0, _FARTHEST_MM / max(float(np.linalg.norm(way, axis=1).max()), 1e-12))

        def cost(moved: np.ndarray) -> float:
            near = np.einsum("vi,vij,vj", moved, data, moved) - 2 * float((moved * toward).sum())
            return near + stiffness * self.energy(shape + moved)

        now = cost(np.zeros_like(shape))
        shares = 0.5 ** np.arange(_HALVINGS + 1)
        share = next((share for share in shares if cost(share * way) <= now), 0.0)
        return shape + share * way

    def _data(
        self, shape: np.ndarray, planes: Planes, slides: Slides | None, pulls: Pulls | None
    ) -> tuple[Float[np.ndarray, "vertex 3 3"], Float[np.ndarray, "vertex 3"]]:
        """The blocks that matches make on the diagonal, and their right side."""
        weights = self._plate.areas * planes.weights
        blocks = weights[:, None, None] * (
            planes.normals[:, :, None] * planes.normals[:, None] + planes.point_weight * np.eye(3)
        )
        toward = np.einsum("vij,vj->vi", blocks, planes.points - shape)
        if slides is not None:
            loose = (1 - np.broadcast_to(slides.grip, len(slides.rows)))[:, None, None]
            across = slides.weight_mm2 * (np.eye(3) - loose * slides.along[:, :, None] * slides.along[:, None])
            blocks[slides.rows] += across
            toward[slides.rows] += np.einsum("vij,vj->vi", across, slides.points - shape[slides.rows])
        if pulls is not None:
            blocks += pulls.weights[:, None, None] * np.eye(3)
            toward += pulls.weights[:, None] * (pulls.points - shape)
        return blocks, toward

    def _strain(self, shape: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """The three numbers (F,) of each triangle, and their slopes (F, 3, 3) by corner and axis."""
        hats = self._gradients
        first, second = (np.einsum("fkd,fk->fd", shape[self._faces], hats[:, :, axis]) for axis in (0, 1))
        one, two, mixed = (first**2).sum(axis=1), (second**2).sum(axis=1), (first * second).sum(axis=1)
        trace = np.maximum(one + two, 1e-4)
        slope_one = 2 * hats[:, :, :1] * first[:, None]
        slope_two = 2 * hats[:, :, 1:] * second[:, None]
        slope_mixed = hats[:, :, :1] * second[:, None] + hats[:, :, 1:] * first[:, None]
        slope_trace, per = slope_one + slope_two, (1 / trace)[:, None, None]
        unlike, shear = (one - two) / trace, 2 * mixed / trace
        slopes = [
            slope_trace * per / 2,
            (slope_one - slope_two - unlike[:, None, None] * slope_trace) * per,
            (2 * slope_mixed - shear[:, None, None] * slope_trace) * per,
        ]
        return [np.log(trace / 2) / 2, unlike, shear], slopes

    def _rows(self, slopes: Float[np.ndarray, "face 3 3"]) -> sparse.csr_array:
        columns = (3 * self._faces[:, :, None] + np.arange(3)).ravel()
        ends = np.arange(0, 9 * len(self._faces) + 1, 9)
        return sparse.csr_array(
            (slopes.ravel(), columns, ends), shape=(len(self._faces), 3 * self._topology.vertex_count)
        )

    def _quadratic(self, topology: Topology, first: np.ndarray, second: np.ndarray) -> sparse.csr_array:
        """(3 F, 3 F) What the strain costs: a of its square and g^2 of its gradient's."""
        face, other, edge = _shared_edges(self._faces, topology.vertex_count)
        ends = topology.template[edge]
        along = ends[:, 1] - ends[:, 0]
        # Length of an edge over the distance of the middles on both sides, about 2 (A + A') / 3 L.
        ratio = 1.5 * (along**2).sum(axis=1) / (self._areas[face] + self._areas[other])
        row, count = np.arange(len(edge)), len(self._faces)

        def difference(one: np.ndarray, two: np.ndarray) -> sparse.csr_array:
            values, columns = np.concatenate([one, -two]), np.concatenate([face, other])
            return sparse.csr_array((values, (np.tile(row, 2), columns)), shape=(len(row), count))

        angles = [
            2 * np.arctan2((along * second[side]).sum(axis=1), (along * first[side]).sum(axis=1))
            for side in (face, other)
        ]
        growth = difference(np.ones(len(row)), np.ones(len(row)))
        cosine, sine = difference(*np.cos(angles)), difference(*np.sin(angles))
        jump = sparse.block_diag([growth, sparse.block_array([[cosine, sine], [-sine, cosine]])])
        weights = sparse.diags_array(_GRADIENT_MM4 * np.tile(ratio, 3))
        return sparse.csr_array(jump.T @ weights @ jump + sparse.diags_array(_STRAIN_MM2 * np.tile(self._areas, 3)))


def _frames(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Two unit vectors (F, 3) in the plane of each triangle, the first along its first side."""
    side = vertices[faces[:, 1]] - vertices[faces[:, 0]]
    normal = face_normals(vertices, faces)
    first = side / np.linalg.norm(side, axis=1, keepdims=True)
    return first, np.cross(normal / np.linalg.norm(normal, axis=1, keepdims=True), first)


def _hat_gradients(
    vertices: np.ndarray, faces: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Float[np.ndarray, "face 3 2"]:
    """Gradients of the linear function that is 1 at a corner and 0 at the others, in the frame of the triangle."""
    corners, normal = vertices[faces], face_normals(vertices, faces)
    opposite = np.roll(corners, -2, axis=1) - np.roll(corners, -1, axis=1)
    gradient = np.cross(normal[:, None], opposite) / (normal**2).sum(axis=1)[:, None, None]
    return np.stack([np.einsum("fkd,fd->fk", gradient, axis) for axis in (first, second)], axis=-1)


def _shared_edges(faces: np.ndarray, vertex_count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pairs of triangles that share an edge, and its two vertices."""
    half = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
    keys = half.min(axis=1) * vertex_count + half.max(axis=1)
    order = np.argsort(keys, kind="stable")
    same = np.flatnonzero(keys[order][1:] == keys[order][:-1])
    owner = order % len(faces)
    return owner[same], owner[same + 1], np.sort(half[order[same]], axis=1)
