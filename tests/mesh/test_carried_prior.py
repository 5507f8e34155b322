"""A shape prior carried to other vertices says of them what the formula of the head says, but for closest points."""

import numpy as np
import pytest
import trimesh
from scipy.spatial.transform import Rotation

from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import DataError
from meshdisent.mesh.carried_prior import carried_prior
from meshdisent.mesh.laplacian import cotangent_laplacian
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import FitLimits, RegistrationRefused
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

PEOPLE = np.random.default_rng(3).standard_normal((6, 30))


def displacements(head):
    """How six people differ from the average face, (6, V, 3) mm."""
    middle = head.neutral(np.zeros(30))
    return np.stack([head.neutral(person) - middle for person in PEOPLE])


@pytest.fixture(scope="module")
def small():
    return SyntheticHead(1200)


@pytest.fixture(scope="module")
def prior(small):
    modes = displacements(small)
    return ShapePrior(mean=small.neutral(np.zeros(30)), basis=modes, deviations=np.ones(len(modes)))


def test_other_vertices_of_the_same_face_move_as_the_formula_says(small, prior):
    large = SyntheticHead(2500)
    found = carried_prior(prior, small.topology, large.topology)
    truth = displacements(large)
    off = np.linalg.norm(found.prior.modes - truth, axis=2)
    assert np.linalg.norm(truth, axis=2).mean() > 2.0  # or there would be nothing to carry
    assert off.mean() < 0.25
    assert np.linalg.norm(found.prior.mean - large.neutral(np.zeros(30)), axis=1).mean() < 0.7
    assert found.covered > 0.95
    assert found.distance_mm < 0.3


def test_a_template_of_another_person_elsewhere_is_found_by_registration(small, prior):
    large = SyntheticHead(2500)
    turn = Rotation.from_euler("y", 25, degrees=True).as_matrix()
    somebody = large.neutral(0.7 * PEOPLE[0]) @ turn + [30.0, -200.0, 500.0]
    found = carried_prior(prior, small.topology, Topology(somebody, large.topology.faces))
    off = np.linalg.norm(found.prior.modes - displacements(large) @ turn, axis=2)
    assert off.mean() < 0.5
    # Its mean is the mean face where the template is, not the template.
    mean = large.neutral(np.zeros(30)) @ turn + [30.0, -200.0, 500.0]
    gap = found.prior.mean - mean
    assert np.linalg.norm(gap - gap.mean(axis=0), axis=1).mean() < np.linalg.norm(somebody - mean, axis=1).mean() / 2


def test_what_the_model_does_not_cover_moves_along_smoothly(small):
    """A motion of the whole face stays one on vertices without a place, exactly; others are bounded by the rest."""
    template, faces = small.topology.template, small.topology.faces
    inside = np.linalg.norm((template - template.mean(axis=0))[:, :2], axis=1) < 75
    kept, numbered = np.unique(faces[inside[faces].all(axis=1)], return_inverse=True)
    part = Topology(template[kept], numbered.reshape(-1, 3))
    shift = np.broadcast_to([0.0, 2.0, 1.0], (len(kept), 3))
    wave = np.stack([np.zeros(len(kept)), np.zeros(len(kept)), np.sin(template[kept, 0] / 20)], axis=1)
    prior = ShapePrior(mean=part.template, basis=np.stack([shift, wave]), deviations=np.ones(2))
    found = carried_prior(prior, part, small.topology)
    assert 0.3 < found.covered < 0.9
    assert np.allclose(found.prior.modes[0], [0.0, 2.0, 1.0], atol=0.15)  # less the small turn of the registration
    assert np.abs(np.ptp(found.prior.modes[0], axis=0)).max() < 1e-9
    assert np.abs(found.prior.modes[1]).max() < 1.1
    far = np.linalg.norm((template - template.mean(axis=0))[:, :2], axis=1) > 85
    assert far.sum() > 50
    assert np.abs(cotangent_laplacian(small.topology)[far] @ found.prior.modes[1]).max() < 1e-3


def test_what_is_no_face_is_refused(small, prior):
    ball = trimesh.creation.icosphere(4, radius=90.0)
    with pytest.raises(DataError, match="registration failed"):
        carried_prior(prior, small.topology, Topology(np.asarray(ball.vertices), np.asarray(ball.faces)))
    with pytest.raises(DataError, match="has 1200 vertices and its topology 2500"):
        carried_prior(prior, SyntheticHead(2500).topology, small.topology)


def test_a_shape_that_is_too_unlikely_for_the_prior_is_refused(small, prior):
    """A thing that many directions can be bent to is no face because of it."""
    modes = prior.modes.reshape(len(prior.modes), -1)
    weights = np.array([3.0, -2.0, 1.0, 0.0, 1.0, -1.0])
    shape = prior.shape(weights)
    assert prior.unlikeliness(prior.mean) < 1e-12
    # Sixteen over fourteen: six weights, and eight more of 0. Directions of some thousand mm^2 leave the noise no say.
    assert np.linalg.eigvalsh(modes @ modes.T)[0] > 1000
    assert prior.unlikeliness(shape) == pytest.approx(np.sqrt(16 / 14), rel=0.01)
    target = TargetSurface.of_mesh(shape, small.topology.faces)
    found = register(small.topology, target, prior=prior)
    assert found.unlikeliness == pytest.approx(np.sqrt(16 / 14), rel=0.1)
    assert register(small.topology, target).unlikeliness is None
    with pytest.raises(RegistrationRefused, match=r"is 1\.\d standard deviations .* wanted at most 0.5"):
        register(small.topology, target, RegistrationConfig(limits=FitLimits(most_unlikely=0.5)), prior=prior)
