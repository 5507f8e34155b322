"""Colors without light, and light."""

import numpy as np
import pytest
import torch
from small_photos import model

from meshdisent.errors import DataError
from meshdisent.fitting.appearance import (
    harmonic_slopes,
    harmonics,
    light_precision,
    paint_of,
    painted_albedo,
    smooth_albedo,
)
from meshdisent.fitting.face_points import face_points
from meshdisent.mesh.topology import Topology


def test_slopes_of_the_polynomials_are_their_derivatives():
    normals = torch.nn.functional.normalize(torch.randn(4, 3, dtype=torch.float64, generator=torch.Generator()), dim=1)
    for normal in normals:
        expected = torch.autograd.functional.jacobian(harmonics, normal)
        torch.testing.assert_close(harmonic_slopes(normal), expected)


def test_a_likely_light_is_white_more_than_anything():
    spread = np.linalg.inv(light_precision()).reshape(9, 3, 9, 3)
    assert np.linalg.eigvalsh(light_precision()).min() > 0
    common = spread[1, :, 1].sum() / 9
    assert np.sqrt(common) == pytest.approx(0.4 / np.sqrt(3))
    assert spread[1, 0, 1, 0] - spread[1, 0, 1, 1] == pytest.approx(0.06**2)


def test_paint_lies_where_the_face_has_lips_and_brows():
    topology = model().topology
    paint, rows, template = paint_of(topology), face_points(topology), np.asarray(topology.template)
    assert paint.lips[rows["inner lips 3"]] > 0.5
    assert paint.lips[rows["tip of the nose"]] < 0.05
    eye = template[[rows["outer corner of the left eye"], rows["inner corner of the left eye"]]].mean(0)
    brow = template[paint.brows > 0.5]
    left = brow[brow[:, 0] > 0].mean(0)
    assert 8 < left[1] - eye[1] < 30
    assert abs(left[0] - eye[0]) < 12


def test_painted_colors_are_alike_on_both_sides_and_likely():
    prior = painted_albedo(model().topology)
    assert prior.mean.min() > 0
    assert prior.mean.max() < 1
    draws = torch.stack([prior.albedo(torch.randn(40, generator=torch.Generator().manual_seed(k))) for k in range(50)])
    assert 0.05 < float(draws.std(0).mean()) < 0.3


def test_a_face_is_bare_from_brows_to_chin_without_ears_and_neck():
    topology = model().topology
    bare, rows, template = painted_albedo(topology).bare.numpy(), face_points(topology), np.asarray(topology.template)
    assert all(bare[row] == 1 for row in rows.values())
    assert bare[template[:, 1] < -100].mean() < 0.05  # mm: the neck
    assert bare[template[:, 1] > 95].max() == 0  # the top of the head
    assert bare[np.abs(template[:, 0]) > 85].max() == 0  # the ears
    brows = paint_of(topology).brows > 0.5
    assert bare[brows].min() > 0.5
    assert 0.25 < bare.mean() < 0.7
    assert smooth_albedo(topology).bare.min() == 1


def test_smooth_colors_vary_slowly_and_mostly_in_lightness():
    prior = smooth_albedo(model().topology)
    faces = torch.as_tensor(model().topology.faces)
    flat = prior.basis[0]
    assert float(flat.std(0).max()) < 1e-3 * float(flat.abs().mean())
    along = (prior.basis[:, faces[:, 0]] - prior.basis[:, faces[:, 1]]).square().sum((1, 2))
    assert float(along[0]) < float(along[30])


def test_a_template_without_openings_names_no_points():
    triangle = Topology(np.array([[-1.0, 0, 0], [1, 0, 0], [0, 2, 0]]), np.array([[0, 1, 2]]))
    with pytest.raises(DataError, match=r"not open at two eyes and a mouth.*--template-landmarks"):
        face_points(triangle)


def test_named_points_are_where_their_names_say():
    topology = model().topology
    points = {name: np.asarray(topology.template)[row] for name, row in face_points(topology).items()}
    assert points["outer corner of the left eye"][0] > points["inner corner of the left eye"][0] > 0
    assert points["outer corner of the right eye"][0] < points["inner corner of the right eye"][0] < 0
    assert points["inner lips 3"][1] > points["inner lips 7"][1]
    assert points["tip of the nose"][2] > points["inner lips 3"][2]
    assert abs(points["tip of the nose"][0]) < 5
