r"""What is likely of one topology's faces, said for another topology: a shape prior carried over.

The face of the prior is registered to the other's template, as to a scan, so that the templates may be two meshes of
one face or two people. Then each vertex of the target has a place on the source, a mix of three vertices, and takes
over how that place moves, not where it is: with s, the source's shape on the target's template, t,

.. math:: \mu_v = t_v + R \sum_j w_{vj} (\mu^s_j - s_j), \qquad b_{kv} = R \sum_j w_{vj} b^s_{kj}.

So the target keeps the detail of its own template. Vertices that the source does not cover (ears, neck, the back of a
head) move as smoothly as they can beside those that have a place: the cotangent Laplacian of their displacement is
zero, held weakly to that of the nearest place.
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
from jaxtyping import Bool, Float
from scipy.sparse.linalg import splu

from meshdisent.errors import DataError
from meshdisent.mesh.laplacian import cotangent_laplacian
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.raw_surface import PART_LIMITS, find_face, is_more_than_a_face
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import FitLimits, Registration
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.template_places import closest_places
from meshdisent.mesh.topology import Topology

#: Share of the target's vertices that must have a place on the source: of a head with neck and back, the face has.
FEWEST_COVERED = 0.3
#: A template is at rest: 0.2 to 1.1 standard deviations, of one model or another's people; a ball is at 1.9.
_MOST_UNLIKELY = 1.5
_LARGER = FitLimits(fewest_explained=FEWEST_COVERED, most_unlikely=_MOST_UNLIKELY)  # there may be more than a face
_HELD = 1e-4  # of the Laplacian: what has no place follows its nearest one beyond about a hundred edges


class CarriedPrior(NamedTuple):
    """A prior on another topology, in the frame of its template, in mm.

    ``covered`` is the share of its vertices that have a place on the source, ``distance_mm`` how far they are from it.
    """

    prior: ShapePrior
    covered: float
    distance_mm: float


def carried_prior(prior: ShapePrior, source: Topology, target: Topology) -> CarriedPrior:
    """Carry a prior over to another topology.

    Parameters
    ----------
    prior : Of the source topology, in the frame of its template.
    source, target : Faces in mm that look along +z with +y up.

    Returns
    -------
    CarriedPrior: mean, directions and deviations for the target's vertices.

    Raises
    ------
    DataError : If the target's template is no face that the source could be brought to, or one that is unlikely, or if
        the source covers too little of it.

    Examples
    --------
    >>> size = scans.topology.template.shape
    >>> wider = np.broadcast_to([1.0, 0.0, 0.0], size)[None]
    >>> prior = ShapePrior(mean=scans.topology.template, basis=wider, deviations=np.ones(1))
    >>> found = carried_prior(prior, scans.topology, scans.topology)
    >>> bool(np.allclose(found.prior.modes, wider, atol=0.1)), found.covered
    (True, 1.0)
    """
    if len(prior.mean) != source.vertex_count:
        raise DataError(f"The shape prior has {len(prior.mean)} vertices and its topology {source.vertex_count}.")
    found = _registered(prior, source, target)
    shape, turn = found.in_template_frame, found.motion.rotation
    placed = found.motion.inverse().apply(target.template)
    places = closest_places(Topology(shape, source.faces), target, placed)
    covered = float(places.is_covered.mean())
    if covered < FEWEST_COVERED:
        raise DataError(
            f"{covered:.0%} of the vertices have a place on the model's face; wanted {FEWEST_COVERED:.0%} or more."
        )
    corners = source.faces[places.face]
    moves = np.concatenate([(np.asarray(prior.mean, dtype=np.float64) - shape)[None], prior.modes])  # (1 + K, V, 3)
    carried = np.einsum("vj,mvjd->mvd", places.weights, moves[:, corners]) @ turn
    carried = _smooth_beyond(carried, target, places.is_covered)
    return CarriedPrior(
        ShapePrior(mean=target.template + carried[0], basis=carried[1:], deviations=np.ones(len(carried) - 1)),
        covered,
        float(np.median(places.distance[places.is_covered])),
    )


def _registered(prior: ShapePrior, source: Topology, target: Topology) -> Registration:
    """The source as the person of the target's template."""
    surface = TargetSurface.of_mesh(target.template, target.faces)
    if not is_more_than_a_face(source, surface):
        return register(source, surface, RegistrationConfig(rims="auto", limits=_LARGER), prior=prior)
    face = find_face(source, surface)
    config = RegistrationConfig(rims="auto", limits=replace(PART_LIMITS, most_unlikely=_MOST_UNLIKELY))
    return register(source, face.target, config, starts=[face.pose], prior=prior)


def _smooth_beyond(
    moves: Float[np.ndarray, "move vertex 3"], target: Topology, is_covered: Bool[np.ndarray, " vertex"]
) -> Float[np.ndarray, "move vertex 3"]:
    """Displacements of vertices without a place: smooth beside the others, weakly held to what they have."""
    beyond = np.flatnonzero(~is_covered)
    if not len(beyond):
        return moves
    laplacian = cotangent_laplacian(target)[beyond]
    matrix = laplacian[:, beyond] + _HELD * sparse.eye_array(len(beyond))
    flat = np.moveaxis(moves, 1, 0).reshape(target.vertex_count, -1)  # (V, moves * 3)
    right = _HELD * flat[beyond] - laplacian[:, np.flatnonzero(is_covered)] @ flat[is_covered]
    flat[beyond] = splu(matrix.tocsc()).solve(right)
    return np.moveaxis(flat.reshape(target.vertex_count, len(moves), 3), 0, 1)
