"""A template on surfaces without correspondences: itself, deformations, poses, holes, and what must be refused."""

import dataclasses

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError, RecipeError
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.even_strain import EvenStrain
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.normals import vertex_normals
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.pose_search import any_starts
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import FitLimits, RegistrationRefused, Residual, check_fit, turned_share
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

HERE = [Similarity.identity()]
QUICK = RegistrationConfig(lengths_mm=(40.0, 20.0, 10.0, 5.0, 2.5))


def egg(shapes, subdivisions, is_turned=False):
    """A closed surface some 160 mm large, without symmetry and with waves, so that it does not slide on itself.

    The vertices of 3 subdivisions are among those of 4, unless the latter are turned.
    """
    vertices, faces = shapes.sphere(subdivisions)
    if is_turned:
        vertices = vertices @ Rotation.from_euler("xyz", [0.3, 0.4, 0.5]).as_matrix()
    x, y, z = vertices.T
    bumps = 0.06 * np.sin(6 * x + 1) * np.cos(5 * y) + 0.05 * np.sin(6 * z)
    radius = 80 * (1 + 0.25 * y + 0.2 * x * z + 0.15 * np.sin(2 * x + y) + bumps)
    return Topology(radius[:, None] * vertices, faces)


def swollen(points):
    """A known smooth deformation: outwards by up to 10 mm around two places."""
    direction = points / np.linalg.norm(points, axis=1, keepdims=True)
    places = np.array([[0.6, 0.0, 0.8], [-0.8, 0.6, 0.0]])
    return points + 10 * np.exp((direction @ places.T - 1) / 0.15).sum(axis=1, keepdims=True) * direction


def surface(topology, keep=None):
    faces = topology.faces if keep is None else topology.faces[keep[topology.faces].all(axis=1)]
    return TargetSurface.of_mesh(topology.template, faces)


def off(found, truth):
    return np.linalg.norm(found.vertices - truth, axis=1)


def test_a_mesh_registered_to_itself_is_itself(shapes):
    template = egg(shapes, 3)
    found = register(template, surface(template), starts=HERE)
    np.testing.assert_allclose(found.vertices, template.template, atol=5e-3)
    np.testing.assert_allclose(found.in_template_frame, template.template, atol=5e-3)
    assert found.is_seen.all()
    assert (found.seen_share, found.turned_share) == (pytest.approx(1.0), 0.0)
    assert found.residual.most_mm < 1e-3
    assert [stage.length_mm for stage in found.stages] == list(RegistrationConfig().lengths_mm)


def test_with_rims_the_template_slides_until_it_is_strained_evenly(shapes):
    template = egg(shapes, 3)
    fine = Topology(*shapes.shuffled((egg(shapes, 4, True).template, egg(shapes, 4).faces), 3))
    target = surface(Topology(swollen(fine.template), fine.faces))
    bent, even = (
        register(template, target, dataclasses.replace(QUICK, rims="openings", evenings=evenings), starts=HERE)
        for evenings in ((), (1.0,))
    )
    assert [stage.name for stage in bent.stages] == ["bending"] * 5
    assert [stage.name for stage in even.stages] == ["bending"] * 5 + ["evening", "bending", "bending"]
    assert (even.stages[5].length_mm, even.stages[6].length_mm) == (1.0, 2.5)
    truth, strain = swollen(template.template), EvenStrain(template)
    alone = dataclasses.replace(QUICK, rims="openings", lengths_after_evening_mm=())  # what is softer follows noise
    slid = register(template, target, alone, starts=HERE)
    assert [stage.name for stage in slid.stages] == ["bending"] * 5 + ["evening"]
    assert strain.energy(slid.vertices) < strain.energy(bent.vertices)
    assert off(even, truth).mean() < 1.4
    assert even.residual.mean_mm < 0.1


def test_a_known_smooth_deformation_is_recovered_from_another_tessellation(shapes):
    template = egg(shapes, 3)
    fine = Topology(*shapes.shuffled((egg(shapes, 4, True).template, egg(shapes, 4).faces), 3))
    target = Topology(swollen(fine.template), fine.faces)
    found = register(template, surface(target), QUICK, starts=HERE)
    moved = np.linalg.norm(swollen(template.template) - template.template, axis=1)
    far = moved > 4.0
    assert far.sum() > 30
    assert off(found, swollen(template.template))[far].mean() < 0.5 * moved[far].mean()
    assert off(found, swollen(template.template)).mean() < 1.2
    assert closest_points(found.vertices, target.template, target.faces)[2].mean() < 0.2
    assert found.residual.mean_mm < 0.1
    rest = align(template.template, found.in_template_frame)
    np.testing.assert_allclose(rest.rotation, np.eye(3), atol=1e-6)
    np.testing.assert_allclose(rest.translation, 0, atol=1e-4)
    medians = [stage.median_mm for stage in found.stages]
    assert medians[-1] < 0.2 * medians[0]


def test_rigid_motion_of_the_target_moves_the_result_alike(shapes):
    template = egg(shapes, 2)
    target = Topology(swollen(egg(shapes, 3).template), egg(shapes, 3).faces)
    motion = Similarity(
        1.0, Rotation.from_euler("xyz", [20, 130, -50], degrees=True).as_matrix(), np.array([30.0, -200, 5])
    )
    # Bending counts from the pose, which the search leaves some hundredths of a mm apart.
    still = register(template, surface(target), QUICK, starts=HERE)
    moved_target = Topology(motion.apply(target.template), target.faces)
    moved = register(template, surface(moved_target), QUICK, starts=[motion])
    np.testing.assert_allclose(moved.vertices, motion.apply(still.vertices), atol=0.1)
    np.testing.assert_allclose(moved.in_template_frame, still.in_template_frame, atol=0.1)
    np.testing.assert_allclose(moved.motion.apply(moved.in_template_frame), moved.vertices, atol=1e-9)


def test_any_pose_is_found_without_landmarks(shapes):
    template = egg(shapes, 2)
    motion = Similarity(
        1.0, Rotation.from_euler("xyz", [200, 50, 110], degrees=True).as_matrix(), np.array([300.0, 40, 5])
    )
    fine = egg(shapes, 3)
    target = surface(Topology(motion.apply(fine.template), fine.faces))
    found = register(template, target, QUICK, starts=any_starts(template, target))
    turned = Rotation.from_matrix(found.motion.rotation @ motion.rotation.T).magnitude()
    assert np.degrees(turned) < 2.0
    assert off(found, motion.apply(template.template)).mean() < 1.0


def test_a_turned_half_is_found_as_faces_look(shapes):
    """Only the front of the egg, turned by 30 degrees, as a depth map would show it."""
    template = egg(shapes, 3)
    turn = Rotation.from_euler("y", 30, degrees=True).as_matrix().T
    fine = egg(shapes, 4, True)
    placed = Topology(fine.template @ turn + [20.0, 10, -60], fine.faces)
    is_front = vertex_normals(placed.template, placed.faces)[:, 2] > 0.15
    found = register(template, surface(placed, is_front), QUICK)
    truth = template.template @ turn + [20.0, 10, -60]
    faces_viewer = vertex_normals(truth, template.faces)[:, 2]
    assert off(found, truth)[faces_viewer > 0.2].mean() < 1.0
    assert not found.is_seen[faces_viewer < -0.2].any()
    assert found.is_seen[faces_viewer > 0.3].mean() > 0.95
    assert 0.3 < found.seen_share < 0.6


def test_holes_and_noise_do_not_draw_the_template_away(shapes):
    template, fine = egg(shapes, 3), egg(shapes, 4, True)
    truth = swollen(template.template)
    noisy = swollen(fine.template) + np.random.default_rng(0).normal(0, 0.2, fine.template.shape)
    direction = fine.template / np.linalg.norm(fine.template, axis=1, keepdims=True)
    keep = direction @ [-0.6, 0.0, 0.8] < np.cos(np.radians(25))
    found = register(template, surface(Topology(noisy, fine.faces), keep), QUICK, starts=HERE)
    own = template.template / np.linalg.norm(template.template, axis=1, keepdims=True)
    in_hole = own @ [-0.6, 0.0, 0.8] > np.cos(np.radians(20))
    assert in_hole.sum() > 10
    assert not found.is_seen[in_hole].any()
    assert found.is_seen[~in_hole].mean() > 0.9
    assert off(found, truth)[in_hole].mean() < 1.5
    assert found.distance_mm[in_hole].max() > 5.0, "the distance of what is not seen is that to the rim of the hole"
    assert found.residual.median_mm < 0.2


def test_points_with_normals_do_as_well_as_a_mesh(shapes):
    template, fine = egg(shapes, 3), egg(shapes, 4, True)
    points = swollen(fine.template)
    cloud = TargetSurface.of_points(points, vertex_normals(points, fine.faces))
    assert not cloud.is_border.any()
    found = register(template, cloud, QUICK, starts=HERE)
    assert closest_points(found.vertices, points, fine.faces)[2].mean() < 0.25
    assert found.residual.mean_mm < 0.1


def test_a_scale_is_found_when_asked_for(shapes):
    template, fine = egg(shapes, 3), egg(shapes, 4, True)
    target = surface(Topology(1.15 * fine.template, fine.faces))
    found = register(template, target, RegistrationConfig(with_scale=True), starts=HERE)
    assert found.motion.scale == pytest.approx(1.15, rel=2e-3)
    assert off(found, 1.15 * template.template).mean() < 0.5
    np.testing.assert_allclose(found.in_template_frame, template.template, atol=1.5)
    rough = 1.15 * fine.template + np.random.default_rng(1).normal(0, 0.3, fine.template.shape)
    found = register(
        template, TargetSurface.of_mesh(rough, fine.faces), RegistrationConfig(with_scale=True), starts=HERE
    )
    distance = closest_points(found.vertices, rough, fine.faces)[2] / found.motion.scale
    np.testing.assert_allclose(found.distance_mm, distance, atol=1e-9)
    assert found.motion.scale == pytest.approx(1.15, rel=0.01)
    with pytest.raises(DataError, match="after the stiff stage half of the matched vertices are"):
        register(template, target, starts=HERE)  # 15 % larger than any head in mm


def test_landmarks_give_the_pose_and_hold(shapes):
    template, fine = egg(shapes, 3), egg(shapes, 4, True)
    motion = Similarity(1.0, Rotation.from_euler("y", 180, degrees=True).as_matrix(), np.array([0.0, 500, 0]))
    target = surface(Topology(motion.apply(fine.template), fine.faces))
    rows = {"a": 3, "b": 100, "c": 250, "d": 400, "only here": 7}
    seen = {name: motion.apply(template.template[row]) for name, row in rows.items() if len(name) == 1}
    found = register(template, target, QUICK, landmarks=Landmarks.named(rows, seen))
    np.testing.assert_allclose(found.vertices[[3, 100, 250, 400]], list(seen.values()), atol=0.3)
    assert off(found, motion.apply(template.template)).mean() < 0.5
    slid = seen | {"a": motion.apply(template.template[template.adjacency[[3]].indices[0]])}
    held = register(template, target, QUICK, landmarks=Landmarks.named(rows, slid))
    assert np.linalg.norm(held.vertices[3] - slid["a"]) < np.linalg.norm(seen["a"] - slid["a"]) / 3


def test_a_prior_tells_what_slides_and_what_is_hidden(shapes):
    template, fine = egg(shapes, 3), egg(shapes, 4, True)
    random = np.random.default_rng(4)
    waves = [(random.normal(size=(3, 3)) / 60, random.normal(size=3)) for _ in range(4)]

    def modes(points):
        return np.stack([np.sin(points @ wave + phase) for wave, phase in waves])

    deviations, weights = np.array([6.0, 5.0, 4.0, 3.0]), np.array([1.2, -0.8, 0.6, -1.0])
    truth, seen = (t.template + np.tensordot(weights * deviations, modes(t.template), axes=1) for t in (template, fine))
    front = seen[:, 2] > -10
    target = surface(Topology(seen, fine.faces), front)
    prior = ShapePrior(mean=template.template, basis=modes(template.template), deviations=deviations)
    plain = register(template, target, QUICK, starts=HERE)
    found = register(template, target, QUICK, starts=HERE, prior=prior)
    hidden = truth[:, 2] < -20
    assert off(found, truth)[~hidden].mean() < 0.6
    assert off(found, truth)[hidden].mean() < 1.0
    assert off(found, truth)[~hidden].mean() < 0.3 * off(plain, truth)[~hidden].mean()
    assert off(found, truth)[hidden].mean() < 0.3 * off(plain, truth)[hidden].mean()
    assert [stage.name for stage in found.stages] == ["prior"] * 4 + ["prior and bending", "bending"]


def test_what_the_prior_cannot_do_is_bent_and_what_it_can_is_not(shapes):
    """A swelling that no mode makes, on a shape that one mode makes: its weight comes out as it was."""
    template, fine = egg(shapes, 3), egg(shapes, 4, True)

    def mode(points):
        return np.stack([np.sin(points @ [0.03, 0.02, 0.01] + 1), np.cos(points[:, 0] / 30), 0 * points[:, 0]], axis=1)

    truth, seen = (swollen(points + 5.0 * mode(points)) for points in (template.template, fine.template))
    prior = ShapePrior(mean=template.template, basis=mode(template.template)[None], deviations=np.array([4.0]))
    target = surface(Topology(seen, fine.faces))
    both = RegistrationConfig(lengths_after_prior_mm=(2.5,))
    found = register(template, target, both, starts=HERE, prior=prior)
    forced = dataclasses.replace(both, noises_mm=(8.0, 4.0, 2.0, 1.0, 0.5, 0.3), lengths_beside_prior_mm=(1e3,))
    rigid = register(template, target, forced, starts=HERE, prior=prior)
    assert off(found, truth).mean() < 0.95 * off(rigid, truth).mean()
    assert found.residual.mean_mm < 0.1


def cube():
    corners = 80.0 * np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)])
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    return corners, np.array([face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))])


def half(shapes):
    """The front of an egg with a nose: what a face is to a registration."""
    whole = egg(shapes, 4)
    x, y, z = whole.template.T
    vertices = whole.template + np.stack([0 * x, 0 * x, 25 * np.exp(-(x**2 + y**2) / 500) * (z > 0)], axis=1)
    faces = whole.faces[(z > -20)[whole.faces].all(axis=1)]
    kept, numbered = np.unique(faces, return_inverse=True)
    return Topology(vertices[kept], numbered.reshape(-1, 3))


def test_a_cube_is_no_face(shapes):
    with pytest.raises(DataError, match=r"The registration failed: .* wanted"):
        register(half(shapes), TargetSurface.of_mesh(*cube()))


def test_a_far_target_is_found_by_the_search_and_refused_where_landmarks_point_elsewhere(shapes):
    template = egg(shapes, 3)
    far = TargetSurface.of_mesh(template.template + np.array([10_000.0, 0, 0]), template.faces)
    found = register(template, far, QUICK, starts=HERE)
    np.testing.assert_allclose(found.motion.translation, [10_000, 0, 0], atol=0.01)
    rows = np.array([3, 100, 250])
    elsewhere = Landmarks(rows, template.template[rows])
    with pytest.raises(DataError, match=r"failed: 0.0% of the template's surface found a match .* wanted 12%"):
        register(template, far, QUICK, landmarks=elsewhere)


def test_a_surface_that_looks_the_other_way_matches_nothing(shapes):
    template = egg(shapes, 3)
    inside_out = TargetSurface.of_mesh(template.template, template.faces[:, ::-1].copy())
    rows = np.array([3, 100, 250])
    with pytest.raises(DataError, match=r"failed: 0\.\d% of the template's surface found a match"):
        register(template, inside_out, QUICK, landmarks=Landmarks(rows, template.template[rows]))


def test_a_tiny_patch_is_refused(shapes):
    template, fine = half(shapes), egg(shapes, 4)
    patch = fine.template[:, 2] > np.quantile(fine.template[:, 2], 0.985)
    with pytest.raises(DataError, match=r"failed: .*% of the template's surface .* wanted 12%"):
        register(template, surface(fine, patch), QUICK, starts=HERE)


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"seen_share": 0.119}, r"11\.9% of the template's surface lies on the target; wanted 12%"),
        ({"residual": Residual(median_mm=1.6, mean_mm=2.0, most_mm=3.0)}, r"1\.60 mm or more .* wanted at most 1\.5"),
        ({"explained_share": 0.79}, r"79\.0% of the target lies on the template; wanted 80%"),
        ({"turned_share": 0.07}, r"7\.0% of the seen surface has turned by more than 60 degrees; wanted at most 6%"),
    ],
)
def test_each_limit_refuses_a_fit_with_its_number(shapes, bad, message):
    template = egg(shapes, 2)
    found = register(template, surface(template), QUICK, starts=HERE)
    check_fit(found, FitLimits())
    with pytest.raises(DataError, match=message):
        check_fit(dataclasses.replace(found, **bad), FitLimits())


def test_a_share_of_the_target_that_the_template_has_not_is_counted(shapes):
    """Two eggs side by side, of which one is looked at."""
    template = egg(shapes, 3)
    both = TargetSurface.of_mesh(
        *shapes.together((template.template, template.faces), (template.template, template.faces), apart=300.0)
    )
    rows = np.array([3, 100, 250])
    here = Landmarks(rows, template.template[rows])
    with pytest.raises(DataError, match=r"(49|50)\.\d% of the target lies on the template; wanted 80%"):
        register(template, both, landmarks=here)
    found = register(template, both, RegistrationConfig(limits=FitLimits(fewest_explained=0.4)), landmarks=here)
    assert found.explained_share == pytest.approx(0.5, abs=0.01)


def test_a_folded_sheet_has_turned_by_the_share_that_is_folded(shapes):
    vertices, faces = shapes.grid(10, 10)
    sheet, seen = Topology(vertices, faces), np.ones(len(vertices), dtype=bool)
    folded = np.where(vertices[:, :1] > 7, [14, 0, 0] + vertices * [-1, 1, 1], vertices)
    assert turned_share(sheet, vertices, seen) == 0.0
    assert turned_share(sheet, folded, seen) == pytest.approx(0.3)
    assert turned_share(sheet, folded, vertices[:, 0] < 6) == 0.0


def test_what_does_not_belong_together_is_refused(shapes):
    template = egg(shapes, 2)
    target = surface(template)
    mean = np.zeros((5, 3))
    with pytest.raises(DataError, match="prior has 5 vertices and the topology 162"):
        register(template, target, prior=ShapePrior(mean=mean, basis=mean[None], deviations=np.ones(1)))
    with pytest.raises(DataError, match=r"basis \(1, 5, 3\) and 2 deviations"):
        ShapePrior(mean=mean, basis=mean[None], deviations=np.ones(2))
    with pytest.raises(DataError, match="names vertex 162 of the template, which has 0 to 161"):
        register(template, target, landmarks=Landmarks(np.array([0, 1, 162]), mean[:3]))
    with pytest.raises(DataError, match=r"\(a, b\) .* share 1 names; wanted 3"):
        Landmarks.named({"a": 1, "b": 2}, {"a": np.zeros(3)})
    with pytest.raises(DataError, match="no start"):
        register(template, target, starts=[])
    with pytest.raises(RecipeError, match="lengths above 0 that only decrease"):
        RegistrationConfig(evenings=(1.0, 0.0))
    with pytest.raises(RecipeError, match="lengths above 0 that only decrease"):
        RegistrationConfig(lengths_mm=(1.0, 2.0))
    with pytest.raises(RecipeError, match="rounds 0"):
        RegistrationConfig(rounds=0)
    with pytest.raises(RecipeError, match=r"mode_mm4 0.0; wanted rounds >= 1, normal_mm >= 0, the others above 0"):
        RegistrationConfig(mode_mm4=0.0)
    with pytest.raises(RecipeError, match="lengths_beside_prior_mm of a registration is"):
        RegistrationConfig(lengths_beside_prior_mm=(2.0, 4.0))
    with pytest.raises(RecipeError, match="limit fewest_seen of a registration is 0"):
        FitLimits(fewest_seen=0.0)


def test_what_shows_the_back_alone_is_refused_though_it_fits(shapes):
    """The template lies on it within its noise, and what it has in front would be invented."""
    vertices, faces = shapes.sphere(4)
    height = 60 * (1 + 0.15 * vertices[:, 1] + 0.3 * np.exp(-((vertices[:, :2] - [0.2, 0.1]) ** 2).sum(1) / 0.1))
    template = Topology(height[:, None] * vertices, faces)
    is_behind = vertices[:, 2] < -0.1
    behind = faces[is_behind[faces].all(axis=1)]
    limits = FitLimits(fewest_explained=0.5)
    with pytest.raises(
        RegistrationRefused, match=r"0\.0% of what looks to the front on the template lies on the target"
    ):
        register(
            template, TargetSurface.of_mesh(template.template, behind), RegistrationConfig(limits=limits), starts=HERE
        )
    in_front = faces[(vertices[:, 2] > -0.1)[faces].all(axis=1)]
    found = register(template, TargetSurface.of_mesh(template.template, in_front), starts=HERE)
    assert found.front_share > 0.95


def test_lips_that_are_parted_in_a_likely_face_close_on_a_scan_that_is_closed(shapes):
    whole = egg(shapes, 4)
    way = whole.template / np.linalg.norm(whole.template, axis=1, keepdims=True)
    middle = way[whole.faces].mean(axis=1)
    slit = (middle[:, 2] > 0) & ((middle[:, 0] / 0.3) ** 2 + (middle[:, 1] / 0.05) ** 2 < 1)
    used, numbered = np.unique(whole.faces[~slit & (middle[:, 2] > -0.6)], return_inverse=True)
    template = Topology(whole.template[used], numbered.reshape(-1, 3))
    x, y, z = way[used].T
    near = np.exp(-((x / 0.3) ** 4) - (y / 0.25) ** 2) * (z > 0)
    parted = (near * np.sign(y))[:, None] * [0.0, 1.0, 0.0]
    prior = ShapePrior(mean=template.template + 4.0 * parted, basis=parted[None], deviations=np.array([0.2]))
    rim = np.flatnonzero(template.is_border & (np.abs(x) < 0.15))

    def apart(points):
        return points[rim[y[rim] > 0], 1].mean() - points[rim[y[rim] < 0], 1].mean()

    gaps, likely = {}, {}
    for rims in ("none", "openings"):
        found = register(template, surface(whole), RegistrationConfig(rims=rims), starts=HERE, prior=prior)
        gaps[rims] = apart(found.vertices) - apart(template.template)
        likely[rims] = apart([stage for stage in found.stages if stage.name == "prior"][-1].vertices)
    assert gaps["none"] > 1.2
    assert abs(gaps["openings"]) < 1.0
    assert likely["openings"] < likely["none"] - 0.1  # the likely face closes them as far as it can
