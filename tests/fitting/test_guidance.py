"""Scores whose best face is known."""

import pytest
import torch
from small_photos import model

from meshdisent.errors import UsageError
from meshdisent.fitting.guidance import GuidanceConfig, HeadPictures, guide
from meshdisent.morphable.contract import Codes

FRONT = GuidanceConfig(steps=60, views=1, size=48, yaw=0.0, pitch=0.0, prior=1e-3)


@pytest.fixture(scope="module")
def wanted():
    """A picture of known codes, and their face."""
    prior = model().prior()
    whitened = torch.zeros(1, 128)
    whitened[0, :4] = torch.tensor([2.0, -1.5, 1.0, 1.5])
    identity = prior.identity_mean + whitened @ prior.identity_factor.T
    with torch.no_grad():
        vertices = model().decode(Codes(identity, prior.expression_mean[None]))[0]
        scene = HeadPictures(model(), 48)
        colors = torch.tensor([0.67, 0.49, 0.39]).expand(1200, 3)
        shown = scene.draw(vertices, colors, torch.zeros(1, 3), torch.zeros(1, 3))
    return shown, vertices


def test_codes_are_led_to_the_picture_of_known_codes(wanted):
    shown, vertices = wanted

    def score(pictures, generator):
        return 500 * (pictures - shown)[:, :, 12:34, 16:32].square().mean()  # inside the face

    found = guide(model(), score, GuidanceConfig(**(vars(FRONT) | {"color": False})))
    with torch.no_grad():
        prior = model().prior()
        begin = model().decode(Codes(prior.identity_mean[None], prior.expression_mean[None]))[0]
    front = vertices[:, 2] > 60
    reached = (torch.from_numpy(found.mesh.vertices) - vertices)[front].norm(dim=1).mean()
    assert found.scores[-1] < 0.35 * found.scores[0]
    assert reached < 0.85 * (begin - vertices)[front].norm(dim=1).mean()


def test_colors_are_led_to_the_color_that_a_score_likes():
    def score(pictures, generator):
        lit = pictures[:, :, 18:30, 18:30]  # in the middle of the face
        return (lit[:, 0] - 0.2).square().mean() + (lit[:, 2] - 0.7).square().mean()

    config = GuidanceConfig(**(vars(FRONT) | {"shape": False, "steps": 30, "views": 2, "learning_rate": 0.1}))
    found = guide(model(), score, config)
    nose = int(model().topology.template[:, 2].argmax())
    assert float(found.colors[nose, 0]) < 0.35
    assert float(found.colors[nose, 2]) > 0.6
    assert not found.whitened.identity.any()
    again = guide(model(), score, config)
    assert torch.equal(again.colors, found.colors)


def test_views_turn_the_head_and_backgrounds_differ():
    pictures = []

    def score(shown, generator):
        pictures.append(shown.detach())
        return shown.mean()

    guide(model(), score, GuidanceConfig(steps=1, views=3, size=16))
    corners = pictures[0][:, :, 0, 0]
    assert len({round(float(corner[0]), 4) for corner in corners}) == 3
    assert torch.equal(corners[:, 0], corners[:, 1])
    assert (pictures[0][0] - pictures[0][1]).abs().max() > 0.05


def test_scores_and_settings_that_cannot_work_are_refused():
    with pytest.raises(UsageError, match=r"The score gave .* wanted one finite number"):
        guide(model(), lambda pictures, generator: pictures.mean() / 0, GuidanceConfig(steps=1, size=8))
    with pytest.raises(UsageError, match="gradients: False"):
        guide(model(), lambda pictures, generator: torch.tensor(1.0), GuidanceConfig(steps=1, size=8))
    with pytest.raises(UsageError, match="Neither shape nor color"):
        GuidanceConfig(shape=False, color=False)
    with pytest.raises(UsageError, match="steps is 0; wanted at least 1"):
        GuidanceConfig(steps=0)
    with pytest.raises(UsageError, match="at least 8 pixels"):
        GuidanceConfig(size=4)
    with pytest.raises(UsageError, match="must be 0 or more"):
        GuidanceConfig(yaw=-1.0)
    with pytest.raises(UsageError, match=r"have shape \(2, 3\); wanted \(1200, 3\)"):
        guide(model(), lambda pictures, generator: pictures.mean(), colors=torch.zeros(2, 3))
