"""Faces found by mediapipe, which is not installed here: how it is asked, and what is made of its answers."""

import sys
from pathlib import Path

import numpy as np
import pytest

from meshdisent.data.images.face_detection import largest_face, named_points
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.landmark_files import IBUG_68

sys.path.insert(0, str(Path(__file__).parent))
import fake_landmarker


@pytest.fixture
def model_file(monkeypatch, tmp_path):
    return fake_landmarker.install(monkeypatch, tmp_path)


def photo_of(*patches, height=300, width=400):
    """Gray, with bright patches: left, top, right, bottom."""
    pixels = np.full((height, width, 3), 90, np.uint8)
    for left, top, right, bottom in patches:
        pixels[top:bottom, left:right] = 255
    return pixels


def box_of(face):
    return [*face.min(0), *face.max(0)]


def test_the_largest_face_is_found_in_pixels_of_the_photograph(model_file):
    face = largest_face(photo_of((10, 20, 80, 100), (200, 40, 300, 160)), model_file, "a.png")
    assert face.shape == (478, 2)
    np.testing.assert_allclose(box_of(face), [200, 40, 300, 160], atol=1e-9)


@pytest.mark.parametrize(("left", "top"), [(0, 0), (61, 43), (190, 141), (370, 260)])
@pytest.mark.parametrize("side", [24, 50])
def test_a_face_too_small_for_the_detector_is_found_in_a_part_of_the_photograph(model_file, left, top, side):
    patch = (left, top, min(left + side, 400), min(top + side, 300))
    np.testing.assert_allclose(box_of(largest_face(photo_of(patch), model_file, "a.png")), patch, atol=1e-9)


def test_a_photograph_without_a_face_is_told(model_file):
    with pytest.raises(DataError, match=r"a\.png: no face was found in its 400 x 300 pixels, nor in parts of them\."):
        largest_face(photo_of((5, 5, 9, 9)), model_file, "a.png")


def test_what_detects_has_to_be_there(model_file, monkeypatch, tmp_path):
    photo = photo_of((200, 40, 300, 160))
    with pytest.raises(UsageError, match=r"absent\.task is no file; wanted mediapipe's face_landmarker\.task"):
        largest_face(photo, tmp_path / "absent.task", "a.png")
    (tmp_path / "face_landmark.tflite").write_bytes(b"TFL3")
    with pytest.raises(UsageError, match=r"cannot open .*face_landmark\.tflite \(Unable to open zip archive\.\)"):
        largest_face(photo, tmp_path / "face_landmark.tflite", "a.png")
    monkeypatch.setitem(sys.modules, "mediapipe.tasks", None)
    with pytest.raises(UsageError, match=r'not installed; wanted `pip install "meshdisent\[landmarks\]"`'):
        largest_face(photo, model_file, "a.png")


def test_points_get_the_names_of_the_68_without_those_of_the_jaw():
    face = np.stack([np.arange(478.0), np.zeros(478)], 1)
    points = named_points(face)
    assert list(points) == list(IBUG_68[17:])
    numbers = {name: point[0] + 0.5 for name, point in points.items()}
    # From mediapipe's picture of the canonical face.
    assert numbers["outer corner of the right eye"] == 33
    assert numbers["inner corner of the left eye"] == 362
    assert numbers["left corner of the mouth"] == 291
    assert numbers["inner lips 3"] == 13
    assert points["right brow 1"][1] == -0.5  # pixel centers are whole numbers
