import numpy as np
import pytest

from meshdisent.show.shading import CHART, LIGHTS, MATTE, Material, shade, unit, vertex_normals


def test_normals_of_a_ball_point_outwards(head):
    vertices, faces = head
    normals = vertex_normals(vertices, faces)
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1)
    back = vertices[:, 2] < -10  # the nose is in front
    outwards = vertices / np.linalg.norm(vertices, axis=1, keepdims=True)
    assert (normals * outwards).sum(1)[back].min() > 0.99


def test_a_vertex_of_no_face_has_a_zero_normal():
    vertices = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0], [5, 5, 5]])
    normals = vertex_normals(vertices, np.array([[0, 1, 2]]))
    np.testing.assert_array_equal(normals, [[0, 0, 1], [0, 0, 1], [0, 0, 1], [0, 0, 0]])


def test_what_turns_away_gets_ambient_light_only():
    color = np.array([[0.5], [0.4], [0.3]])
    away, ray = np.array([[0.0], [0.0], [-1.0]]), np.array([[0.0], [0.0], [-1.0]])
    np.testing.assert_allclose(shade(away, ray, color, MATTE), MATTE.ambient * color)


def test_a_surface_facing_the_camera_gets_the_sum_of_cosines():
    color = np.array([[0.5], [0.5], [0.5]])
    towards, ray = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [-1.0]])
    total = np.full(3, CHART.ambient)
    for light in LIGHTS:
        total += CHART.diffuse * max(light.direction[2], 0) / np.linalg.norm(light.direction) * np.array(light.color)
    np.testing.assert_allclose(shade(towards, ray, color, CHART)[:, 0], 0.5 * total)


def test_lit_points_follow_the_formula_of_the_shader(noise):
    material = Material(ambient=0.1, diffuse=0.5, specular=0.6, shininess=5.0)
    normals, colors = unit(noise.normal(size=(3, 200))), noise.uniform(0, 0.5, (3, 200))
    rays = unit(noise.normal(size=(3, 200)) - [[0], [0], [1]])
    shown = shade(normals, rays, colors, material)
    for k in range(200):
        wanted = material.ambient * colors[:, k]
        for light in LIGHTS:
            towards = np.array(light.direction) / np.linalg.norm(light.direction)
            cosine = max(normals[:, k] @ towards, 0)
            mirrored = 2 * cosine * normals[:, k] - towards
            glance = max(-mirrored @ rays[:, k], 0) if cosine > 0 else 0
            wanted = wanted + np.array(light.color) * (
                material.diffuse * cosine * colors[:, k] + material.specular * glance**material.shininess
            )
        np.testing.assert_allclose(shown[:, k], np.minimum(wanted, 1), atol=1e-9)


def test_colors_that_carry_numbers_are_shown_nearly_as_they_are():
    towards, ray = np.array([[0.0], [0.0], [1.0]]), np.array([[0.0], [0.0], [-1.0]])
    shown = shade(towards, ray, np.full((3, 1), 0.8), CHART)
    np.testing.assert_allclose(shown, 0.8, atol=0.06)


def test_unit_vectors_have_length_one_and_zero_stays_zero():
    result = unit(np.array([[3.0, 0.0], [0.0, 0.0], [4.0, 0.0]]))
    np.testing.assert_allclose(result, [[0.6, 0], [0, 0], [0.8, 0]])
    assert np.isfinite(result).all()


def test_no_light_drives_the_default_skin_over_white():
    """Clipped colors would be flat spots on forehead and nose."""
    noise = np.random.default_rng(0)
    normals = unit(noise.normal(size=(3, 2000)))
    rays = np.tile([[0.0], [0.0], [-1.0]], (1, 2000))
    from meshdisent.show.shading import SKIN

    shown = shade(normals, rays, np.array(SKIN)[:, None], MATTE)
    assert shown.max() <= 1.0
    assert (shown >= 1.0).mean() < 0.06
    assert shown.min() == pytest.approx(MATTE.ambient * min(SKIN), abs=1e-6)
