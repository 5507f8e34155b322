"""Raw scans made ready: units by size, normals of bare points, and a face among other things."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.raw_surface import (
    MILLIMETERS,
    PART_LIMITS,
    estimated_normals,
    find_face,
    guessed_unit,
    is_more_than_a_face,
)
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology


@pytest.mark.parametrize("unit", ["mm", "cm", "m"])
@pytest.mark.parametrize("larger", [0.5, 1.0, 2.0])
def test_the_unit_is_guessed_though_a_scan_shows_half_or_twice_of_a_face(shapes, unit, larger):
    template = 90 * shapes.sphere(2)[0]
    scan = larger * shapes.sphere(3)[0] * 90 / MILLIMETERS[unit] + 5
    assert guessed_unit(scan, template) == unit


def test_points_at_one_place_have_no_unit():
    with pytest.raises(DataError, match="all its points are at one place"):
        guessed_unit(np.ones((30, 3)), np.eye(3))


def test_normals_of_bare_points_look_outward(shapes):
    points, _ = shapes.sphere(4)
    front = 80 * points[points[:, 2] > -0.2] * [1.0, 1.2, 0.8] + [300.0, 0, 0]
    truth = (front - [300.0, 0, 0]) / np.square(80 * np.array([1.0, 1.2, 0.8]))
    truth /= np.linalg.norm(truth, axis=1, keepdims=True)
    found = estimated_normals(front)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1.0)
    assert ((found * truth).sum(axis=1) > 0.9).mean() > 0.97
    with pytest.raises(DataError, match="5 points and no faces; wanted more than 16"):
        estimated_normals(front[:5])


def nose(shapes):
    """The front of a ball with a nose and a chin, 160 mm wide, and the whole of it."""
    vertices, faces = shapes.sphere(3)
    x, y, z = (80 * vertices).T
    bumps = 25 * np.exp(-(x**2 + (y + 5) ** 2) / 500) + 10 * np.exp(-(x**2 + (y + 55) ** 2) / 300)
    whole = np.stack([x, 1.2 * y, z + bumps * (z > 0)], axis=1)
    kept = faces[(z > 10)[faces].all(axis=1)]
    used, numbered = np.unique(kept, return_inverse=True)
    return Topology(whole[used], numbered.reshape(-1, 3)), whole, faces


def test_a_face_above_shoulders_is_found_and_cut_out(shapes):
    template, whole, faces = nose(shapes)
    shoulders, shoulder_faces = shapes.sphere(3)
    place = np.array([60.0, 30, -20])
    target = TargetSurface.of_mesh(
        np.concatenate([whole + place, shoulders * [220, 70, 90] + place + [0, -170, -40]]),
        np.concatenate([faces, shoulder_faces + len(whole)]),
    )
    assert is_more_than_a_face(template, target)
    assert not is_more_than_a_face(template, TargetSurface.of_mesh(whole, faces))
    found = find_face(template, target)
    np.testing.assert_allclose(found.pose.apply(template.template), template.template + place, atol=2.5)
    distance = closest_points(found.target.points, template.template + place, template.faces)[2]
    assert distance.max() < 31.0
    assert np.quantile(distance, 0.9) < 10.0
    assert found.cut_share > 0.5
    again = find_face(template, target, found.pose)
    assert len(again.target.points) == len(found.target.points)


def test_what_looks_away_has_no_face(shapes):
    template = nose(shapes)[0]
    flat, faces = shapes.grid(20, 20)
    down = TargetSurface.of_mesh(20.0 * flat[:, [0, 2, 1]], faces)
    with pytest.raises(DataError, match="looks along"):
        find_face(template, down)


def test_a_smooth_thing_that_the_template_could_be_drawn_over_is_refused(shapes):
    """A torso without a nose: met everywhere in the end, but not while the template is stiff."""
    template = nose(shapes)[0]
    ball, faces = shapes.sphere(3)
    torso = TargetSurface.of_mesh(ball * [150, 210, 90], faces)
    found = find_face(template, torso)
    quick = RegistrationConfig(lengths_mm=(60.0, 20.0, 8.0, 4.0), rounds=2)
    fit = register(template, found.target, quick, starts=[found.pose])
    assert fit.seen_share > PART_LIMITS.fewest_seen
    assert fit.explained_share > PART_LIMITS.fewest_explained
    strict = RegistrationConfig(lengths_mm=quick.lengths_mm, rounds=2, limits=PART_LIMITS)
    with pytest.raises(DataError, match=r"after the stiff stage half of the matched .* wanted at most 2\.8"):
        register(template, found.target, strict, starts=[found.pose])
