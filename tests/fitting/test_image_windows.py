"""Squares around faces and their common camera."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.image_windows import Photo, camera_of, windows_of

PIXELS = np.random.default_rng(0).integers(0, 255, (120, 160, 3), dtype=np.uint8)


def test_the_common_camera_sees_a_point_where_the_photograph_has_it():
    photo = Photo(pixels=PIXELS, box=(40.0, 20.0, 120.0, 100.0), field_of_view=30.0)
    windows = windows_of([photo], None, [64])
    point = torch.tensor([[0.02, -0.03, 0.7]])
    there = photo.camera.project(point)[0].numpy()
    left, top, side = photo.square()
    assert (left, top, side) == (40.0, 20.0, 80.0)
    expected = (there + 0.5 - [left, top]) / side * 64 - 0.5
    found = camera_of(64).project(point @ windows.shear[0].T)[0].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-3)


def test_a_square_holds_the_pixels_of_its_place_and_what_lies_outside_does_not_count():
    windows = windows_of([Photo(pixels=PIXELS)], None, [160])
    colors, counts = windows.pictures[160]
    np.testing.assert_allclose(colors[0, 20:140].numpy(), PIXELS / 255, atol=1e-6)
    assert counts[0, 20:140].all()
    assert not counts[0, :20].any()
    assert not counts[0, 140:].any()


def test_a_square_lies_around_landmarks_or_a_mask():
    marks = {"a": np.array([60.0, 50.0]), "b": np.array([80.0, 50.0]), "c": np.array([70.0, 60.0])}
    left, top, side = Photo(pixels=PIXELS, landmarks=marks).square()
    assert side == pytest.approx(48.0)
    assert left == pytest.approx(70.5 - 24)
    assert top == pytest.approx(55.5 + 0.06 * 48 - 24)
    mask = np.zeros((120, 160), bool)
    mask[30:70, 50:90] = True
    left, top, side = Photo(pixels=PIXELS, mask=mask).square()
    assert side == pytest.approx(44.0)
    assert (left, top) == (pytest.approx(48.0), pytest.approx(28.0))


def test_photographs_that_cannot_be_used_say_why():
    with pytest.raises(DataError, match="has 20 x 120 pixels; wanted at least 32 each way"):
        Photo(pixels=PIXELS[:, :20])
    with pytest.raises(DataError, match="one even color"):
        Photo(pixels=np.full((64, 64, 3), 90, np.uint8))
    with pytest.raises(DataError, match=r"has 60 x 50 pixels; wanted 160 x\s+120"):
        Photo(pixels=PIXELS, mask=np.ones((50, 60), bool))
    with pytest.raises(DataError, match="covers nothing"):
        Photo(pixels=PIXELS, mask=np.zeros((120, 160), bool))
    with pytest.raises(UsageError, match=r"field of view of .* is 170.0 degrees"):
        Photo(pixels=PIXELS, field_of_view=170.0)
    with pytest.raises(UsageError, match="wanted left < right"):
        Photo(pixels=PIXELS, box=(10.0, 0.0, 5.0, 9.0))
    marks = {"a": np.array([60.0, 50.0]), "b": np.array([62.0, 50.0]), "c": np.array([61.0, 51.0])}
    with pytest.raises(DataError, match="is 5 pixels wide; wanted at least 32"):
        Photo(pixels=PIXELS, landmarks=marks).square()
    mask = np.zeros((120, 160), bool)
    mask[0, 0] = True
    with pytest.raises(DataError, match="lies outside its landmarks or box"):
        windows_of([replace(Photo(pixels=PIXELS, box=(40.0, 20.0, 120.0, 100.0)), mask=mask)], None, [64])


def test_what_a_mask_leaves_out_does_not_count():
    mask = np.zeros((120, 160), bool)
    mask[30:70, 50:90] = True
    counts = windows_of([Photo(pixels=PIXELS, mask=mask, box=(0.0, 0.0, 120.0, 120.0))], None, [120]).pictures[120][1]
    np.testing.assert_array_equal(counts[0].numpy() > 0, mask[:, :120])
