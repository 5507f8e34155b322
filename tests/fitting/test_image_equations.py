"""Slopes against differences."""

import numpy as np
import pytest
import torch
from small_photos import model, picture

from meshdisent.errors import DataError, UsageError
from meshdisent.fitting.appearance import likely_light, smooth_albedo
from meshdisent.fitting.image_equations import ImageProblem, Trust
from meshdisent.fitting.image_solver import descend
from meshdisent.fitting.image_state import FaceMaker, ImageState, turned
from meshdisent.fitting.image_windows import windows_of

STEP = 1e-3


@pytest.fixture(scope="module")
def problem():
    photos = [picture()[0], picture(yaw=0.0)[0]]
    rows = dict(zip(photos[0].landmarks, (421, 181, 424, 182, 658, 668, 701, 689, 596), strict=True))
    maker = FaceMaker(model(), smooth_albedo(model().topology))
    return ImageProblem(maker, windows_of(photos, rows, [64]), Trust(), is_sequence=True)


@pytest.fixture(scope="module")
def state(problem):
    g = torch.Generator().manual_seed(0)
    return ImageState(
        identity=0.5 * torch.randn(128, generator=g),
        albedo=0.5 * torch.randn(len(problem.maker.albedo.basis), generator=g),
        expression=0.5 * torch.randn(2, 32, generator=g),
        rotation=turned(torch.tensor([[0.1, 0.3, 0.05], [0.12, 0.26, 0.05]])),
        place=torch.tensor([[0.01, 0.02, 0.0], [0.0, 0.0, 0.1]]),
        light=likely_light(torch.zeros(1)) + 0.1 * torch.randn(2, 9, 3, generator=g),
    )


def _direction(state, part):
    size, shared = state.expression.shape[1], state.shared
    ranges = {
        "identity": range(128), "albedo": range(128, shared), "expression": range(shared, shared + size),
        "turn": range(shared + size, shared + size + 3), "place": range(shared + size + 3, shared + size + 6),
        "light": range(shared + size + 6, shared + state.own),
    }  # fmt: skip
    along = np.zeros(shared + 2 * state.own)
    along[list(ranges[part])] = np.random.default_rng(3).normal(size=len(ranges[part]))
    return along


@pytest.mark.parametrize("part", ["identity", "albedo", "expression", "turn", "place", "light"])
def test_pixels_that_keep_their_face_change_as_their_slopes_say(problem, state, part):
    along = _direction(state, part)
    shear = problem.windows.shear[0]
    surface = problem.maker.surface(state, 0, shear, "all")
    seen = problem._seen(surface, 64)
    count = int(seen.is_seen.sum())
    slopes = problem._pixel_slopes(surface, seen, np.arange(count), np.ones(count)).reshape(count, 3, -1)
    sides = []
    for sign in (1, -1):
        moved = problem.maker.surface(state.moved(torch.from_numpy(sign * STEP * along)), 0, shear)
        fragments = problem._seen(moved, 64)
        sides.append((fragments.face[0], fragments.interpolate(moved.colors[None])[0]))
    same = ((sides[0][0] == seen.face[0]) & (sides[1][0] == seen.face[0]))[seen.is_seen[0]].numpy()
    expected = ((sides[0][1] - sides[1][1]) / (2 * STEP))[seen.is_seen[0]].numpy()[same]
    found = (slopes @ along[: slopes.shape[2]])[same]
    assert same.mean() > 0.5
    assert np.abs(found - expected).mean() < 0.02 * np.abs(expected).mean()


@pytest.mark.parametrize("part", ["identity", "expression", "turn", "place", "light"])
def test_landmarks_and_what_is_likely_have_the_slope_of_their_cost(problem, state, part):
    along = _direction(state, part)
    found = problem.equations(state, None).slope @ along
    ahead, behind = (problem.cost(state.moved(torch.from_numpy(sign * STEP * along)), None) for sign in (1, -1))
    assert found == pytest.approx((ahead - behind) / (2 * STEP), rel=0.05, abs=0.5)


def test_walking_downhill_never_raises_the_cost_and_gains_most_at_first(problem, state):
    alone = ImageProblem(problem.maker, problem.windows.one(0), problem.trust)
    begin = alone.cost(state.one(0), 64)
    once, first = descend(alone, state.one(0), 64, 1)
    _, more = descend(alone, once, 64, 2)
    assert more <= first < begin
    assert first == pytest.approx(alone.cost(once, 64))


def test_trust_that_makes_no_sense_is_refused():
    with pytest.raises(UsageError, match=r"color is 0\.0; wanted a positive number"):
        Trust(color=0.0)
    with pytest.raises(UsageError, match="wanted four positive numbers"):
        Trust(smooth=(1.0, 1.0, 0.0, 1.0))


def test_landmarks_with_too_few_common_names_are_refused():
    photo = picture()[0]
    with pytest.raises(DataError, match=r"share 1 names\s+with the template \(tip of the nose\); wanted 3 or more"):
        windows_of([photo], {"tip of the nose": 596}, [64])
