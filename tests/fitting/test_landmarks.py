"""Models fitted to landmarks in space and in pictures."""

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError, RecipeError, UsageError
from meshdisent.fitting.dial import trade_off
from meshdisent.fitting.landmarks import (
    LandmarkFitConfig,
    LandmarkFitter,
    PictureFitter,
    PictureLandmarks,
    fit_landmarks,
    fit_picture_landmarks,
)
from meshdisent.fitting.result import FitRefused
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.normals import vertex_normals
from meshdisent.render.camera import Camera

CAMERA = Camera(height=480, width=640, focal=1400.0, center_u=319.5, center_v=239.5)
SURE = LandmarkFitConfig(noise=0.05, misfit_mm=0.01)


@pytest.fixture(scope="module")
def rows(linear, people):
    front = np.flatnonzero(vertex_normals(people[0], linear.topology.faces)[:, 2] > 0.2)
    return front[:: len(front) // 60]


def in_camera(vertices, yaw=25.0):
    turn = Rotation.from_euler("yx", [yaw, 10.0], degrees=True).as_matrix() @ np.diag([1.0, -1.0, -1.0])
    return (vertices - vertices.mean(axis=0)) @ turn + [20.0, -15.0, 800.0]


def pixels_of(placed):
    return CAMERA.project(torch.from_numpy(placed)).numpy()


def test_exact_landmarks_in_space_give_the_face_and_its_place(linear, people, motion, rows):
    truth = motion.apply(people[1])
    fit = fit_landmarks(linear, Landmarks(rows, truth[rows]), SURE)
    assert np.linalg.norm(fit.vertices - truth, axis=1).mean() < 0.3
    assert fit.residuals.unit == "mm"
    assert fit.residuals.median < 0.05
    assert np.flatnonzero(~np.isnan(fit.misses)).tolist() == rows.tolist()


def test_three_landmarks_leave_the_rest_to_the_prior(linear, people, motion, rows):
    truth = motion.apply(people[1])
    few = fit_landmarks(linear, Landmarks(rows[[0, 25, 50]], truth[rows[[0, 25, 50]]]))
    many = fit_landmarks(linear, Landmarks(rows, truth[rows]))
    assert few.deviation_mm.mean() > 1.2 * many.deviation_mm.mean()
    assert few.prior_cost < many.prior_cost


def test_intervals_of_landmark_fits_hold_what_they_say(linear, people, rows):
    """The prior is wider than the codes were drawn from, so they are a little too wide."""
    held = []
    for number, truth in enumerate(people):
        noise = 1.5 * np.random.default_rng(number).normal(size=(len(rows), 3))
        fit = fit_landmarks(linear, Landmarks(rows, truth[rows] + noise), LandmarkFitConfig(noise=1.5, misfit_mm=0.0))
        low, high = fit.intervals(0.9)
        held.append(((truth >= low) & (truth <= high)).mean())
    assert 0.85 < np.mean(held) < 0.99


def test_a_scale_is_found(linear, people, rows):
    bigger = Similarity(1.2, np.eye(3), np.zeros(3)).apply(people[2])
    fit = fit_landmarks(
        linear, Landmarks(rows, bigger[rows]), LandmarkFitConfig(noise=0.05, misfit_mm=0.01, with_scale=True)
    )
    assert np.linalg.norm(fit.vertices - bigger, axis=1).mean() < 0.6
    assert fit.motion.scale == pytest.approx(1.2, abs=0.05)


def test_mixed_up_landmarks_are_refused(linear, people, rows):
    mixed = people[0][rows[::-1]]
    with pytest.raises(FitRefused, match=r"half of the \d+ landmarks are .* wanted at most 10\. Names may be mixed up"):
        fit_landmarks(linear, Landmarks(rows, mixed))


def test_landmarks_of_a_picture_give_the_face_before_the_camera(linear, people, rows):
    placed = in_camera(people[1])
    fit = fit_picture_landmarks(linear, PictureLandmarks(rows, pixels_of(placed)[rows]), CAMERA, SURE)
    assert fit.residuals.unit == "pixels"
    assert fit.residuals.median < 0.3
    # A picture hardly tells size from distance: the shape is compared where the prior puts it.
    shift = fit.vertices.mean(axis=0) - placed.mean(axis=0)
    assert np.abs(shift[:2]).max() < 2.0
    assert np.linalg.norm(fit.vertices - shift - placed, axis=1).mean() < 2.0
    np.testing.assert_allclose(pixels_of(fit.vertices)[rows], pixels_of(placed)[rows], atol=1.5)


def test_the_distance_from_the_camera_is_less_sure_than_the_place_in_the_picture(linear, people, rows):
    placed = in_camera(people[2], yaw=0.0)
    fit = fit_picture_landmarks(linear, PictureLandmarks(rows, pixels_of(placed)[rows]), CAMERA)
    spread = np.sqrt(np.einsum("vdd->vd", fit.covariances)).mean(axis=0)
    assert spread[2] > 2 * spread[:2].max()


def test_a_camera_that_sees_nothing_is_told(linear, people, rows):
    pixels = pixels_of(in_camera(people[0]))[rows] + [2000.0, 0.0]
    with pytest.raises(DataError, match=r"The camera sees none of the \d+ landmarks: its picture has 640 x 480 pixels"):
        fit_picture_landmarks(linear, PictureLandmarks(rows, pixels), CAMERA)


def test_landmarks_of_another_picture_are_refused(linear, people, rows):
    pixels = pixels_of(in_camera(people[0]))[rows]
    with pytest.raises(FitRefused, match="pixels or more from where the fitted face shows them"):
        fit_picture_landmarks(linear, PictureLandmarks(rows, pixels[::-1]), CAMERA)


def test_the_dial_turns_for_pictures_too(linear, people, rows):
    noisy = pixels_of(in_camera(people[1]))[rows] + np.random.default_rng(0).normal(size=(len(rows), 2))
    fitter = PictureFitter(linear, PictureLandmarks(rows, noisy), CAMERA, LandmarkFitConfig(noise=1.0))
    near, far = trade_off(fitter, fitter.fit(fitter.begin()), (0.5, 6.0))
    assert near.median < far.median
    assert near.prior_cost > far.prior_cost


def test_landmarks_that_cannot_be_are_refused(linear, people, rows):
    with pytest.raises(DataError, match="vertex 5000 of the model, which has 0 to 1199"):
        fit_picture_landmarks(linear, PictureLandmarks(np.array([1, 2, 3, 5000]), np.ones((4, 2))), CAMERA)
    with pytest.raises(DataError, match="There are 3 landmarks on the model and 3 in the picture"):
        PictureLandmarks(rows[:3], np.ones((3, 2)))
    with pytest.raises(DataError, match="not finite"):
        PictureLandmarks(rows[:4], np.full((4, 2), np.nan))
    with pytest.raises(RecipeError, match="size and distance are the same"):
        PictureFitter(
            linear, PictureLandmarks(rows, np.ones((len(rows), 2))), CAMERA, LandmarkFitConfig(with_scale=True)
        )
    with pytest.raises(RecipeError, match="noise of a landmark fit is 0"):
        LandmarkFitConfig(noise=0.0)
    with pytest.raises(RecipeError, match="misfit_mm of a landmark fit is -1"):
        LandmarkFitConfig(misfit_mm=-1.0)
    fit = fit_landmarks(linear, Landmarks(rows, people[0][rows]))
    with pytest.raises(UsageError, match="An interval of level 90 was asked for"):
        fit.radius_mm(90.0)
    with pytest.raises(UsageError, match="0 samples of a fit"):
        fit.samples(0, torch.Generator())
    with pytest.raises(UsageError, match="asked for factors"):
        trade_off(LandmarkFitter(linear, Landmarks(rows, people[0][rows])), fit, (0.0,))
