"""The bending energy: what costs nothing, what follows what, and that the minimum is one."""

import numpy as np
import pytest

from meshdisent.mesh.plane_fit import Planes, ShapePrior
from meshdisent.mesh.thin_plate import Pulls, ThinPlate
from meshdisent.mesh.topology import Topology


@pytest.fixture
def sheet(shapes):
    vertices, faces = shapes.grid(8, 8)
    return Topology(10 * vertices, faces)


def planes(topology, rows, points, normal, point_weight=0.1):
    weights = np.zeros(topology.vertex_count)
    weights[rows] = 1.0
    normals = np.tile(np.asarray(normal, dtype=float), (topology.vertex_count, 1))
    return Planes(points, normals, weights, point_weight)


def solved(topology, wanted, length=20.0, **more):
    return ThinPlate(topology, **more).solve(topology.template, 0 * topology.template, wanted, length)


def test_vertices_without_a_match_move_with_the_others(sheet):
    shift = np.array([3.0, -2.0, 5.0])
    found = solved(sheet, planes(sheet, np.arange(20), sheet.template + shift, [0, 0, 1]))
    np.testing.assert_allclose(found, np.tile(shift, (sheet.vertex_count, 1)), atol=0.02)


def test_a_slope_bends_nothing_up_to_the_border(sheet):
    slope = 0.1 * sheet.template[:, :1] * [0, 0, 1.0]
    everywhere = np.arange(sheet.vertex_count)
    wanted = planes(sheet, everywhere, sheet.template + slope, [0, 0, 1])
    np.testing.assert_allclose(solved(sheet, wanted, length=30.0, hold_mm=1e6), slope, atol=0.02)


def test_a_piece_that_hangs_on_nothing_moves_with_the_nearest_others(shapes):
    vertices, faces = shapes.together(shapes.grid(6, 6), shapes.tetrahedron(), apart=8.0)
    both = Topology(10 * vertices, faces)
    found = solved(both, planes(both, np.arange(49), both.template + np.array([0, 0, 4.0]), [0, 0, 1]))
    np.testing.assert_allclose(found[49:], np.tile([0, 0, 4.0], (4, 1)), atol=0.02)


def test_a_plane_lets_points_slide_and_a_soft_sheet_follows_more(sheet):
    everywhere = np.arange(sheet.vertex_count)
    slid = solved(
        sheet, planes(sheet, everywhere, sheet.template + np.array([7.0, 0, 2.0]), [0, 0, 1], point_weight=1e-6)
    )
    assert np.abs(slid[:, 0]).max() < 0.1
    np.testing.assert_allclose(slid[:, 2], 2.0, atol=0.01)
    bump = sheet.template + np.where(everywhere == 40, 5.0, 0.0)[:, None] * [0, 0, 1.0]
    heights = [solved(sheet, planes(sheet, everywhere, bump, [0, 0, 1]), length)[40, 2] for length in (30.0, 10.0, 2.0)]
    assert heights[0] < 0.5 < heights[1] < 4.0 < heights[2] < 5.0


def test_stiffness_is_a_length_whatever_the_resolution(shapes):
    heights = []
    for cells in (16, 32):
        vertices, faces = shapes.grid(cells, cells)
        sheet = Topology(160 / cells * vertices, faces)
        wave = np.sin(2 * np.pi * sheet.template[:, 0] / 60)
        points = sheet.template + wave[:, None] * [0, 0, 1.0]
        found = solved(sheet, planes(sheet, np.arange(sheet.vertex_count), points, [0, 0, 1]), length=10.0)
        inside = (np.abs(sheet.template[:, :2] - 80) < 40).all(axis=1)
        heights.append((found[inside, 2] @ wave[inside]) / (wave[inside] @ wave[inside]))
    # A wave of 60 mm is lessened to 1.1 / (1.1 + (2 pi l / 60)^4 + l^4 / h^2 (2 pi / 60)^2), l = 10, h = 40.
    wavenumber = 2 * np.pi / 60
    expected = 1.1 / (1.1 + (10 * wavenumber) ** 4 + 10**4 / 40**2 * wavenumber**2)
    np.testing.assert_allclose(heights, expected, rtol=0.1)


def test_the_gradient_is_zero_at_the_solution(sheet):
    """Against the energy itself, evaluated nearby."""
    random = np.random.default_rng(0)
    plate = ThinPlate(sheet)
    normals = random.normal(size=sheet.template.shape)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = sheet.template + random.normal(size=normals.shape)
    wanted = Planes(points, normals, random.uniform(size=len(points)), 0.3)
    pulls = Pulls(sheet.template + 1.0, np.where(np.arange(len(points)) < 5, 50.0, 0.0))
    found = plate.solve(sheet.template, 0 * points, wanted, 5.0, pulls)

    def energy(d):
        gap = points - sheet.template - d
        along = (gap * normals).sum(axis=1) ** 2 + 0.3 * (gap**2).sum(axis=1)
        data = (plate.areas * wanted.weights * along).sum()
        held = (pulls.weights * ((sheet.template + d - pulls.points) ** 2).sum(axis=1)).sum()
        return data + held + 5.0**4 * (d * (plate.energy @ d)).sum()

    least = energy(found)
    for _ in range(10):
        step = 0.02 * random.normal(size=found.shape)
        assert energy(found + step) > least
        assert energy(found - step) > least
    slope = (energy(found + 1e-4 * points) - energy(found - 1e-4 * points)) / 2e-4
    flat = (energy(1e-4 * points) - energy(-1e-4 * points)) / 2e-4
    assert abs(slope) < 5e-3 * abs(flat)


def test_weights_of_a_model_and_bending_are_the_minimum_together(sheet):
    """Against both energies, evaluated nearby; what a mode can do bends nothing."""
    random = np.random.default_rng(1)
    plate, count = ThinPlate(sheet), sheet.vertex_count
    normals = random.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    basis = np.stack([np.sin(sheet.template / 7), random.normal(size=(count, 3))])
    prior = ShapePrior(mean=sheet.template, basis=basis, deviations=np.array([2.0, 0.5]))
    bump = np.exp(-((sheet.template[:, :2] - 40) ** 2).sum(axis=1) / 400)[:, None] * [0.0, 1.0, 3.0]
    points = prior.shape(np.array([1.5, -0.7])) + bump
    wanted = Planes(points, normals, random.uniform(0.5, 1, size=count), 0.3)
    pulls = Pulls(points + 0.1, np.where(np.arange(count) < 5, 50.0, 0.0))
    weights, bent = plate.solve_beside(prior, np.zeros(2), 0 * points, wanted, 8.0, 5.0, pulls)
    np.testing.assert_allclose(weights, [1.5, -0.7], atol=0.15)

    def energy(c, d):
        gap = points - prior.shape(c) - d
        along = (gap * normals).sum(axis=1) ** 2 + 0.3 * (gap**2).sum(axis=1)
        held = (pulls.weights * ((gap + 0.1) ** 2).sum(axis=1)).sum()
        data = (plate.areas * wanted.weights * along).sum()
        return data + held + 8.0**4 * (d * (plate.energy @ d)).sum() + 5.0 * (c**2).sum()

    least = energy(weights, bent)
    for _ in range(10):
        assert least < energy(weights + random.normal(0, 0.05, 2), bent)
        assert least < energy(weights, bent + 0.05 * random.normal(size=bent.shape))
