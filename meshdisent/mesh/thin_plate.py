r"""Displacements of a surface that bend as little as they can while points go where they should.

A surface moves from x to x + d. With matches (p_v, n_v), weights w_v, areas m_v of the vertices and a length l,

.. math:: E(d) = \sum_v m_v w_v \left[(n_v \cdot (x_v + d_v - p_v))^2 + \tau |x_v + d_v - p_v|^2\right]
                 + \sum_v g_v |x_v + d_v - q_v|^2
                 + l^4 \left(\int |\Delta d|^2 + \frac{1}{h^2} \int |\nabla d|^2\right)

is minimized: the optimal-step non-rigid registration of Amberg et al. (2007), with the bending of the displacement in
place of differences of affine maps. Waves shorter than about :math:`2 \pi l` are not followed, whatever the resolution
of the mesh; so l is the stiffness, in mm. The integrals are those of linear finite elements (cotangents S, lumped areas
M): :math:`S M^{-1} S + S / h^2`; on the border of the template there is no bending. The last integral keeps what no
match holds near its neighbors: beyond h a displacement goes on as a constant, not as a slope. Pieces of the template
that hang on nothing are tied to the nearest vertices of the largest one. The normal equations are solved by conjugate
gradients; their preconditioner is a sparse factorization of the same matrix with :math:`n n^T` replaced by its mean
:math:`I / 3`, which takes each axis alone: a tenth of the numbers to factorize.

Beside a linear model of shapes, :math:`x_v = \mu_v + \sum_k c_k b_{kv}`, weights and displacement are found together,

.. math:: \min_{c, d} E(d) + \rho \sum_k c_k^2,

so that what the model can do costs no bending, and what it cannot do leaves its weights alone: the maximum a posteriori
of a Gaussian model of shapes plus a smooth Gaussian process (Luethi et al. 2018, with a thin plate for its kernel).
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Float, Int
from scipy.linalg import cho_factor, cho_solve
from scipy.sparse.linalg import splu
from scipy.spatial import cKDTree

from meshdisent.mesh.normals import face_normals
from meshdisent.mesh.plane_fit import Planes, ShapePrior
from meshdisent.mesh.topology import Topology

HOLD_MM = 40.0  # h
_COTANGENTS = (0.02, 10.0)  # of angles of 89 and 6 degrees: slivers hold, but not more than others
_SMALLEST = 0.2  # of the median area of a vertex
_TIES = 50  # vertices of a loose piece that are tied
_TOLERANCE, _MOST_STEPS = 1e-3, 60
_Map = Callable[[np.ndarray], np.ndarray]


class Pulls(NamedTuple):
    """Places that some vertices should go to: g and q of the equation."""

    points: Float[np.ndarray, "vertex 3"]
    weights: Float[np.ndarray, " vertex"]


def joined(first: Pulls | None, second: Pulls | None) -> Pulls | None:
    """The pulls of both; where both pull, the second alone does."""
    if first is None or second is None:
        return first or second
    is_second = second.weights > 0
    return Pulls(
        np.where(is_second[:, None], second.points, first.points), np.where(is_second, second.weights, first.weights)
    )


def across(
    planes: Planes, pulls: Pulls, shape: Float[np.ndarray, "vertex 3"], areas: Float[np.ndarray, " vertex"]
) -> Planes:
    """Matches in which what is pulled goes to planes across the way to its place, whatever was nearest."""
    way = pulls.points - shape
    length = np.linalg.norm(way, axis=1)
    rows = np.flatnonzero((pulls.weights > 0) & (length > 0))
    planes.points[rows], planes.normals[rows] = pulls.points[rows], way[rows] / length[rows, None]
    planes.weights[rows] = pulls.weights[rows] / np.maximum(areas[rows], 1e-12)
    return planes


class _System(NamedTuple):
    """Normal equations: what data and bending do to a displacement, nearly the inverse of both, and the right side."""

    data: _Map
    bend: _Map
    near: _Map
    right: Float[np.ndarray, "vertex 3"]
    diagonal: Float[np.ndarray, " vertex"]

    def times(self, d: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 3"]:
        return self.data(d) + self.bend(d)


class ThinPlate:
    """The bending energy of displacements of one template.

    Attributes
    ----------
    areas : (V,) Area of each vertex in mm^2, a third of its faces.
    energy : (V, V) :math:`S M^{-1} S + S / h^2`: what a displacement costs with a length of 1 mm.
    """

    def __init__(self, topology: Topology, hold_mm: float = HOLD_MM):
        self.areas = _vertex_areas(topology)
        used = self.areas > 0
        usual = np.median(self.areas[used]) if used.any() else 1.0
        bends = (used & ~topology.is_border) / np.maximum(self.areas, _SMALLEST * usual)
        stretch = _stiffness(topology)
        bending = stretch @ sparse.diags_array(bends) @ stretch
        self.energy = sparse.csc_array(bending + stretch / hold_mm**2)
        self._least = 1e-9 * usual  # what is tied to nothing at all stays
        self._factored: tuple[float, Any] | None = None

    def solve(
        self,
        start: Float[np.ndarray, "vertex 3"],
        displacement: Float[np.ndarray, "vertex 3"],
        planes: Planes,
        length_mm: float,
        pulls: Pulls | None = None,
    ) -> Float[np.ndarray, "vertex 3"]:
        """The displacement d of ``start`` that minimizes E.

        Parameters
        ----------
        start : (V, 3) x, mm.
        displacement : (V, 3) Where the search begins, such as the last result.
        planes : Matches, with weights from 0 to 1 a vertex.
        length_mm : l.
        pulls : Places for some of the vertices, if any, in mm^2 of surface that each is worth.
        """
        system = self._system(start, planes, length_mm, pulls)
        return _conjugate_gradients(system.times, system.near, system.right, displacement)

    def solve_beside(
        self,
        prior: ShapePrior,
        weights: Float[np.ndarray, " mode"],
        displacement: Float[np.ndarray, "vertex 3"],
        planes: Planes,
        length_mm: float,
        rho_mm4: float,
        pulls: Pulls | None = None,
    ) -> tuple[Float[np.ndarray, " mode"], Float[np.ndarray, "vertex 3"]]:
        r"""The weights c of a model and the displacement from it that minimize :math:`E + \rho \lVert c \rVert^2`.

        Parameters
        ----------
        prior : The model.
        weights, displacement : (K,) and (V, 3) Where the search begins.
        planes, length_mm, pulls : As in :meth:`solve`.
        rho_mm4 : What one squared standard deviation of a mode costs: squared mm of distance on so many mm^2.
        """
        count, modes = len(weights), prior.modes.reshape(len(weights), -1)
        system = self._system(np.asarray(prior.mean, dtype=np.float64), planes, length_mm, pulls)
        mean = (modes * np.repeat(system.diagonal, 3)) @ modes.T + rho_mm4 * np.eye(count)
        factor = cho_factor(mean)

        def times(both: np.ndarray) -> np.ndarray:
            bent = both[count:].reshape(-1, 3)
            held = system.data(bent + (both[:count] @ modes).reshape(-1, 3))
            return np.concatenate([modes @ held.ravel() + rho_mm4 * both[:count], (held + system.bend(bent)).ravel()])

        def near(both: np.ndarray) -> np.ndarray:
            bent = system.near(both[count:].reshape(-1, 3))
            return np.concatenate([cho_solve(factor, both[:count]), bent.ravel()])

        right = np.concatenate([modes @ system.right.ravel(), system.right.ravel()])
        found = _conjugate_gradients(times, near, right, np.concatenate([weights, displacement.ravel()]))
        return found[:count], found[count:].reshape(-1, 3)

    def _system(self, start: np.ndarray, planes: Planes, length_mm: float, pulls: Pulls | None) -> "_System":
        """The normal equations of E for a surface that starts at ``start``."""
        along = self.areas * planes.weights
        pulled = np.zeros(len(start)) if pulls is None else pulls.weights
        everywhere = along * planes.point_weight + self._least + pulled
        energy = length_mm**4 * self.energy
        diagonal = along / 3 + everywhere
        if self._factored is None or self._factored[0] != length_mm:
            # Matches change little within a stage; factorizing takes longer than the few more steps.
            self._factored = length_mm, _factorized(energy + sparse.diags_array(diagonal))

        def data(d: np.ndarray) -> np.ndarray:
            return (along * (planes.normals * d).sum(axis=1))[:, None] * planes.normals + everywhere[:, None] * d

        gap = planes.points - start
        right = (along * (planes.normals * gap).sum(axis=1))[:, None] * planes.normals
        right += (along * planes.point_weight)[:, None] * gap
        if pulls is not None:
            right += pulled[:, None] * (pulls.points - start)
        return _System(data, lambda d: energy @ d, self._factored[1].solve, right, diagonal)

    def extension(self, held: Int[np.ndarray, " held"]) -> Callable[[np.ndarray], np.ndarray]:
        """What takes displacements of some vertices to displacements of all that bend least.

        Along the surface, so that lips that touch do not pull at each other.

        Parameters
        ----------
        held : Rows of vertices whose displacements will be given, each once.
        """
        free = np.setdiff1d(np.arange(len(self.areas)), held)
        rows = self.energy.tocsr()[free]
        near = _factorized(rows[:, free] + self._least * sparse.eye_array(len(free))) if len(free) else None
        across = rows[:, held]

        def extended(displacement: Float[np.ndarray, "held 3"]) -> Float[np.ndarray, "vertex 3"]:
            found = np.empty((len(self.areas), 3))
            found[held] = displacement
            if near is not None:
                found[free] = near.solve(-(across @ displacement))
            return found

        return extended


def _factorized(matrix: sparse.sparray) -> Any:
    order = {"permc_spec": "MMD_AT_PLUS_A", "diag_pivot_thresh": 0.0, "options": {"SymmetricMode": True}}
    return splu(sparse.csc_array(matrix), **order)


def _conjugate_gradients(times: _Map, near: _Map, right: np.ndarray, start: np.ndarray) -> np.ndarray:
    """Solve times(x) = right from ``start``; ``near`` undoes ``times`` nearly."""
    found = start.copy()
    rest = right - times(found)
    better = near(rest)
    way = better
    size = first = float((rest * better).sum())
    for _ in range(_MOST_STEPS):
        if size <= _TOLERANCE**2 * first or size <= 0:
            break
        moved = times(way)
        step = size / float((way * moved).sum())
        found = found + step * way
        rest = rest - step * moved
        better = near(rest)
        before, size = size, float((rest * better).sum())
        way = better + (size / before) * way
    return found


def _vertex_areas(topology: Topology) -> Float[np.ndarray, " vertex"]:
    area = np.linalg.norm(face_normals(topology.template, topology.faces), axis=1) / 6
    return np.bincount(topology.faces.ravel(), weights=np.repeat(area, 3), minlength=topology.vertex_count)


def _stiffness(topology: Topology) -> sparse.csr_array:
    """S: half the cotangents of the two angles opposite to each edge, within bounds, with loose pieces tied."""
    corners = topology.template[topology.faces]
    one, other = np.roll(corners, -1, axis=1) - corners, np.roll(corners, -2, axis=1) - corners
    area = np.linalg.norm(np.cross(one, other), axis=2)
    cotangents = np.clip((one * other).sum(axis=2) / np.maximum(area, 1e-12), *_COTANGENTS) / 2
    heads, tails = topology.faces[:, [1, 2, 0]].ravel(), topology.faces[:, [2, 0, 1]].ravel()
    loose, held = _ties(topology)
    heads, tails = np.concatenate([heads, loose]), np.concatenate([tails, held])
    values = np.concatenate([cotangents.ravel(), np.ones(len(loose))])
    half = sparse.coo_array((values, (heads, tails)), shape=(topology.vertex_count,) * 2).tocsr()
    weights = sparse.csr_array(half + half.T)
    return sparse.csr_array(sparse.diags_array(weights.sum(axis=1)) - weights)


def _ties(topology: Topology) -> tuple[np.ndarray, np.ndarray]:
    """Pairs of a vertex of a loose piece and the nearest vertex of the largest one."""
    counts = np.bincount(topology.components)
    main = np.flatnonzero(topology.components == counts.argmax())
    tree = cKDTree(topology.template[main])
    loose = [np.zeros(0, dtype=np.int64)]
    for piece in np.setdiff1d(np.arange(len(counts)), [counts.argmax()]):
        members = np.flatnonzero(topology.components == piece)
        loose.append(members[:: max(1, len(members) // _TIES)])
    all_loose = np.concatenate(loose)
    held = main[tree.query(topology.template[all_loose])[1]] if len(all_loose) else all_loose
    return all_loose, held
