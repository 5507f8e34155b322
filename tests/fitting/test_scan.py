"""Models fitted to raw scans: near the truth, honest about what is hidden, and refused where nothing fits."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError, RecipeError
from meshdisent.fitting.dial import trade_off
from meshdisent.fitting.pose_starts import turned_starts, upright_starts
from meshdisent.fitting.result import FitRefused
from meshdisent.fitting.scan import ScanFitConfig, ScanFitter, fit_scan
from meshdisent.fitting.scan_points import scan_surface
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.target_surface import TargetSurface

EXACT = ScanFitConfig(misfit_mm=0.02)


@pytest.fixture(scope="module")
def part(linear, people, motion, scan_of):
    """A noisy part of the first head, somewhere, and the truth there."""
    points = scan_of(people[0], linear.topology.faces)
    return motion.apply(points), motion.apply(people[0])


@pytest.fixture(scope="module")
def fitter(linear, part):
    return ScanFitter(linear, scan_surface(Mesh(part[0])), EXACT)


@pytest.fixture(scope="module")
def found(fitter):
    return fitter.fit(fitter.begin())


def away(fit, truth):
    return np.linalg.norm(fit.vertices - truth, axis=1)


def test_the_whole_head_is_found_from_bare_points_on_a_part(found, part):
    assert away(found, part[1]).mean() < 1.0
    assert found.residuals.explained > 0.9
    assert found.residuals.median == pytest.approx(0.5 * 0.674, rel=0.2)


def test_noise_is_measured(found):
    assert found.noise == pytest.approx(0.5, rel=0.15)
    assert found.misfit_mm < 0.25


def test_intervals_hold_what_they_say_over_several_heads(linear, people, motion, scan_of):
    inside, within = [], []
    for number, face in enumerate(people[:4]):
        points = motion.apply(scan_of(face, linear.topology.faces, seed=number))
        fit = fit_scan(linear, scan_surface(Mesh(points)), starts=[motion])
        truth = motion.apply(face)
        low, high = fit.intervals(0.9)
        inside.append(((truth >= low) & (truth <= high)).mean())
        within.append((away(fit, truth) <= fit.radius_mm(0.9)).mean())
    assert 0.75 < np.mean(inside) <= 1.0
    assert 0.75 < np.mean(within) <= 1.0


def test_what_is_hidden_is_less_sure(found, part):
    is_seen = ~np.isnan(found.misses)
    assert found.deviation_mm[~is_seen].mean() > 1.3 * found.deviation_mm[is_seen].mean()
    assert np.nanmedian(found.misses) == pytest.approx(0.5 * 0.674, rel=0.4)


def test_a_mesh_of_another_topology_in_any_pose_is_found(linear, people):
    import trimesh
    from scipy.spatial.transform import Rotation

    fine = trimesh.Trimesh(people[1], linear.topology.faces, process=False).subdivide()
    order = np.random.default_rng(0).permutation(len(fine.vertices))
    vertices, faces = np.asarray(fine.vertices)[order], np.argsort(order)[np.asarray(fine.faces)]
    turn = Similarity(
        1.0, Rotation.from_euler("xyz", [70.0, 120.0, -40.0], degrees=True).as_matrix(), np.full(3, 400.0)
    )
    surface = TargetSurface.of_mesh(turn.apply(vertices), faces)
    fitter = ScanFitter(linear, surface, EXACT)
    fit = fitter.fit(fitter.begin(turned_starts(fitter.mean_face, fitter.points.surface)))
    assert away(fit, turn.apply(people[1])).mean() < 0.5


def test_size_is_found_where_it_is_asked_for(linear, people, motion):
    larger = Similarity(1.06, motion.rotation, motion.translation)
    surface = TargetSurface.of_mesh(larger.apply(people[2]), linear.topology.faces)
    fit = fit_scan(linear, surface, ScanFitConfig(with_scale=True, misfit_mm=0.02))
    assert away(fit, larger.apply(people[2])).mean() < 0.6
    assert fit.motion.scale == pytest.approx(1.06, abs=0.02)


def test_outliers_and_what_hangs_over_the_rim_do_not_pull(linear, people, part, fitter):
    random = np.random.default_rng(4)
    points, truth = part
    hair = points.mean(axis=0) + [0.0, 0.0, 40.0] + 20 * random.normal(size=(200, 3))
    fit = fit_scan(linear, scan_surface(Mesh(np.concatenate([points, hair]))), EXACT, starts=[fitter.begin().motion])
    assert away(fit, truth).mean() < 1.2


def test_landmarks_give_the_pose(linear, people):
    upside_down = Similarity(1.0, np.diag([-1.0, -1.0, 1.0]), np.array([0.0, 300.0, 0.0]))
    placed = upside_down.apply(people[3])
    rows = np.linspace(0, 1199, 12).astype(np.int64)
    surface = TargetSurface.of_mesh(placed, linear.topology.faces)
    fit = fit_scan(linear, surface, EXACT, landmarks=Landmarks(rows, placed[rows]))
    assert away(fit, placed).mean() < 0.3
    with pytest.raises(DataError, match="vertex 1200 of the template"):
        fit_scan(linear, surface, landmarks=Landmarks(rows + 1, placed[rows]))


def test_what_is_no_face_is_refused_with_what_was_found(linear):
    wall = np.stack([*np.meshgrid(np.linspace(-400, 400, 60), np.linspace(-400, 400, 60)), np.zeros((60, 60))], -1)
    with pytest.raises(FitRefused, match=r"of the scan lies on the fitted face; wanted 50% or more") as refused:
        fit_scan(linear, scan_surface(Mesh(wall.reshape(-1, 3))), starts=[Similarity.identity()])
    assert refused.value.fit.vertices.shape == (1200, 3)


def test_a_scan_far_from_every_face_of_the_model_is_refused(linear, people, motion):
    rough = people[0] + 12 * np.random.default_rng(0).normal(size=people[0].shape)
    fitter = ScanFitter(
        linear,
        TargetSurface.of_mesh(rough, linear.topology.faces),
        ScanFitConfig(most_median_mm=0.2, fewest_explained=0.01, coarse_mm=(2.0,)),
    )
    with pytest.raises(FitRefused, match=r"half of the scan's points are .* wanted at most 0\.2"):
        fitter.fit(fitter.begin([Similarity.identity()]))


def test_more_noise_goes_to_the_prior_and_less_to_the_data(fitter, found):
    rows = trade_off(fitter, found, (0.5, 1.0, 8.0))
    assert [row.noise / found.noise for row in rows] == pytest.approx([0.5, 1.0, 8.0])
    assert rows[0].prior_cost > rows[1].prior_cost > rows[2].prior_cost
    assert rows[0].median <= rows[1].median * 1.05 < rows[2].median
    assert rows[2].deviation_mm > rows[1].deviation_mm


def test_samples_are_faces_that_the_scan_leaves_possible(found):
    drawn = found.samples(200, torch.Generator().manual_seed(0))
    assert drawn.vertices.shape == drawn.in_model_frame.shape == (200, 1200, 3)
    assert drawn.codes.identity.shape[0] == 200
    spread = drawn.vertices.std(axis=0)
    expected = np.sqrt(np.einsum("vdd->vd", found.covariances) - found.misfit_mm**2)
    np.testing.assert_allclose(spread, expected, rtol=0.35)
    assert np.abs(spread / expected - 1).mean() < 0.07
    again = found.samples(200, torch.Generator().manual_seed(0))
    np.testing.assert_array_equal(drawn.vertices, again.vertices)


def test_starts_of_a_part_bring_it_near_its_own_place(linear, people, motion, fitter, part):
    surface = fitter.points.surface
    nearest = min(
        np.linalg.norm(start.apply(people[0]) - part[1], axis=1).mean()
        for start in upright_starts(fitter.mean_face, surface)
    )
    assert nearest < 25


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"noise_mm": 0.0}, "noise_mm of a fit is 0.0; wanted more than 0"),
        ({"misfit_mm": -1.0}, "misfit_mm of a fit is -1.0; wanted 0 or more"),
        ({"coarse_mm": (3.0, 0.0)}, "coarse_mm of a fit is 0.0"),
        ({"rounds": 0}, "rounds of a fit is 0"),
    ],
)
def test_settings_that_mean_nothing_are_refused(wrong, said):
    with pytest.raises(RecipeError, match=said):
        ScanFitConfig(**wrong)
