"""Small motions and shapes towards planes: against the same least squares, written out."""

import numpy as np
import pytest

from meshdisent.mesh.plane_fit import Planes, ShapePrior, motion_step, shape_step


def written_out(points, planes, modes, weights, noise, with_scale):
    """Rows of the quadratic, for turn, shift, growth and modes, solved by least squares."""
    center = points[planes.weights > 0].mean(axis=0)
    arm = points - center
    columns = [np.cross(axis, arm) for axis in np.eye(3)] + [np.tile(axis, (len(points), 1)) for axis in np.eye(3)]
    columns = np.stack([*columns, *([arm] if with_scale else []), *modes])
    root = np.sqrt(planes.weights)[:, None]
    gap = planes.points - points
    along = (columns * planes.normals).sum(axis=2).T * root
    spread = [np.sqrt(planes.point_weight) * columns[..., axis].T * root for axis in range(3)]
    prior = np.hstack([np.zeros((len(modes), len(columns) - len(modes))), noise * np.eye(len(modes))])
    right = [(gap * planes.normals).sum(axis=1) * root[:, 0]]
    right += [np.sqrt(planes.point_weight) * gap[:, axis] * root[:, 0] for axis in range(3)]
    matrix = np.vstack([along, *spread, prior])
    found = np.linalg.lstsq(matrix, np.concatenate([*right, -noise * weights]), rcond=None)[0]
    return center, found


@pytest.mark.parametrize("with_scale", [False, True])
def test_a_shape_step_is_the_least_squares_of_matches_and_prior(with_scale):
    random = np.random.default_rng(2)
    points = 50 * random.normal(size=(60, 3))
    normals = random.normal(size=(60, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    weights = np.where(np.arange(60) < 50, random.uniform(size=60), 0.0)
    planes = Planes(points + random.normal(size=(60, 3)), normals, weights, 0.2)
    prior = ShapePrior(mean=points, basis=random.normal(size=(4, 60, 3)), deviations=np.array([3.0, 2.0, 1.0, 0.5]))
    before = np.array([0.5, -1.0, 2.0, 0.1])
    center, expected = written_out(points, planes, prior.modes, before, 1.7, with_scale)
    motion, after = shape_step(points, planes, prior, before, 1.7, with_scale)
    np.testing.assert_allclose(after - before, expected[-4:], atol=1e-6)
    np.testing.assert_allclose(motion.apply(center), center + expected[3:6], atol=1e-6)
    up = np.array([0, 0, 1.0])
    turned = (motion.apply(center + up) - motion.apply(center)) / motion.scale
    np.testing.assert_allclose(turned, up + np.cross(expected[:3], up), atol=1e-3)
    assert motion.scale == pytest.approx(np.exp(expected[6]) if with_scale else 1.0)


def test_a_motion_step_undoes_a_small_motion(shapes):
    vertices, _ = shapes.torus(20, 12)
    random = np.random.default_rng(0)
    normals = random.normal(size=vertices.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    turn = np.array([2e-4, -1e-4, 3e-4])
    there = vertices + np.cross(turn, vertices) + [0.1, 0.2, -0.3]
    step = motion_step(vertices, Planes(there, normals, np.ones(len(vertices)), 0.0))
    np.testing.assert_allclose(step.apply(vertices), there, atol=1e-5)


def test_a_shape_is_the_mean_and_deviations_times_weights():
    basis = np.zeros((2, 3, 3))
    basis[0, 1, 2] = basis[1, 2, 0] = 1.0
    prior = ShapePrior(mean=np.ones((3, 3)), basis=basis, deviations=np.array([2.0, 5.0]))
    np.testing.assert_array_equal(prior.shape(np.array([1.0, -1.0])), [[1, 1, 1], [1, 1, 3], [-4, 1, 1]])
