"""Depth maps to surfaces in mm, and to scans: places, senses, jumps, and what cannot be one."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError
from meshdisent.latentface.to_scan import depth_surface, to_scan
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.registration import RegistrationConfig
from meshdisent.mesh.topology import Topology
from meshdisent.render.camera import Camera
from meshdisent.render.heads import in_camera_frame
from meshdisent.render.rasterizer import rasterize

QUICK = RegistrationConfig(lengths_mm=(40.0, 20.0, 10.0, 5.0))


def head(shapes, subdivisions):
    """An egg with a nose, 140 mm high."""
    vertices, faces = shapes.sphere(subdivisions)
    x, y, z = vertices.T
    radius = 60 * (1 + 0.15 * y + 0.1 * x * z + 0.3 * np.exp(-((x - 0.1) ** 2 + y**2) / 0.05) * (z > 0))
    radius += 4 * np.sin(6 * x + 1) * np.cos(5 * y)
    return Topology(radius[:, None] * vertices, faces)


def depth_of(topology, camera):
    seen = rasterize(
        in_camera_frame(torch.from_numpy(topology.template)[None]), torch.from_numpy(topology.faces), camera
    )
    return torch.where(seen.is_seen, seen.depth, 0.0)[0]


def test_the_surface_lies_on_the_head_and_looks_to_the_viewer(shapes):
    camera, topology = Camera.of_field_of_view(48), head(shapes, 4)
    vertices, faces = depth_surface(depth_of(topology, camera), camera)
    in_frame = topology.template - [0.0, -25.0, -30.0]  # the pivot of the frame of the camera
    assert closest_points(vertices, in_frame, topology.faces)[2].max() < 1e-3
    assert (face_normals(vertices, faces)[:, 2] > 0).all()
    assert np.unique(faces).tolist() == list(range(len(vertices)))


def test_a_pixel_has_its_place_in_the_unit_that_was_given():
    camera = Camera(height=3, width=3, focal=2.0, center_u=1.0, center_v=1.0)
    depth = np.full((3, 3), 1.1)
    vertices, faces = depth_surface(depth, camera, unit_mm=100.0)
    np.testing.assert_allclose(vertices[0], [-55.0, 55.0, -10.0])
    np.testing.assert_allclose(vertices[4], [0.0, 0.0, -10.0])
    np.testing.assert_allclose(vertices[5], [55.0, 0.0, -10.0])
    assert len(faces) == 8
    again = depth_surface(torch.from_numpy(depth).float().requires_grad_(), camera, unit_mm=100.0)
    np.testing.assert_allclose(again[0], vertices, atol=1e-4)


def test_triangles_across_a_jump_and_pixels_outside_the_mask_are_left_out():
    camera = Camera.of_field_of_view(10)
    depth = np.full((10, 10), 1.0)
    depth[:, 5:] = 1.4
    vertices, faces = depth_surface(depth, camera)
    assert len(faces) == 2 * 9 * 4 * 2
    assert (np.ptp(vertices[faces][..., 2], axis=1) == 0).all()
    mask = np.ones((10, 10), dtype=bool)
    mask[:, 5:] = False
    vertices, faces = depth_surface(depth, camera, torch.from_numpy(mask))
    assert (len(vertices), len(faces)) == (50, 2 * 9 * 4)
    camera = Camera.of_field_of_view(10, 1.0)
    # A slope of 70 degrees against the view is a surface, one of 85 is not.
    step = camera.rays(torch.zeros(1, dtype=torch.float64))[0, :2, 0].diff().item()
    for degrees, count in ((70, 162), (85, 0)):
        ramp = 1 + np.tan(np.radians(degrees)) * step * np.arange(10)[None].repeat(10, axis=0)
        if count:
            assert len(depth_surface(ramp, camera)[1]) == count
        else:
            with pytest.raises(DataError, match="no surface among them"):
                depth_surface(ramp, camera)


def test_a_speck_behind_an_opening_is_left_out():
    camera = Camera.of_field_of_view(20)
    depth = np.full((20, 20), 1.0)
    depth[9:12, 9:12] = 0.0
    depth[10:12, 10:12] = 1.3
    vertices, _ = depth_surface(depth, camera)
    assert np.ptp(vertices[:, 2]) < 1e-9


def test_a_head_is_found_in_its_depth_map(shapes):
    camera, template = Camera.of_field_of_view(64), head(shapes, 3)
    direction = template.template / np.linalg.norm(template.template, axis=1, keepdims=True)
    swelling = 5 * np.exp((direction @ [-0.4, 0.5, 0.75] - 1) / 0.1)
    person = Topology(template.template + swelling[:, None] * direction, template.faces)
    found = to_scan(depth_of(person, camera), template, camera, config=QUICK)
    truth = person.template - [0.0, -25.0, -30.0]
    away = np.linalg.norm(found.vertices - truth, axis=1)
    facing = vertex_normals(truth, template.faces)[:, 2]
    assert away[facing > 0.3].mean() < 1.0
    assert not found.is_seen[facing < -0.1].any()
    assert found.is_seen[facing > 0.4].mean() > 0.95
    assert found.residual.median_mm < 0.3


def test_what_is_no_depth_map_is_refused():
    camera, depth = Camera.of_field_of_view(8), np.ones((8, 8))
    with pytest.raises(DataError, match=r"\(9, 9\) and its camera has 8 x 8"):
        depth_surface(np.ones((9, 9)), camera)
    with pytest.raises(DataError, match=r"mask is \(4, 4\)"):
        depth_surface(depth, camera, np.ones((4, 4), dtype=bool))
    depth[2, 3] = np.nan
    assert len(depth_surface(depth, camera)[0]) == 63
    with pytest.raises(DataError, match="no depth, or none above 0, at 1 pixels of the mask"):
        depth_surface(depth, camera, np.ones((8, 8), dtype=bool))
    with pytest.raises(DataError, match="0 pixels with a depth"):
        depth_surface(0 * depth, camera, np.zeros((8, 8), dtype=bool))
    with pytest.raises(DataError, match="unit of depth is 0 mm"):
        depth_surface(depth, camera, unit_mm=0.0)


def test_a_guess_with_too_much_relief_is_brought_back():
    """Depth 1.5 times too deep, tilted, with waves of 3 mm: the likely face comes out, not the waves."""
    from meshdisent.data.synthetic import SyntheticHead
    from meshdisent.latentface.to_scan import face_ellipse, guessed_scan

    synthetic, camera = SyntheticHead(1200), Camera.of_field_of_view(48)
    topology = synthetic.topology
    someone = synthetic.neutral(0.5 * np.random.default_rng(3).standard_normal(synthetic.identity_size))
    true = depth_of(Topology(someone, topology.faces), camera).numpy()
    mask = face_ellipse(48) & (true > 0)
    down, across = np.mgrid[:48, :48] / 48
    waves = 0.003 * np.sin(20 * across) * np.sin(17 * down)
    middle = np.median(true[mask])
    wrong = np.where(mask, middle + 1.5 * (true - middle) + 0.02 * (across - 0.5) + waves, 0)
    found, relief = guessed_scan(wrong, topology, camera, mask)
    assert 0.55 <= relief <= 0.75
    front = topology.template[:, 2] > topology.template[:, 2].mean()
    followed = to_scan(wrong, topology, camera, mask).in_template_frame
    off = [np.linalg.norm(shape - someone, axis=1)[front].mean() for shape in (found.in_template_frame, followed)]
    assert off[0] < 2.5
    assert off[1] > 1.5 * off[0]
    with pytest.raises(DataError, match="error of the guessed depth"):
        guessed_scan(wrong, topology, camera, mask, noise_mm=0.0)
