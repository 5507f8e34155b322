"""Even strain: what costs nothing, slopes against differences, and that vertices slide to where the strain is even."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.mesh.alignment import align
from meshdisent.mesh.even_strain import EvenStrain, Slides
from meshdisent.mesh.plane_fit import Planes
from meshdisent.mesh.thin_plate import Pulls, ThinPlate
from meshdisent.mesh.topology import Topology


@pytest.fixture
def sheet(shapes):
    vertices, faces = shapes.grid(8, 8)
    return Topology(10 * vertices, faces)


def held_on(points, normal=(0.0, 0.0, 1.0), weight=1.0):
    return Planes(points, np.tile(normal, (len(points), 1)), np.full(len(points), weight), 0.0)


def test_a_motion_costs_nothing_and_growth_costs_the_same_wherever_it_is_turned(sheet):
    strain = EvenStrain(sheet)
    turn = Rotation.from_euler("xyz", [0.4, -1.0, 2.0]).as_matrix()
    assert strain.energy(sheet.template @ turn + [3.0, -70.0, 5.0]) == pytest.approx(0.0, abs=1e-8)
    grown = 1.1 * sheet.template
    area = strain._areas.sum()
    # The growth is the same everywhere: a (log 1.1)^2, and what the plate's second term takes.
    only_plate = strain.energy(grown) - 1.0 * np.log(1.1) ** 2 * area
    assert only_plate == pytest.approx(30.0 / 20.0**2 * 2 * 0.1**2 * area, rel=0.03)
    assert strain.energy(grown @ turn) == pytest.approx(strain.energy(grown), rel=1e-9)


def test_the_same_strain_everywhere_has_no_gradient_whatever_the_triangles_frames(sheet):
    stretched = sheet.template * [1.2, 1.0, 1.0] + 0.3 * sheet.template[:, [1]] * [1.0, 0, 0]
    metric = np.array([[1.2, 0.0], [0.3, 1.0]]) @ np.array([[1.2, 0.3], [0.0, 1.0]])
    trace = np.trace(metric)
    growth, unlike, shear = np.log(trace / 2) / 2, (metric[0, 0] - metric[1, 1]) / trace, 2 * metric[0, 1] / trace
    moved = stretched - align(sheet.template, stretched).apply(sheet.template)
    bent = 30.0 * (moved * (ThinPlate(sheet, 20.0).energy @ moved)).sum()
    turned = Topology(sheet.template, np.roll(sheet.faces, 1, axis=1))
    mixed = Topology(sheet.template, np.where(np.arange(sheet.face_count)[:, None] % 2, sheet.faces, turned.faces))
    for topology in (sheet, turned, mixed):
        expected = bent + 1.0 * (growth**2 + unlike**2 + shear**2) * 80.0**2
        assert EvenStrain(topology).energy(stretched) == pytest.approx(expected, rel=1e-9)


def test_slopes_are_those_of_the_strain(sheet):
    strain, random = EvenStrain(sheet), np.random.default_rng(5)
    shape = sheet.template + random.standard_normal(sheet.template.shape)
    way = random.standard_normal(shape.shape)
    there, here = (strain._strain(shape + step * way)[0] for step in (1e-6, -1e-6))
    for one, two, slope in zip(there, here, strain._strain(shape)[1], strict=True):
        np.testing.assert_allclose((one - two) / 2e-6, strain._rows(slope) @ way.ravel(), rtol=1e-5, atol=1e-6)


def test_vertices_that_were_shaken_on_a_plane_slide_back(sheet):
    strain, random = EvenStrain(sheet), np.random.default_rng(3)
    shaken = sheet.template + random.standard_normal(sheet.template.shape) * [1.5, 1.5, 0.0]
    corners = np.isin(np.arange(sheet.vertex_count), [0, 8, 72, 80])
    pulls = Pulls(sheet.template, 50.0 * corners)
    shape, costs = shaken, [strain.energy(shaken)]
    for _ in range(8):
        shape = strain.step(shape, held_on(sheet.template), 1.0, pulls=pulls)
        costs.append(strain.energy(shape))
    assert np.linalg.norm(shape - sheet.template, axis=1).max() < 0.05
    assert costs[-1] < 1e-3 * costs[0]


def test_a_line_holds_across_and_not_along(sheet):
    strain = EvenStrain(sheet)
    rim = np.flatnonzero(sheet.template[:, 0] == 0)
    points = sheet.template[rim] + [2.0, 9.0, 0.0]
    slides = Slides(rim, points, np.tile([0.0, 1.0, 0.0], (len(rim), 1)), 50.0)
    shape = sheet.template
    for _ in range(30):
        shape = strain.step(shape, held_on(sheet.template), 0.1, slides)
    np.testing.assert_allclose(shape[:, 0], sheet.template[:, 0] + 2.0, atol=0.1)
    assert np.abs(shape[:, 1] - sheet.template[:, 1]).max() < 1.0


def test_a_line_with_a_grip_holds_along_too(sheet):
    strain = EvenStrain(sheet)
    rim = np.flatnonzero(sheet.template[:, 0] == 0)
    points = sheet.template[rim] + [2.0, 9.0, 0.0]
    slides = Slides(rim, points, np.tile([0.0, 1.0, 0.0], (len(rim), 1)), 50.0, np.full(len(rim), 0.1))
    shape = sheet.template
    for _ in range(30):
        shape = strain.step(shape, held_on(sheet.template), 0.1, slides)
    np.testing.assert_allclose((shape - sheet.template)[rim], np.tile([2.0, 9.0, 0.0], (len(rim), 1)), atol=0.1)
    back = slides.pulls(sheet.template)
    np.testing.assert_allclose(back.points - sheet.template, np.where(sheet.template[:, :1] == 0, [[2.0, 0, 0]], 0.0))
    assert set(np.flatnonzero(back.weights)) == set(rim)


def test_triangles_without_an_area_and_loose_vertices_stay_finite(sheet):
    vertices = np.concatenate([sheet.template, sheet.template[:1], [[500.0, 0.0, 0.0]]])
    faces = np.concatenate([sheet.faces, [[0, 1, 81]]])
    strain = EvenStrain(Topology(vertices, faces))
    raised = vertices + np.array([0, 0, 1.0])
    moved = strain.step(vertices, held_on(raised), 1.0)
    assert np.isfinite(moved).all()
    np.testing.assert_allclose(moved[:81], raised[:81], atol=0.02)
