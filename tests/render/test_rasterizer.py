"""Triangles to pixels: against a slow twin, gradients against finite differences, and what must hold for any mesh."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import UsageError
from meshdisent.render import rasterizer
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_points, grid_faces
from meshdisent.render.rasterizer import rasterize

CAMERA = Camera(height=9, width=12, focal=14.0, center_u=5.5, center_v=4.0)


def soup(seed, count=12, spread=0.6):
    """Loose triangles of all sizes before the camera, some reaching out of the picture."""
    random = np.random.default_rng(seed)
    middle = random.uniform([-0.5, -0.5, 1.0], [0.5, 0.5, 2.0], (count, 1, 3))
    size = 10.0 ** random.uniform(-2, np.log10(spread), (count, 1, 1))
    vertices = (middle + size * random.normal(size=(count, 3, 3))).reshape(-1, 3)
    vertices[:, 2] = np.maximum(vertices[:, 2], 0.3)
    return torch.from_numpy(vertices)[None], torch.arange(3 * count).reshape(-1, 3)


def slow(vertices, faces, camera, near=0.1, far=100.0):
    """One sample and one triangle after the other."""
    face = np.full((camera.height, camera.width), -1)
    depth = np.full(face.shape, far)
    projected = camera.project(vertices).numpy()
    for row in range(camera.height):
        for column in range(camera.width):
            for number, corners in enumerate(faces.tolist()):
                (a, b, c), z = projected[corners] - np.array([column, row]), vertices[corners, 2].numpy()
                edges = np.array([b[0] * c[1] - b[1] * c[0], c[0] * a[1] - c[1] * a[0], a[0] * b[1] - a[1] * b[0]])
                if edges.sum() == 0 or not ((edges >= 0).all() or (edges <= 0).all()):
                    continue
                found = 1 / ((edges / edges.sum()) / z).sum()
                if near < found < depth[row, column]:
                    face[row, column], depth[row, column] = number, found
    return face, depth


@settings(max_examples=25)
@given(seed=st.integers(0, 10**6))
def test_every_sample_sees_what_a_slow_twin_sees(seed):
    vertices, faces = soup(seed)
    face, depth = slow(vertices[0], faces, CAMERA)
    found = rasterize(vertices, faces, CAMERA)
    assert np.array_equal(found.face[0].numpy(), face)
    assert np.abs(found.depth[0].numpy() - depth).max() < 1e-12


def test_large_triangles_taken_in_parts_are_drawn_alike(monkeypatch):
    vertices, faces = soup(3, count=30, spread=2.0)
    whole = rasterize(vertices, faces, CAMERA)
    monkeypatch.setattr(rasterizer, "_TOGETHER", 7)
    parts = rasterize(vertices, faces, CAMERA)
    assert (whole.face >= 0).any()
    assert torch.equal(whole.face, parts.face)


def test_meshes_of_a_batch_are_drawn_as_each_alone():
    faces = soup(0)[1]
    batch = torch.cat([soup(seed)[0] for seed in range(4)])
    together = rasterize(batch, faces, CAMERA)
    for number in range(4):
        alone = rasterize(batch[number : number + 1], faces, CAMERA)
        assert torch.equal(together.face[number], alone.face[0])
        assert torch.equal(together.depth[number], alone.depth[0])
        assert torch.equal(together.interpolate(batch)[number], alone.interpolate(batch[number : number + 1])[0])


@settings(max_examples=20)
@given(seed=st.integers(0, 10**6))
def test_a_closed_sheet_has_no_gaps_in_single_precision(seed):
    """Random sheets whose squares are split along common edges, many of which run through pixel centers."""
    random = np.random.default_rng(seed)
    camera = Camera.of_field_of_view(17)
    depth = torch.full((1, 17, 17), 1.0)
    points = depth_points(depth, camera)
    shift = random.integers(-4, 5, (17, 17, 2)) / 8.0  # exact in single precision, often on a sample
    shift[[0, -1]] = shift[:, [0, -1]] = 0
    points[0, ..., :2] += torch.from_numpy(shift).float() / camera.focal
    found = rasterize(points.reshape(1, -1, 3), grid_faces(17, 17), camera)
    assert found.is_seen[0, 1:-1, 1:-1].all()


def test_the_first_of_two_equal_faces_wins_and_both_sides_are_drawn():
    triangle = torch.tensor([[[-1.0, -1.0, 2.0], [3.0, -1.0, 2.0], [-1.0, 3.0, 2.0]]], dtype=torch.float64)
    for faces in ([[0, 1, 2], [2, 1, 0]], [[2, 1, 0], [0, 1, 2]]):
        found = rasterize(triangle, torch.tensor(faces), CAMERA)
        assert set(found.face.unique().tolist()) <= {0, -1}
        assert found.is_seen.any()


def test_what_reaches_behind_the_camera_is_left_out_whole():
    vertices = torch.tensor([[[-1.0, -1.0, 2.0], [3.0, -1.0, 2.0], [-1.0, 3.0, -0.5]]])
    assert not rasterize(vertices, torch.tensor([[0, 1, 2]]), CAMERA).is_seen.any()


def test_samples_nearer_or_farther_than_the_limits_see_nothing():
    sheet = torch.tensor([[[-9.0, -9.0, 2.0], [9.0, -9.0, 2.0], [0.0, 9.0, 2.0]]])
    faces = torch.tensor([[0, 1, 2]])
    assert rasterize(sheet, faces, CAMERA, near=1.9, far=2.1).is_seen.all()
    assert not rasterize(sheet, faces, CAMERA, near=2.0).is_seen.any()
    missed = rasterize(sheet, faces, CAMERA, far=2.0)
    assert not missed.is_seen.any()
    assert (missed.depth == 2.0).all()


def test_attributes_are_interpolated_in_perspective():
    """Positions as attributes: what a sample sees lies on its own ray, at its depth."""
    vertices, faces = soup(5)
    found = rasterize(vertices, faces, CAMERA)
    where = found.interpolate(vertices)
    expected = found.depth[..., None] * CAMERA.rays(vertices)
    assert (where - expected)[found.is_seen].abs().max() < 1e-12
    assert (where[~found.is_seen] == 0).all()


def test_a_pixel_is_the_mean_of_its_samples():
    vertices, faces = soup(8)
    found = rasterize(vertices, faces, CAMERA, samples=2)
    assert found.face.shape == (1, 18, 24)
    by_hand = (found.depth[0, 4, 6] + found.depth[0, 4, 7] + found.depth[0, 5, 6] + found.depth[0, 5, 7]) / 4
    assert found.per_pixel(found.depth)[0, 2, 3] == by_hand
    # The four samples lie a quarter of a pixel around the center.
    fine = Camera(height=18, width=24, focal=28.0, center_u=11.5, center_v=8.5)
    assert torch.equal(found.face, rasterize(vertices, faces, fine).face)


def test_gradients_to_vertices_and_attributes_are_those_of_finite_differences():
    vertices, faces = soup(11, count=5, spread=0.4)
    attributes = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 15, 2)))

    def seen(points, values):
        found = rasterize(points, faces, CAMERA, samples=2)
        return found.depth[found.is_seen], found.barycentric(), found.interpolate(values)

    # Small steps, so that no sample leaves its face.
    inputs = vertices.requires_grad_(), attributes.requires_grad_()
    assert torch.autograd.gradcheck(seen, inputs, eps=1e-8, atol=1e-5, rtol=1e-4)


def test_the_picture_of_nothing_is_empty():
    found = rasterize(torch.zeros(2, 0, 3), torch.zeros(0, 3, dtype=torch.long), CAMERA)
    assert (found.face == -1).all()
    assert (found.depth == 100).all()


def test_wrong_samples_and_limits_are_refused():
    vertices, faces = soup(0)
    with pytest.raises(UsageError, match="samples 0"):
        rasterize(vertices, faces, CAMERA, samples=0)
    with pytest.raises(UsageError, match="near 2"):
        rasterize(vertices, faces, CAMERA, near=2.0, far=1.0)
