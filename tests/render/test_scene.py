"""Cameras, views, light and depth maps: what must hold for any of them."""

import pytest
import torch

from meshdisent.errors import UsageError
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_normals, depth_points, surface_depth
from meshdisent.render.shading import Light, lit, shading
from meshdisent.render.view import View, rotation_matrix


def numbers(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_rays_go_through_their_own_pixel():
    camera = Camera(height=3, width=5, focal=7.0, center_u=1.5, center_v=2.0)
    pixels = camera.project(2.5 * camera.rays(numbers(1)))
    assert torch.allclose(pixels[2, 4], torch.tensor([4.0, 2.0]).double())
    assert torch.allclose(pixels[..., 0], torch.arange(5.0).double().expand(3, 5))


def test_impossible_cameras_are_refused():
    with pytest.raises(UsageError, match="focal length of 0"):
        Camera(height=3, width=3, focal=0.0, center_u=1.0, center_v=1.0)
    with pytest.raises(UsageError, match="0 x 3 pixels"):
        Camera(height=0, width=3, focal=1.0, center_u=1.0, center_v=1.0)
    with pytest.raises(UsageError, match="field of view of 180"):
        Camera.of_field_of_view(64, 180.0)


def test_undoing_a_view_gives_the_points_back():
    view = View.of(numbers(3, 6), center=1.3)
    points = numbers(3, 4, 5, 3, seed=1)
    assert torch.allclose(view.undo(view.apply(points)), points)
    pivot = torch.tensor([0, 0, 1.3]).double().expand(3, 1, 3)
    assert torch.allclose(view.apply(pivot)[:, 0], pivot[:, 0] + view.translation)


def test_rotations_are_rotations():
    matrix = rotation_matrix(numbers(6, 3))
    assert torch.allclose(matrix @ matrix.mT, torch.eye(3).double().expand(6, 3, 3))
    assert torch.allclose(torch.linalg.det(matrix), torch.ones(6).double())


def test_the_normals_of_a_tilted_plane_are_its_own():
    """z = 1 + 0.3 x + 0.1 y has the normal (-0.3, -0.1, 1)."""
    camera = Camera.of_field_of_view(12)
    rays = camera.rays(numbers(1))
    depth = 1 / (1 - 0.3 * rays[..., 0] - 0.1 * rays[..., 1])
    normals = depth_normals(depth[None], camera)[0]
    expected = torch.tensor([-0.3, -0.1, 1.0]).double()
    # The published 1e-7 beside the norm of a cross product of 3e-4 shortens normals a little.
    assert torch.allclose(normals[1:-1, 1:-1], (expected / expected.norm()).expand(10, 10, 3), atol=1e-3)
    assert torch.equal(normals[0, 5], torch.tensor([0, 0, 1.0]).double() / (1 + 1e-7))


def test_a_surface_that_stays_where_it_is_keeps_its_depth():
    camera = Camera.of_field_of_view(16)
    depth = 1 + 0.05 * numbers(2, 16, 16)
    again = surface_depth(depth_points(depth, camera), camera)
    assert torch.allclose(again[:, 1:-1, 1:-1], depth[:, 1:-1, 1:-1])


def test_light_from_the_front_is_full_and_from_behind_is_none():
    light = Light.of(torch.tensor([[-0.5, 0.2, 0.0, 0.0]]).double())
    normals = torch.tensor([[[[0.0, 0.0, 1.0], [0.0, 0.0, -1.0]]]]).double()
    assert torch.allclose(shading(normals, light), torch.tensor([[[0.25 + 0.6, 0.25]]]).double())


def test_albedo_in_light_of_strength_one_is_itself():
    albedo = numbers(1, 3, 2, 2).clamp(-1, 1)
    assert torch.allclose(lit(albedo, torch.ones(1, 2, 2).double()), albedo)
    assert torch.equal(lit(albedo, torch.zeros(1, 2, 2).double()), torch.full_like(albedo, -1))
