"""Photographs of faces whose truth is known."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_photos import model, picture

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.image import ImageFitConfig, ImageMisfit, fit_images
from meshdisent.fitting.image_windows import Photo
from meshdisent.mesh.alignment import align
from meshdisent.morphable.linear import LinearConfig, LinearModel

COARSE = ImageFitConfig(sizes=(64,), steps=(8,))


def error_mm(found: np.ndarray, truth: np.ndarray) -> float:
    moved = align(found, truth, with_scale=True).apply(found)
    return float(np.linalg.norm(moved - truth, axis=1).mean())


def mean_error_mm(truth: np.ndarray) -> float:
    return error_mm(np.asarray(model().topology.template), truth)


@pytest.fixture(scope="module")
def fitted():
    photo, truth, _ = picture(person=2)
    return photo, truth, fit_images(model(), [replace(photo, mask=None)], COARSE)[0]


def test_a_face_comes_much_nearer_to_the_truth_than_the_mean_face(fitted):
    _, truth, fit = fitted
    assert error_mm(fit.mesh.vertices, truth) < 0.6 * mean_error_mm(truth)
    assert fit.evidence.color_error < 0.06
    assert fit.evidence.likeness > 0.5


def test_the_camera_of_the_fit_sees_landmarks_where_the_photograph_has_them(fitted):
    photo, _, fit = fitted
    points = fit.in_camera(torch.from_numpy(fit.mesh.vertices).float())
    from meshdisent.fitting.face_points import face_points

    rows = face_points(model().topology)
    seen = fit.camera.project(points).numpy()
    off = [np.linalg.norm(seen[rows[name]] - place) for name, place in photo.landmarks.items()]
    assert np.sqrt(np.mean(np.square(off))) == pytest.approx(fit.evidence.landmark_pixels, rel=0.01)
    assert fit.evidence.landmark_pixels < 1.5


def test_codes_and_mesh_are_of_one_face(fitted):
    fit = fitted[2]
    with torch.no_grad():
        again = model().decode(fit.codes)[0].double().numpy()
    np.testing.assert_allclose(again, fit.mesh.vertices, atol=1e-3)
    assert set(fit.mesh.vertex_attributes) == {"red", "green", "blue"}


def test_a_face_is_found_without_landmarks_and_what_is_guessed_is_said():
    photo, truth, _ = picture()
    told: list[str] = []
    alone = replace(photo, landmarks=None, mask=None, field_of_view=None)
    fit = fit_images(model(), [alone], COARSE, say=told.append)[0]
    assert fit.evidence.likeness > 0.5
    assert error_mm(fit.mesh.vertices, truth) < mean_error_mm(truth)
    assert fit.is_guessed
    assert told[0] == "field of view guessed as 20 degrees: person0.png"


def test_photographs_of_one_subject_share_the_identity_and_a_sequence_moves_less():
    photos = [picture(yaw=12.0)[0], picture(yaw=0.0, expression=1)[0]]
    config = ImageFitConfig(sizes=(64,), steps=(4,), same_subject=True)
    first, second = fit_images(model(), photos, config)
    assert torch.equal(first.codes.identity, second.codes.identity)
    apart = (first.whitened.expression - second.whitened.expression).norm()
    assert apart > 0.1
    one, other = fit_images(model(), photos, replace(config, sequence=True))
    assert (one.whitened.expression - other.whitened.expression).norm() < 0.8 * apart


def test_a_linear_model_of_the_topology_is_fitted_alike():
    codes = model().prior().sample(30, torch.Generator().manual_seed(9))
    with torch.no_grad():
        scans = model().decode(codes).double().numpy()
    names = [f"p{k % 10}" for k in range(30)]
    topology = model().topology
    data = ScanDataset.from_arrays(
        scans, np.asarray(topology.faces), names, [None] * 30, template=np.asarray(topology.template),
        split=["train"] * 30,
    )  # fmt: skip
    linear = LinearModel.fit(data, LinearConfig(identity_size=4, expression_size=4))
    photo, _, _ = picture()
    fit = fit_images(linear, [photo], ImageFitConfig(sizes=(64,), steps=(3,)))[0]
    assert fit.codes.identity.shape == (1, 4)
    assert fit.evidence.likeness > 0.3


def _dressed(photo):
    """The head under brown hair down to the forehead, and in a black collar."""
    eyes, lips = (photo.landmarks[name][1] for name in ("outer corner of the left eye", "inner lips 7"))
    rows, pixels = np.arange(len(photo.pixels))[:, None], photo.pixels.copy()
    pixels[photo.mask & (rows < eyes - 0.6 * (lips - eyes))] = (70, 45, 20)
    pixels[photo.mask & (rows > lips + 0.75 * (lips - eyes))] = (15, 15, 25)
    return replace(photo, pixels=pixels, mask=None)


def test_hair_and_collar_change_nothing_about_the_face():
    photo, _, _ = picture()
    plain, dressed = (fit_images(model(), [each], COARSE)[0] for each in (replace(photo, mask=None), _dressed(photo)))
    assert dressed.evidence.likeness > 0.8
    assert dressed.evidence.color_error < 0.02
    assert float((dressed.albedo - plain.albedo).abs().mean()) < 0.01
    apart = np.linalg.norm(dressed.mesh.vertices - plain.mesh.vertices, axis=1)
    assert apart.mean() < 0.5  # mm
    # The whole head in skin explains neither.
    with pytest.raises(ImageMisfit, match=r"likeness -.* \(limit 0\.0\)\. Its landmarks are .* pixels off; check"):
        fit_images(model(), [_dressed(photo)], replace(COARSE, bare="head"))


def test_landmarks_say_where_the_face_is_even_if_colors_tell_little():
    photo, _, _ = picture()
    fit = fit_images(model(), [replace(photo, mask=None)], COARSE)[0]
    strict = replace(COARSE, least_likeness=fit.evidence.likeness + 0.01)
    assert fit_images(model(), [replace(photo, mask=None)], strict)[0].evidence == fit.evidence
    with pytest.raises(ImageMisfit, match=r"give --detector, --landmarks, or crop it\."):
        fit_images(model(), [replace(photo, mask=None, landmarks=None)], replace(COARSE, least_likeness=1.0))


def test_a_photograph_without_a_face_is_refused_with_its_picture():
    v, u = np.mgrid[0:96, 0:96]
    wall = np.stack([u, v, u + v], -1).astype(np.uint8)
    with pytest.raises(ImageMisfit, match=r"wall\.png: no face explains it: .* likeness -") as caught:
        fit_images(model(), [Photo(pixels=wall, name="wall.png")], COARSE)
    assert caught.value.picture.shape == (64, 5 * 64, 3)


def test_a_fit_that_explains_too_little_is_refused_with_the_best_try():
    photo, _, _ = picture()
    strict = replace(COARSE, steps=(1,), largest_error=1e-4)
    with pytest.raises(ImageMisfit, match=r"person0\.png: no face explains it: colors are off by .* \(limit 0\.0001\)"):
        fit_images(model(), [photo], strict)


def test_what_cannot_be_fitted_is_said():
    with pytest.raises(UsageError, match="got no photograph"):
        fit_images(model(), [])
    with pytest.raises(UsageError, match="albedo is 'blue'; wanted one of painted, smooth"):
        ImageFitConfig(albedo="blue")
    with pytest.raises(UsageError, match="bare is 'neck'; wanted one of face, head"):
        ImageFitConfig(bare="neck")
    with pytest.raises(UsageError, match=r"sizes \(64,\) and steps \(1, 2\) do not go together"):
        ImageFitConfig(sizes=(64,), steps=(1, 2))
    photo, _, _ = picture()
    with pytest.raises(DataError, match="names vertex 99999 of the template, which has 0 to 1199"):
        fit_images(model(), [photo], landmark_rows={"tip of the nose": 99999})
