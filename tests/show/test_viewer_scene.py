"""The face as nodes of viser's scene: what is visible, where it lies, where the camera stands."""

import numpy as np
import pytest

from meshdisent import load
from meshdisent.mesh.openings import find_openings
from meshdisent.show.viewer_scene import FaceScene
from meshdisent.show.viewer_server import serving

pytest.importorskip("viser", reason="needs viser (pip install 'meshdisent[viewer]'), which is absent")


@pytest.fixture(scope="module")
def head():
    return load("wsdf-ict").topology


@pytest.fixture
def served(head):
    with serving("127.0.0.1", 0) as server:
        yield server, FaceScene(server, head, head.template)


def test_the_face_lies_in_decimeters_around_the_middle_and_the_camera_looks_at_its_front(served, head):
    server, scene = served
    skin = scene._skin.vertices
    np.testing.assert_allclose(skin.min(axis=0) + skin.max(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(np.ptp(skin, axis=0), np.ptp(head.template, axis=0) / 100, rtol=1e-5)
    place = server.initial_camera.position
    assert place[2] > 0.9 * np.linalg.norm(place)
    reach = np.linalg.norm(place) - skin[:, 2].max()
    assert 2 * reach * np.tan(server.initial_camera.fov / 2) > np.ptp(skin[:, 1])  # all of it is seen


def test_eyes_and_mouth_move_with_the_face(served, head):
    _, scene = served
    assert find_openings(head.template, head.faces) is not None
    assert set(scene._behind) == {"whites", "irises", "mouth"}
    before = {name: handle.vertices.copy() for name, handle in scene._behind.items()}
    scene.draw(head.template + np.array([0.0, 0.0, 10.0]), None)
    for name, handle in scene._behind.items():
        np.testing.assert_allclose(
            handle.vertices - before[name], np.tile([0, 0, 0.1], (len(before[name]), 1)), atol=1e-5
        )


def test_new_colors_stand_beside_the_old_until_they_have_arrived(served, head):
    _, scene = served
    colors = np.full((1200, 3), 0.5)
    scene.draw(head.template, colors)
    assert not scene._skin.visible
    scene.draw(head.template, colors)
    assert [one.visible for one in scene._colored] == [True, True]
    scene.settle()
    assert [one.visible for one in scene._colored] == [False, True]
    scene.draw(head.template, colors)
    scene.settle()
    assert [one.visible for one in scene._colored] == [True, False]
    scene.draw(head.template, None)
    assert scene._skin.visible
    assert not any(one.visible for one in scene._colored)
    scene.settle()
    assert not any(one.visible for one in scene._colored)


def test_points_come_and_go(served):
    _, scene = served
    scene.mark({"chin": 3, "nose": 9})
    assert [label.text for label in scene._labels] == ["chin", "nose"]
    scene.mark({"nose": 9})
    assert [label.text for label in scene._labels] == ["nose"]
    scene.mark({})
    assert scene._labels == []


def test_a_mesh_without_openings_has_nothing_behind_them(shapes):
    from meshdisent.mesh.topology import Topology

    ball = Topology(*shapes.ball())
    with serving("127.0.0.1", 0) as server:
        assert FaceScene(server, ball, ball.template)._behind == {}
