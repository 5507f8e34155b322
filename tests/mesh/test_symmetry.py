"""The mirror of a template."""

import numpy as np

from meshdisent.mesh.symmetry import mirror_map
from meshdisent.mesh.topology import Topology


def symmetric_sheet(shapes, shift=0.0):
    """13 x 13 vertices whose height depends on |x|; the diagonals of the squares are not symmetric."""
    vertices, faces = shapes.grid(12, 12)
    vertices[:, 0] -= 6.0
    vertices[:, 2] = 0.1 * vertices[:, 0] ** 2 + 0.3 * np.sin(vertices[:, 1])
    return Topology(vertices + np.array([shift, 0.0, 0.0]), faces)


def test_a_symmetric_template_is_its_own_mirror_image(shapes):
    topology = symmetric_sheet(shapes)
    mirror = mirror_map(topology)
    assert mirror.center_x == 0.0
    np.testing.assert_allclose(mirror.residual, 0, atol=1e-9)
    np.testing.assert_allclose(mirror.apply(topology.template), topology.template, atol=1e-9)
    partner = np.arange(169).reshape(13, 13)[:, ::-1].ravel()
    assert np.array_equal(mirror.map.toarray(), np.eye(169)[partner])


def test_a_shifted_template_is_mirrored_at_its_middle(shapes):
    topology = symmetric_sheet(shapes, shift=40.0)
    mirror = mirror_map(topology)
    np.testing.assert_allclose(mirror.center_x, 40.0)
    np.testing.assert_allclose(mirror.apply(topology.template), topology.template, atol=1e-9)


def test_what_the_left_does_the_right_does_in_the_mirror(shapes):
    topology = symmetric_sheet(shapes)
    scan = topology.template.copy()
    left = np.argmin(np.linalg.norm(scan - [-3, 4, 0], axis=1))
    right = np.argmin(np.linalg.norm(scan - [3, 4, 0], axis=1))
    scan[left] += [-0.5, 0.2, 1.0]
    seen = mirror_map(topology).apply(scan)
    np.testing.assert_allclose(seen[right] - topology.template[right], [0.5, 0.2, 1.0], atol=1e-9)
    np.testing.assert_allclose(seen[left], topology.template[left], atol=1e-9)


def test_vertices_without_a_partner_land_on_the_surface(shapes):
    vertices, faces = shapes.sphere(2)
    turned = vertices @ np.array([[0.8, 0.6, 0], [-0.6, 0.8, 0], [0, 0, 1.0]])
    topology = Topology(turned, faces)
    mirror = mirror_map(topology)
    np.testing.assert_allclose(mirror.map.sum(axis=1), 1.0, atol=1e-12)
    assert mirror.map.data.min() > 0
    assert 0 < mirror.residual.max() < 0.03  # the faces of 162 vertices lie so far below the sphere
    away = np.linalg.norm(mirror.apply(turned) - turned, axis=1)
    np.testing.assert_allclose(away, mirror.residual, atol=1e-9)


def test_scans_come_in_any_batch_and_precision(shapes):
    topology = symmetric_sheet(shapes, shift=2.0)
    mirror = mirror_map(topology)
    scans = topology.template + np.random.default_rng(0).normal(size=(2, 3, 169, 3))
    seen = mirror.apply(scans)
    np.testing.assert_allclose(seen[1, 2], mirror.apply(scans[1, 2]), atol=1e-12)
    single = mirror.apply(scans.astype(np.float32))
    assert single.dtype == np.float32
    np.testing.assert_allclose(single, seen, atol=1e-5)
    np.testing.assert_allclose(mirror.apply(seen), scans, atol=1e-9)  # twice is nothing
