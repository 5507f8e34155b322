"""Crops: boxes by hand, borders that are repeated, shrinking that does not alias."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from meshdisent.data.images.cropping import CROPS, NEED_BOXES, box_of_crop, center_box, check_crop, crop_square
from meshdisent.errors import DataError, UsageError


@pytest.fixture
def image():
    return np.random.default_rng(0).integers(0, 256, (30, 40, 3), np.uint8)


def test_a_whole_box_at_its_own_size_is_the_part_itself(image):
    assert np.array_equal(crop_square(image, (5.0, 3.0, 25.0, 23.0), 20), image[3:23, 5:25])


def test_shrinking_is_pillows_own(image):
    part = Image.fromarray(image[3:27, 8:32]).resize((8, 8), Image.Resampling.BILINEAR)
    assert np.array_equal(crop_square(image, (8.0, 3.0, 32.0, 27.0), 8), np.asarray(part))


def test_a_box_beyond_the_border_repeats_the_border(image):
    found = crop_square(image, (-6.0, -4.0, 44.0, 46.0), 50)
    padded = np.pad(image, ((4, 16), (6, 4), (0, 0)), mode="edge")
    assert np.array_equal(found, padded)


def test_a_fine_pattern_fades_to_gray():
    checkers = (255 * (np.indices((64, 64)).sum(axis=0) % 2)).astype(np.uint8)[..., None].repeat(3, axis=2)
    found = crop_square(checkers, (0.0, 0.0, 64.0, 64.0), 8)
    assert np.abs(found.astype(int) - 127).max() <= 12


def test_corners_between_pixels_move_the_image():
    ramp = np.tile((10 * np.arange(20)).astype(np.uint8)[None, :, None], (20, 1, 3))
    found = crop_square(ramp, (4.5, 4.0, 12.5, 12.0), 8)
    assert found[4, :, 0].tolist() == [45, 55, 65, 75, 85, 95, 105, 115]


@given(st.integers(0, 255), st.floats(-20, 10), st.floats(-20, 10), st.floats(30, 60), st.integers(1, 20))
def test_one_color_stays_one_color(value, left, top, side, size):
    image = np.full((20, 20, 3), value, np.uint8)
    found = crop_square(image, (left, top, left + side, top + side), size)
    assert found.shape == (size, size, 3)
    assert (found == value).all()


def test_the_image_is_not_touched(image):
    before = image.copy()
    crop_square(image, (-5.0, -5.0, 50.0, 50.0), 16)
    assert np.array_equal(image, before)


@pytest.mark.parametrize(
    ("box", "said"),
    [
        ((5.0, 5.0, 5.0, 9.0), "has no area"),
        ((5.0, 9.0, 9.0, 5.0), "has no area"),
        ((float("nan"), 0.0, 5.0, 5.0), "has no area"),
        ((0.0, 0.0, 1e6, 1e6), "more than 8 times as large as the image"),
        ((40.0, 0.0, 60.0, 20.0), r"lies outside the image \(40 x 30\)"),
        ((-20.0, -20.0, 0.0, 0.0), "lies outside"),
    ],
)
def test_impossible_boxes_are_refused(image, box, said):
    with pytest.raises(DataError, match=said):
        crop_square(image, box, 8)


def test_rules_by_hand():
    box = (10.0, 20.0, 50.0, 80.0)  # 40 x 60 about 30, 50: half side 27.5, moved down by 4.125
    assert box_of_crop("detector", 100, 100, box) == pytest.approx((2.5, 26.625, 57.5, 81.625))
    assert box_of_crop("box", 100, 100, box) == box
    assert box_of_crop("whole", 100, 70, box) == (0, 0, 100, 70)
    assert box_of_crop("center", 100, 70, None) == (15, 0, 85, 70)
    assert box_of_crop("center:40", 100, 70, None) == (30, 15, 70, 55)
    assert center_box(10, 10, 20) == (-5, -5, 15, 15)


@pytest.mark.parametrize("crop", NEED_BOXES)
def test_a_crop_that_needs_a_box_says_so(crop):
    with pytest.raises(DataError, match=r"no box is known"):
        box_of_crop(crop, 10, 10, None)


@pytest.mark.parametrize("crop", ["middle", "center:", "center:0", "center:-3", "center:x", "box:3", ""])
def test_unknown_crops_are_refused(crop):
    with pytest.raises(UsageError, match=r"wanted box, detector, center, whole, or center:SIDE"):
        check_crop(crop)
    for name in (*CROPS, "center:170"):
        check_crop(name)
