"""Left and right of a shape move their own side, and together they are the model's face."""

import numpy as np
import pytest
import torch

from meshdisent import load
from meshdisent.export.rig import make_rig
from meshdisent.export.sequence import perform
from meshdisent.export.targets import apple_codes
from meshdisent.morphable.contract import Codes


@pytest.fixture(scope="module")
def model():
    return load("wsdf-ict")


@pytest.fixture(scope="module")
def rig(model):
    names = ("eyeBlinkLeft", "eyeBlinkRight", "mouthSmileLeft", "mouthSmileRight", "jawLeft", "jawRight", "jawOpen")
    codes = apple_codes(model)
    return make_rig(model, "mean", {name: codes[name] for name in names})


def moved(rig, name):
    return np.linalg.norm(rig.displacements[rig.names.index(name)], axis=1)


@pytest.mark.parametrize("shape", ["eyeBlink", "mouthSmile"])
def test_a_side_moves_itself_and_leaves_the_other(model, rig, shape):
    x = model.topology.template[:, 0]
    for side, own in (("Left", x > 30), ("Right", x < -30)):
        other = np.abs(x) > 30
        other &= ~own
        assert moved(rig, shape + side)[own].max() > 3.0
        assert moved(rig, shape + side)[other].max() < 0.05 * moved(rig, shape + side)[own].max()


def test_both_sides_together_are_the_models_face(model, rig):
    codes, person = apple_codes(model), model.prior().identity_mean[None]
    with torch.no_grad():
        wanted = model.decode(Codes(person, (codes["eyeBlinkLeft"] + codes["eyeBlinkRight"])[None]))[0].numpy()
    np.testing.assert_allclose(rig.face({"eyeBlinkLeft": 1.0, "eyeBlinkRight": 1.0}), wanted, atol=1e-3)
    assert rig.errors.alone.worst_mm < 1e-3


def test_what_moves_to_a_side_as_a_whole_is_no_pair(model, rig):
    codes, person = apple_codes(model), model.prior().identity_mean[None]
    with torch.no_grad():
        wanted = model.decode(Codes(person, codes["jawLeft"][None]))[0].numpy()
    np.testing.assert_allclose(rig.face({"jawLeft": 1.0}), wanted, atol=1e-3)


def test_a_sequence_winks_like_the_rig(model, rig):
    codes = {name: apple_codes(model)[name] for name in rig.names}
    weights = np.zeros((1, len(rig.names)))
    weights[0, rig.names.index("eyeBlinkLeft")] = 1.0
    np.testing.assert_allclose(perform(model, "mean", codes, weights)[0], rig.face({"eyeBlinkLeft": 1.0}), atol=1e-3)
