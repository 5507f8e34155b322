"""Colors from a photograph, and what fits lend each other."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_photos import model, picture

from meshdisent.errors import UsageError
from meshdisent.fitting.image import ImageFitConfig, fit_images
from meshdisent.fitting.texture import (
    TextureConfig,
    VertexTexture,
    texture_of,
    transferred_expression,
    transferred_texture,
)
from meshdisent.morphable.contract import Codes


@pytest.fixture(scope="module")
def fitted():
    photo, _, colors = picture(yaw=25.0)
    return photo, colors, fit_images(model(), [photo], ImageFitConfig(sizes=(64,), steps=(6,)))[0]


def test_colors_of_the_photograph_are_nearer_to_the_true_ones_than_any_skin(fitted):
    photo, truth, fit = fitted
    texture = texture_of(model(), fit, photo)
    # How light the skin is and how strong the lamp cannot be told apart; the pattern can.
    own, true = (part / part.mean(0) for part in (texture.colors[texture.is_seen], truth[texture.is_seen]))
    assert np.abs(own - true).mean() < 0.65 * np.abs(true - 1).mean()


def test_hidden_vertices_take_over_the_colors_of_their_mirror_images(fitted):
    photo, _, fit = fitted
    template = np.asarray(model().topology.template)
    marked = photo.pixels.copy()
    points = fit.camera.project(fit.in_camera(torch.from_numpy(fit.mesh.vertices).float())).numpy()
    plain = texture_of(model(), fit, photo)
    hidden = ~plain.is_seen & (template[:, 2] > 40)
    assert hidden.sum() > 20
    marked[..., 0] = np.minimum(marked[..., 0] * 0.8, 255).astype(np.uint8)
    darker = texture_of(model(), fit, replace(photo, pixels=marked))
    assert (darker.colors[hidden, 0] < plain.colors[hidden, 0] - 0.02).mean() > 0.8
    assert np.abs(darker.colors[hidden, 1] - plain.colors[hidden, 1]).mean() < 0.02
    assert np.isfinite(points).all()


def test_something_before_the_face_leaves_no_mark(fitted):
    photo, _, fit = fitted
    blocked = photo.pixels.copy()
    blocked[60:80, 55:75] = (0, 255, 0)
    found, clean = (texture_of(model(), fit, each) for each in (replace(photo, pixels=blocked), photo))
    assert np.abs(found.colors - clean.colors).max() < 0.15


def test_a_skin_is_put_on_another_face_and_an_expression_on_another_person(fitted):
    _, _, fit = fitted
    skin = VertexTexture(np.full((1200, 3), 0.25), np.ones(1200, bool))
    worn = transferred_texture(model(), fit, skin)
    np.testing.assert_array_equal(worn.vertices, fit.mesh.vertices)
    np.testing.assert_array_equal(worn.vertex_attributes["green"], np.full(1200, 0.25))
    other = replace(fit, codes=Codes(fit.codes.identity + 1, fit.codes.expression * 0))
    mesh = transferred_expression(model(), fit, other, skin)
    with torch.no_grad():
        expected = model().decode(Codes(fit.codes.identity, other.codes.expression))[0].double().numpy()
    np.testing.assert_array_equal(mesh.vertices, expected)
    assert mesh.vertex_attributes["red"][0] == 0.25
    assert not transferred_expression(model(), fit, other).vertex_attributes


def test_a_texture_of_other_vertices_or_impossible_weights_are_refused(fitted):
    with pytest.raises(UsageError, match="has 5 colors; wanted 1200"):
        transferred_texture(model(), fitted[2], VertexTexture(np.zeros((5, 3)), np.ones(5, bool)))
    with pytest.raises(UsageError, match=r"smooth is 0\.0; wanted a positive number"):
        TextureConfig(smooth=0.0)
