"""Rims of openings: found as closed lines, laid along each other, told from holes."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.mesh import registration
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.bitten_rims import without_bites
from meshdisent.mesh.closed_lines import closed_borders, evenly, length_of, smoothed, smoothed_by, warp
from meshdisent.mesh.elastic_lines import stretch_of
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.rims import PULL_MM2, Rims, _is_same
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology

HERE = Similarity.identity()
EYE = (60.0, 60.0, 24.0, 9.0)


def sheet(openings, size=40, step=3.0, shift=0.0):
    """A flat sheet, 120 mm wide, without the triangles inside ellipses (x, y, half width, half height)."""
    x, y = np.meshgrid(np.arange(size + 1) * step, np.arange(size + 1) * step)
    vertices = np.stack([x.ravel(), y.ravel(), np.zeros(x.size)], axis=1)
    corner = (np.arange(size)[:, None] * (size + 1) + np.arange(size)).ravel()
    first = np.stack([corner, corner + 1, corner + size + 2], axis=1)
    second = np.stack([corner, corner + size + 2, corner + size + 1], axis=1)
    faces = np.concatenate([first, second])
    middle = vertices[faces].mean(axis=1)
    inside = np.zeros(len(faces), dtype=bool)
    for cx, cy, half_x, half_y in openings:
        inside |= ((middle[:, 0] - cx) / half_x) ** 2 + ((middle[:, 1] - cy) / half_y) ** 2 < 1
    used, numbered = np.unique(faces[~inside], return_inverse=True)
    return Topology(vertices[used] + [shift, 0.0, 0.0], numbered.reshape(-1, 3))


def test_borders_that_meet_in_a_vertex_are_two_loops():
    corner = sheet([], size=4)
    keep = np.ones(len(corner.faces), dtype=bool)
    for cell in (5, 10):  # cells (1, 1) and (2, 2) share one corner
        keep[[cell, cell + 16]] = False
    loops = closed_borders(corner.faces[keep])
    assert sorted(len(loop) for loop in loops) == [4, 4, 16]
    half = {tuple(edge) for loop in loops for edge in zip(loop, np.roll(loop, -1), strict=True)}
    assert len(half) == 24


def test_an_opening_that_moved_and_widened_is_followed_all_around():
    template = sheet([(60.0, 60.0, 24.0, 9.0)])
    truth = template.template.copy()
    rim = min(closed_borders(template.faces), key=len)
    center = template.template[rim].mean(axis=0)
    truth[rim] = center + (template.template[rim] - center) * [1.0, 1.8, 1.0] + [3.0, -6.0, 0.0]
    target = TargetSurface.of_mesh(truth, template.faces)
    motion = Similarity(1.0, Rotation.from_euler("xyz", [0.4, 2.0, 1.0]).as_matrix(), np.array([100.0, 5, 7]))
    placed = TargetSurface.of_mesh(motion.apply(truth), template.faces)
    for surface, way in ((target, HERE), (placed, motion)):
        rims = Rims(template, surface, way, outer="never")
        pulls = rims.pulls(template.template, way)
        assert rims.count == 1
        assert np.array_equal(np.flatnonzero(pulls.weights), np.sort(rim))
        assert set(pulls.weights[rim]) == {PULL_MM2}
        assert np.linalg.norm(pulls.points[rim] - truth[rim], axis=1).mean() < 2.0


def test_a_hole_is_no_opening():
    template = sheet([(60.0, 60.0, 24.0, 9.0)])
    small, far = sheet([(60.0, 60.0, 6.0, 6.0)]), sheet([(20.0, 100.0, 24.0, 9.0)])
    for other in (small, far):
        rims = Rims(template, TargetSurface.of_mesh(other.template, other.faces), HERE, outer="never")
        assert rims.count == 0
        assert rims.pulls(template.template, HERE) is None


def test_the_outer_rim_goes_where_its_corners_go():
    template, target = sheet([]), sheet([], shift=4.0)
    surface = TargetSurface.of_mesh(target.template, target.faces)
    assert Rims(template, surface, HERE, outer="never").count == 0
    pulls = Rims(template, surface, HERE, outer="always").pulls(template.template, HERE)
    left = np.flatnonzero((template.template[:, 0] == 0) & (np.abs(template.template[:, 1] - 60) < 30))
    top = np.flatnonzero((template.template[:, 1] == 120) & (np.abs(template.template[:, 0] - 60) < 30))
    np.testing.assert_allclose(pulls.points[left], template.template[left] + [4.0, 0, 0], atol=0.4)
    np.testing.assert_allclose(pulls.points[top], template.template[top] + [4.0, 0, 0], atol=0.4)
    across = Rims(template, surface, HERE, outer="always", by_corners=False).pulls(template.template, HERE)
    np.testing.assert_allclose(across.points[left], template.template[left] + [4.0, 0, 0], atol=0.4)
    np.testing.assert_allclose(across.points[top], template.template[top], atol=0.4)


@pytest.mark.parametrize(("shift", "is_held"), [(2.0, True), (9.0, False)])
def test_the_outer_rim_holds_only_while_the_template_lies_on_it(shift, is_held):
    template, target = sheet([]), sheet([], shift=shift)
    rims = Rims(template, TargetSurface.of_mesh(target.template, target.faces), HERE, outer="near")
    inside = (template.template - 60) * [0.85, 0.85, 1.0] + 60  # 9 mm from the line all around
    assert rims.count == 1
    near = rims.pulls(template.template, HERE)
    assert bool(near.weights.any()) is is_held
    assert set(near.weights[template.is_border]) == {PULL_MM2 if is_held else 0.0}
    assert not rims.pulls(inside, HERE).weights.any()


def test_a_rim_slides_along_what_a_hole_has_left_of_it():
    template, moved = (sheet(openings, 80, 1.5) for openings in ([EYE], [EYE, (82.0, 60.0, 8.0, 12.0)]))
    rim = min(closed_borders(template.faces), key=len)
    motion = Similarity(1.0, Rotation.from_euler("xyz", [0.4, 2.0, 1.0]).as_matrix(), np.array([100.0, 5, 7]))
    scan = TargetSurface.of_mesh(motion.apply(moved.template + np.array([0.0, 2.0, 0.0])), moved.faces)
    rims = Rims(template, scan, motion)
    slides = rims.slides(template.template, motion)
    held = np.isin(rim, slides.rows)
    assert held[template.template[rim][:, 0] < 66.0].all()
    assert not held.all()
    assert set(slides.rows) <= set(rim)
    gap = slides.points - template.template[slides.rows]
    across = gap - (gap * slides.along).sum(axis=1, keepdims=True) * slides.along
    is_level = np.abs(slides.along[:, 0]) > 0.99
    assert is_level.sum() > 10
    assert np.median(across[is_level][:, 1]) == pytest.approx(2.0, abs=0.1)
    np.testing.assert_allclose(np.linalg.norm(slides.along, axis=1), 1.0, atol=1e-6)


def test_upper_and_lower_lip_are_not_mistaken_for_each_other():
    lips = sheet([(60.0, 60.0, 24.0, 4.0)], 80, 1.5)
    rim = min(closed_borders(lips.faces), key=len)
    scan = TargetSurface.of_mesh(lips.template + np.array([0.0, 5.0, 0.0]), lips.faces)
    slides = Rims(lips, scan, HERE).slides(lips.template, HERE)
    middle = rim[np.abs(lips.template[rim][:, 0] - 60) < 9]
    up = (slides.points - lips.template[slides.rows])[np.isin(slides.rows, middle)][:, 1]
    # A lower lip of the template is nearer to the upper one of the scan than to its own.
    assert len(up) > 10
    assert np.quantile(np.abs(up - 5.0), 0.9) < 1.0


def test_points_without_faces_have_no_rims():
    template = sheet([(60.0, 60.0, 24.0, 9.0)])
    cloud = TargetSurface.of_points(template.template, np.tile([0.0, 0.0, 1.0], (template.vertex_count, 1)))
    assert Rims(template, cloud, HERE, outer="always").count == 0
    assert Rims(template, cloud, HERE, outer="always").slides(template.template, HERE) is None


@pytest.mark.parametrize("loops", [1, 2])
def test_every_border_half_edge_is_walked_once(loops):
    openings = [(30.0, 30.0, 12.0, 12.0), (90.0, 90.0, 12.0, 12.0)][:loops]
    assert len(closed_borders(sheet(openings).faces)) == loops + 1


BITE = (60.0, 73.0, 11.0, 14.0)


def test_a_rim_is_laid_along_what_holes_have_left_of_it():
    template, bitten = (sheet(openings, 160, 0.75) for openings in ([EYE], [EYE, BITE]))
    rim, border = (min(closed_borders(mesh.faces), key=len) for mesh in (template, bitten))
    line = smoothed_by(bitten.template[border], 2.0)
    assert length_of(line) > 1.2 * length_of(smoothed_by(template.template[rim], 2.0))
    shift = np.array([2.0, -4.0, 0.0])
    scan = TargetSurface.of_mesh(bitten.template + shift, bitten.faces)
    pulls = Rims(template, scan, HERE).pulls(template.template, HERE)
    held = pulls.weights > 0
    off = np.linalg.norm(pulls.points - template.template - shift, axis=1)
    assert 0.6 * len(rim) < held.sum() < len(rim)
    # Nothing of the hole holds anything; as a whole the border would lead into it.
    assert not held[rim[np.abs(template.template[rim] - [60.0, 69.0, 0.0]).max(axis=1) < 4.0]].any()
    own, other = (smoothed(evenly(points, 96)[0]) for points in (template.template[rim], line))
    whole = warp(own, other).onto(other)
    assert whole[:, 1].max() > 80.0
    assert off[held].max() < 5.0
    assert off[held].mean() < 1.6
    assert np.linalg.norm(whole - own, axis=1).mean() > 2 * off[held].mean()


def test_two_bites_are_cut_off_and_what_is_left_is_said():
    template, bitten = (sheet(openings, 80, 1.5) for openings in ([EYE], [EYE, BITE, (39.0, 52.0, 8.0, 10.0)]))
    rim, border = (min(closed_borders(mesh.faces), key=len) for mesh in (template, bitten))
    line = smoothed_by(bitten.template[border], 2.0)
    own = smoothed_by(template.template[rim], 2.0)
    left = without_bites(own, line, (0.55, 1.7))
    assert {part.bites for part in left} == {1, 2}
    best = min((part for part in left if part.bites == 2), key=lambda part: length_of(part.points))
    assert length_of(best.points) == pytest.approx(length_of(own), rel=0.12)
    assert 0.5 < best.is_seen.mean() < 1.0
    seen = best.points[best.is_seen]
    assert np.abs(seen[:, None] - line[None]).max(axis=2).min(axis=1).max() < 2.0
    assert without_bites(own, own, (2.0, 3.0)) == []


BAYS = [(0.0, 60.0, 30.0, 12.0), (120.0, 30.0, 25.0, 9.0), (70.0, 120.0, 12.0, 26.0)]


OTHER_BAYS = [(0.0, 30.0, 30.0, 12.0), (120.0, 80.0, 25.0, 9.0), (40.0, 120.0, 12.0, 26.0)]


@pytest.mark.parametrize(("bays", "is_held"), [(BAYS, True), (OTHER_BAYS, False)])
def test_an_outer_rim_with_corners_is_known_from_afar(bays, is_held):
    template, scan = sheet(BAYS), sheet(bays)
    moved = scan.template + np.array([9.0, 5.0, 0.0])
    rims = Rims(template, TargetSurface.of_mesh(moved, scan.faces), HERE, outer="near")
    pulls = rims.pulls(template.template, HERE)
    assert (pulls is not None and bool(pulls.weights.any())) is is_held
    if is_held:
        assert set(np.flatnonzero(pulls.weights)) == set(max(closed_borders(template.faces), key=len))


def test_a_rim_that_long_waves_have_moved_is_stretched_evenly_and_another_is_not():
    rim = sheet(BAYS).template[max(closed_borders(sheet(BAYS).faces), key=len)]
    waved = rim + 6.0 * np.stack([np.sin(rim[:, 1] / 40), np.cos(rim[:, 0] / 50), rim[:, 0] / 60], axis=1)
    plain = sheet([]).template[max(closed_borders(sheet([]).faces), key=len)]
    assert stretch_of(rim, rim).uneven < 0.05
    assert stretch_of(rim, rim).off_mm < 0.5
    assert stretch_of(rim, waved).uneven < 0.12
    assert 1.0 < stretch_of(rim, waved).off_mm < 6.0
    assert stretch_of(rim, plain).uneven > 0.15


def test_rims_say_how_a_scan_lies_if_the_outer_one_is_known():
    template = sheet([*BAYS, EYE])
    truth = Similarity(1.0, Rotation.from_euler("xyz", [2, -3, 4], degrees=True).as_matrix(), np.array([3.0, -2, 5]))
    scan = TargetSurface.of_mesh(truth.apply(template.template), template.faces)
    found = Rims(template, scan, HERE, outer="near").pose(template.template)
    assert np.linalg.norm(found.apply(template.template) - truth.apply(template.template), axis=1).max() < 0.5
    larger = TargetSurface.of_mesh(1.05 * truth.apply(template.template), template.faces)
    assert Rims(template, larger, HERE, outer="near").pose(template.template, True).scale == pytest.approx(
        1.05, abs=0.01
    )
    plain = sheet([EYE])
    assert (
        Rims(plain, TargetSurface.of_mesh(plain.template, plain.faces), HERE, outer="near").pose(plain.template) is None
    )
    assert Rims(template, scan, HERE, outer="never").pose(template.template) is None


def test_a_registration_begins_at_the_pose_of_known_rims_and_looks_for_rims_again_from_there(monkeypatch):
    looked_from = []

    class Watched(Rims):
        def __init__(self, topology, target, motion, *rest):
            looked_from.append(motion)
            super().__init__(topology, target, motion, *rest)

    monkeypatch.setattr(registration, "Rims", Watched)
    template = sheet([*BAYS, EYE])
    truth = Similarity(1.0, Rotation.from_euler("xyz", [2, -3, 4], degrees=True).as_matrix(), np.array([3.0, -2, 5]))
    scan = TargetSurface.of_mesh(truth.apply(template.template), template.faces)
    config = registration.RegistrationConfig(rims="auto")
    fit = registration._Fit(template, scan, config, None, HERE, template.template, False)
    fit.open()
    assert np.linalg.norm(fit.motion.apply(template.template) - truth.apply(template.template), axis=1).max() < 0.5
    assert looked_from == [HERE, fit.motion]
    named = Landmarks(np.arange(3), truth.apply(template.template[:3]))
    told = registration._Fit(template, scan, config, named, HERE, template.template, False)
    told.open()
    assert told.motion is HERE


def test_what_slides_along_a_known_rim_is_held_a_little_along_it():
    template = sheet([*BAYS, EYE])
    outer = max(closed_borders(template.faces), key=len)
    scan = TargetSurface.of_mesh(template.template + np.array([4.0, 0.0, 0.0]), template.faces)
    slides = Rims(template, scan, HERE, outer="near").slides(template.template, HERE)
    held = np.isin(slides.rows, outer)
    assert held.sum() > 0.9 * len(outer)
    assert set(slides.grip) == {0.1}
    gap = slides.points - template.template[slides.rows]
    assert np.median(np.linalg.norm(gap - [4.0, 0.0, 0.0], axis=1)) < 0.5
    alone = Rims(template, scan, HERE, outer="never").slides(template.template, HERE)
    assert not np.isin(alone.rows, outer).any()


def test_nothing_slides_to_a_known_rim_that_is_far_across():
    template = sheet(BAYS)
    for away, is_used in ((4.0, True), (9.0, False)):
        scan = TargetSurface.of_mesh(template.template + np.array([0.0, 0.0, away]), template.faces)
        slides = Rims(template, scan, HERE, outer="always").slides(template.template, HERE)
        assert (slides is not None) is is_used


def test_an_evenly_stretched_line_that_lies_elsewhere_is_another():
    rim = 2 * sheet(BAYS).template[max(closed_borders(sheet(BAYS).faces), key=len)]  # as large as a face
    x, y, _ = rim.T
    rolled = np.stack([120 + 200 * np.sin((x - 120) / 200), y, 200 * np.cos((x - 120) / 200)], axis=1)
    rolled += rim.mean(axis=0) - rolled.mean(axis=0)
    assert stretch_of(rim, rolled).uneven < 0.14
    assert stretch_of(rim, rolled).off_mm > 10.0
    assert _is_same(rim, rim + 3.0)
    assert not _is_same(rim, rolled)


def test_a_scan_that_is_closed_over_a_mouth_keeps_its_lips_as_far_apart_as_they_were():
    template, scan = sheet([(60.0, 60.0, 24.0, 4.0)], 80, 1.5), sheet([], 80, 1.5)
    rim = min(closed_borders(template.faces), key=len)
    rims = Rims(template, TargetSurface.of_mesh(scan.template, scan.faces), HERE)
    assert rims.count == 0
    assert [set(loop) for loop in rims.closed] == [set(rim)]
    parted = template.template.copy()
    parted[rim] += np.where(parted[rim, 1] > 60, 3.0, -3.0)[:, None] * [0.0, 1.0, 0.0] + [0.0, 1.0, 0.0]
    assert rims.pulls(parted, HERE) is None
    pulls = rims.ties(parted, HERE)
    assert set(np.flatnonzero(pulls.weights)) == set(rim)
    straight = rim[np.abs(template.template[rim, 0] - 60) < 15]
    np.testing.assert_allclose(pulls.points[straight, 1], template.template[straight, 1] + 1.0, atol=0.8)


def test_a_mouth_that_is_open_on_the_scan_is_not_closed():
    template, wide = sheet([(60.0, 60.0, 12.0, 3.0)], 80, 1.5), sheet([(60.0, 60.0, 50.0, 45.0)], 80, 1.5)
    rims = Rims(template, TargetSurface.of_mesh(wide.template, wide.faces), HERE)
    assert len(rims.closed) == 1
    assert rims.ties(template.template, HERE) is None


def test_a_mouth_that_is_open_but_was_not_found_is_not_closed():
    template = sheet([(60.0, 60.0, 24.0, 4.0)], 80, 1.5)
    several = sheet([(41.0, 60.0, 7.0, 5.0), (60.0, 60.0, 7.0, 5.0), (79.0, 60.0, 7.0, 5.0)], 80, 1.5)
    rims = Rims(template, TargetSurface.of_mesh(several.template, several.faces), HERE)
    assert len(rims.closed) == 1
    assert rims.ties(template.template, HERE) is None
