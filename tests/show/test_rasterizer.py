import numpy as np
import pytest
from scipy.spatial import Delaunay

from meshdisent.show.camera import Camera
from meshdisent.show.rasterizer import render_software, visible_faces
from meshdisent.show.shading import Material

# Shows colors as they are: only then can a test compute them.
FLAT = Material(ambient=1.0, diffuse=0.0, specular=0.0, shininess=1.0)


def points(*pairs):
    return np.array(pairs, float)


def test_a_triangle_covers_exactly_the_pixels_whose_centers_lie_in_it():
    picture = visible_faces(points((0, 0), (4.2, 0), (0, 4.2)), np.ones(3), np.array([[0, 1, 2]]), (6, 5))
    wanted = [
        [0, 0, 0, 0, -1, -1],
        [0, 0, 0, -1, -1, -1],
        [0, 0, -1, -1, -1, -1],
        [0, -1, -1, -1, -1, -1],
        [-1, -1, -1, -1, -1, -1],
    ]
    assert picture.tolist() == wanted


def test_both_orientations_are_drawn_and_a_face_without_area_is_not():
    corners = points((0, 0), (4.2, 0), (0, 4.2), (2, 1))
    forth = visible_faces(corners, np.ones(4), np.array([[0, 1, 2]]), (6, 5))
    back = visible_faces(corners, np.ones(4), np.array([[0, 2, 1]]), (6, 5))
    assert (forth == back).all()
    line = np.array([[0, 1, 1], [3, 3, 3]])
    assert (visible_faces(corners, np.ones(4), line, (6, 5)) == -1).all()


def test_a_center_on_a_common_edge_goes_to_exactly_one_face():
    corners = points((0, 0), (8, 0), (8, 8), (0, 8))  # the diagonal runs through eight centers
    cover = [visible_faces(corners, np.ones(4), np.array([face]), (8, 8)) == 0 for face in ([0, 1, 2], [0, 2, 3])]
    assert (cover[0] ^ cover[1]).all()


@pytest.mark.parametrize("seed", range(5))
def test_a_triangulation_covers_each_pixel_exactly_once(seed):
    noise = np.random.default_rng(seed)
    frame = points((-3, -3), (43, -3), (43, 33), (-3, 33))
    # Corners at centers and half centers are the hard cases: edges run through many centers.
    inner = np.round(noise.uniform(0, 30, (60, 2)) * 2) / 2
    corners = np.concatenate([frame, np.unique(inner, axis=0)])
    faces = Delaunay(corners).simplices.astype(np.int64)
    cover = sum(visible_faces(corners, np.ones(len(corners)), face[None], (40, 30)) + 1 for face in faces)
    assert (cover == 1).all()


def test_the_nearest_face_wins_at_every_pixel_as_in_a_plain_loop(noise):
    corners, nearness = noise.uniform(-5, 29, (60, 2)), noise.uniform(0.5, 2, 60)
    faces = np.arange(60).reshape(20, 3)
    picture = visible_faces(corners, nearness, faces, (24, 20))
    for row in range(20):
        for column in range(24):
            best, wanted = 0.0, -1
            for k, face in enumerate(faces):
                matrix = np.vstack([corners[face].T, np.ones(3)])
                weights = np.linalg.solve(matrix, [column + 0.5, row + 0.5, 1])
                if (weights >= 0).all() and weights @ nearness[face] > best:
                    best, wanted = weights @ nearness[face], k
            assert picture[row, column] == wanted


def test_the_order_of_faces_does_not_matter(head, noise):
    vertices, faces = head
    mixed = faces[noise.permutation(len(faces))]
    camera = Camera.facing(vertices, size=(60, 70), azimuth=20.0)
    colors = np.tile([0.9, 0.8, 0.7], (len(vertices), 1))
    material = Material(ambient=0.3, diffuse=1.0, specular=0.1, shininess=10.0)
    first = render_software(vertices, faces, colors, camera, (60, 70), material)
    second = render_software(vertices, mixed, colors, camera, (60, 70), material)
    assert (first == second).all()


def test_the_background_is_untouched_and_the_rest_is_painted():
    vertices = np.array([[-30.0, -30, 0], [30, -30, 0], [0, 30, 0]])
    camera = Camera(distance=400.0)
    picture = render_software(vertices, np.array([[0, 1, 2]]), np.zeros((3, 3)), camera, (50, 50), FLAT)
    corners, depth = camera.project(vertices, (50, 50))
    covered = visible_faces(corners, 1 / depth, np.array([[0, 1, 2]]), (50, 50)) == 0
    assert 0 < covered.sum() < 1250
    assert (picture[covered] == 0).all()
    assert (picture[~covered] == 255).all()


def test_colors_are_interpolated_in_space_not_in_the_picture():
    # A floor that runs away from the camera; red grows with depth from 0 at z = 0 to 1 at z = -400.
    vertices = np.array([[-200.0, -50, 0], [200, -50, 0], [200, -50, -400], [-200, -50, -400]])
    colors = np.zeros((4, 3))
    colors[2:, 0] = 1
    camera = Camera(distance=300.0, field_of_view=60.0)
    picture = render_software(vertices, np.array([[0, 1, 2], [0, 2, 3]]), colors, camera, (40, 40), FLAT)
    for row in range(22, 25):
        slope = camera.rays(np.array([20.5]), np.array([row + 0.5]), (40, 40))[1, 0]  # drop for each mm of depth
        depth = 50 / -slope - 300
        assert picture[row, 20, 0] == pytest.approx(255 * depth / 400, abs=1)


def test_faces_that_reach_behind_the_camera_are_left_out():
    vertices = np.array([[-30.0, -30, 0], [30, -30, 0], [0, 30, 2000], [0, 30, 0]])
    faces = np.array([[0, 1, 2], [0, 1, 3]])
    colors = np.zeros((4, 3))
    both = render_software(vertices, faces, colors, Camera(distance=400.0), (30, 30), FLAT)
    one = render_software(vertices, faces[1:], colors, Camera(distance=400.0), (30, 30), FLAT)
    assert (both == one).all()
