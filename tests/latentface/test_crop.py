"""The square that is cut out of a photograph."""

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.latentface.crop import cropped, face_box


def test_points_of_a_face_fill_the_square_as_those_of_rendered_faces_do():
    # The mean of what mediapipe's points cover of the pictures that `meshdisent render` draws.
    low, high = np.array([0.116, 0.067]), np.array([0.878, 0.954])
    np.testing.assert_allclose(face_box(64 * np.stack([low, high])), [0, 0, 64, 64], atol=1.0)


def test_a_face_of_few_pixels_is_refused():
    photo = np.zeros((40, 60, 3), np.uint8)
    assert cropped(photo, 32, None, "a.png").shape == (32, 32, 3)
    with pytest.raises(DataError, match=r"a\.png: the face is 10 x 12 pixels \(box 2, 3, 12, 15\); wanted at least 16"):
        cropped(photo, 32, (2.0, 3.0, 12.0, 15.0), "a.png")
    with pytest.raises(DataError, match=r"a\.png: the box 70, 0, 90, 20 lies outside the image \(60 x 40\)"):
        cropped(photo, 32, (70.0, 0.0, 90.0, 20.0), "a.png")
