"""Eyeballs and the dark of a mouth: put where a face is open, and nowhere else."""

import numpy as np
import pytest

from meshdisent.mesh.normals import face_normals
from meshdisent.mesh.openings import (
    AROUND,
    DARK,
    IRIS,
    IRIS_SHARE,
    WHITE,
    Painted,
    border_loops,
    eye_in_parts,
    eyeball_behind,
    fill_openings,
    find_mouth_alone,
    find_openings,
)
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render

EYES, MOUTH = np.array([[26.0, 20.0, 75.0], [-26.0, 20.0, 75.0]]), np.array([0.0, -38.0, 75.0])
RADII = (np.array([14.0, 9.0]), np.array([14.0, 9.0]), np.array([22.0, 9.0]))


@pytest.fixture(scope="module")
def head(shapes):
    return shapes.ball()


@pytest.fixture(scope="module")
def face(head):
    """The front of the ball without its back, open at the eyes and the mouth."""
    return cut(*head, [*EYES, MOUTH])


def cut(vertices, faces, holes, is_open=True):
    middle = vertices[faces].mean(axis=1)
    keep = middle[:, 2] > -40 if is_open else np.ones(len(faces), dtype=bool)
    for hole, radii in zip(holes, RADII, strict=False):
        near = ((middle[:, :2] - hole[:2]) / radii) ** 2
        keep &= (near.sum(axis=1) > 1) | (middle[:, 2] < 0)
    return vertices, faces[keep].astype(np.int64)


def painted(vertices, faces):
    return Painted(vertices, faces, np.full((len(vertices), 3), 0.7))


def test_eyes_and_mouth_are_told_apart(face):
    vertices, _ = face
    found = find_openings(*face)
    for rim, where in zip(found, [*EYES, MOUTH], strict=True):
        assert np.abs(vertices[rim].mean(axis=0) - where)[:2].max() < 4
    assert {len(loop) for loop in found} <= {len(loop) for loop in border_loops(face[1].tobytes(), face[1].dtype.str)}


def test_a_head_that_is_closed_behind_has_them_too(head):
    assert find_openings(*cut(*head, [*EYES, MOUTH], is_open=False)) is not None


def test_holes_anywhere_else_are_left_alone(head):
    others = {
        "none": [],
        "one eye": [EYES[0]],
        "two eyes": list(EYES),
        "mouth above": [*(EYES * [1, -1, 1]), MOUTH * [1, -1, 1]],
        "mouth beside": [*EYES, MOUTH + np.array([50.0, 20, 0])],
    }
    for name, holes in others.items():
        shown = painted(*cut(*head, holes))
        assert find_openings(shown.vertices, shown.faces) is None, name
        assert fill_openings(shown) is shown, name


def test_a_mouth_alone_gets_its_dark_and_any_other_hole_nothing(head):
    shown = painted(*cut(*head, [MOUTH]))
    rim = find_mouth_alone(shown.vertices, shown.faces)
    assert np.abs(shown.vertices[rim].mean(axis=0) - MOUTH)[:2].max() < 4
    added = fill_openings(shown).colors[len(shown.vertices) :]
    assert len(added) > 20
    assert np.allclose(added, DARK)
    for hole in (MOUTH * [1, -1, 1], MOUTH + np.array([50.0, 20, 0])):
        other = painted(*cut(*head, [hole]))
        assert find_mouth_alone(other.vertices, other.faces) is None
        assert fill_openings(other) is other


def test_the_mesh_itself_stays_and_what_is_added_closes_it(face):
    before = painted(*face)
    after = fill_openings(before)
    count = len(before.vertices)
    assert np.array_equal(after.vertices[:count], before.vertices)
    assert np.array_equal(after.faces[: len(before.faces)], before.faces)
    added = after.faces[len(before.faces) :]
    assert added.min() == count
    assert added.max() == len(after.vertices) - 1
    corners = after.vertices[added]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    assert (normals[:, 2] > -1e-6).mean() > 0.9, "what is added faces the viewer"
    for rim in find_openings(*face):
        gaps = np.linalg.norm(before.vertices[rim][:, None] - after.vertices[None, count:], axis=2).min(axis=1)
        assert gaps.max() < 2.0


def test_eyes_stand_out_and_the_mouth_goes_in(face):
    after = fill_openings(painted(*face))
    is_dark = np.abs(after.colors - DARK).max(axis=1) < 1e-9
    is_iris = np.abs(after.colors - IRIS).max(axis=1) < 1e-9
    is_white = np.abs(after.colors - WHITE).max(axis=1) < 1e-9
    assert is_iris.sum() > 20 < is_white.sum()
    left, _, mouth = find_openings(*face)
    assert after.vertices[is_dark, 2].min() < face[0][mouth, 2].mean() - 3
    assert after.vertices[is_iris, 2].max() > face[0][left, 2].mean() + 1


def test_a_closed_eye_has_no_bulge(face):
    vertices, faces = face[0].copy(), face[1]
    for rim in find_openings(*face)[:2]:
        vertices[rim, 1:] = vertices[rim, 1:].mean(axis=0)
    after = fill_openings(painted(vertices, faces))
    added = after.vertices[len(vertices) :]
    for side in (1, -1):
        eye = added[(added[:, 1] > 0) & (side * added[:, 0] > 0)]
        assert np.ptp(eye[:, 1:], axis=0).max() < 1e-9


@pytest.mark.parametrize("backend", ["software"])
def test_the_paper_does_not_shine_through(face, backend):
    vertices, faces = face
    camera = Camera.facing(vertices, size=(200, 220))
    picture = render(vertices, faces, size=(200, 220), camera=camera, backend=backend)
    at = np.round(camera.project(np.array([MOUTH, *EYES]), (200, 220))[0]).astype(int)
    mouth, left, right = (picture[y, x].astype(int) for x, y in at)
    assert mouth.max() < 110
    assert left.max() < 200 > right.max(), "the iris"


def test_borders_that_meet_in_a_vertex_are_no_loops():
    bow = np.array([[0, 1, 2], [0, 3, 4]])
    assert border_loops(bow.tobytes(), bow.dtype.str) == ()
    triangle = bow[:1]
    (loop,) = border_loops(triangle.tobytes(), triangle.dtype.str)
    assert sorted(loop.tolist()) == [0, 1, 2]


def test_a_closed_mesh_has_no_border(head):
    faces = head[1].astype(np.int64)
    assert border_loops(faces.tobytes(), faces.dtype.str) == ()


def test_an_eye_in_parts_is_the_same_dome_with_a_round_iris():
    around = np.linspace(0, -2 * np.pi, 24, endpoint=False)  # clockwise, as half-edges of a border run
    rim = np.stack([14 * np.cos(around), 5 * np.sin(around), np.full(24, 70.0)], axis=1)
    eye, whole = eye_in_parts(rim), eyeball_behind(rim)
    np.testing.assert_allclose(eye.iris.vertices[-1], whole.vertices[-1])
    outer = np.linalg.norm(eye.iris.vertices[:AROUND, :2], axis=1)
    reach = np.linalg.norm(whole.vertices[:AROUND, :2], axis=1)
    np.testing.assert_allclose(outer, np.minimum(IRIS_SHARE * 28, reach))
    np.testing.assert_allclose(eye.white.vertices[:AROUND], whole.vertices[:AROUND])  # begins at the rim
    np.testing.assert_allclose(eye.white.vertices[-AROUND:], eye.iris.vertices[:AROUND])  # ends where the iris begins
    for part in eye:
        normals = face_normals(part.vertices, part.faces)
        assert normals[np.linalg.norm(normals, axis=1) > 1e-6][:, 2].min() > 0
        assert part.faces.max() < len(part.vertices)
