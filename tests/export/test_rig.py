"""Linear rigs of a model that is linear, and of one that is not."""

import numpy as np
import pytest
import torch

from meshdisent.errors import UsageError
from meshdisent.export.rig import make_rig, read_subject
from meshdisent.export.sequence import perform
from meshdisent.morphable.contract import Codes


def test_each_target_alone_is_the_models_face(bent, rig):
    person = bent.prior().identity_mean[None]
    for number, name in enumerate(rig.names):
        wanted = bent.decode(Codes(person, bent.named_expressions[name][None]))[0].detach()
        np.testing.assert_allclose(rig.pose(np.eye(3)[[number]])[0], wanted.numpy(), atol=2e-5)
    assert rig.errors.alone.worst_mm < 1e-4
    np.testing.assert_allclose(rig.pose(np.zeros((1, 3)))[0], bent.neutral(person)[0].detach().numpy(), atol=2e-5)


def test_the_error_at_half_weight_is_that_of_the_bend(rig):
    # The bend of an entry c is c^2 / 2 mm along x: at half weight c^2 / 8, in the rig half of the whole, c^2 / 4.
    assert rig.errors.half.worst_mm == pytest.approx(0.5, abs=1e-4)  # "first" has c = 2
    assert rig.errors.half.worst == ("first",)
    assert rig.errors.half.mean_mm == pytest.approx((4 + 0 + 1) / 8 / 3, abs=1e-4)


def test_the_error_of_several_targets_is_what_their_product_bends(rig):
    # "first" and "both" have 2 and 1: together (3^2 - 2^2 - 1^2) / 2 = 2 mm.
    assert rig.errors.together.worst_mm == pytest.approx(2.0, abs=1e-4)
    assert {"first", "both"} <= set(rig.errors.together.worst)
    assert rig.errors.together.mean_mm < rig.errors.together.motion_mm


def test_a_linear_models_rig_loses_nothing(linear):
    codes = {"smile": torch.ones(linear.expression_size), "frown": -torch.ones(linear.expression_size)}
    errors = make_rig(linear, "mean", codes).errors
    assert max(errors.alone.worst_mm, errors.half.worst_mm, errors.together.worst_mm) < 1e-3
    assert errors.half.motion_mm > 0.1


def test_words_and_numbers_say_the_same(rig):
    words, numbers = rig.errors.in_words(), rig.errors.as_numbers()
    assert "at half weight" in words
    assert "0.500" in words
    assert "(first)" in words
    assert numbers["half"]["worst_mm"] == rig.errors.half.worst_mm
    assert numbers["together"]["worst"] == list(rig.errors.together.worst)


def test_detail_that_the_codes_cannot_say_is_kept_at_rest_and_not_in_the_targets(bent, scans):
    bump = scans.vertices(np.array([0]))[0].copy()
    bump[7] += 5.0
    plain, kept = (make_rig(bent, bump, bent.named_expressions, keep_detail=keep) for keep in (False, True))
    assert np.array_equal(plain.displacements, kept.displacements)
    _, detail = read_subject(bent, bump, keep_detail=True)
    np.testing.assert_allclose(kept.neutral - plain.neutral, detail.numpy(), atol=1e-4)
    assert np.abs(detail[7].numpy()).max() > 2.0


def test_a_sequence_is_decoded_by_the_model_where_the_rig_is_off(bent, rig):
    weights = np.array([[0.5, 0.0, 0.0], [1.0, 0.0, 1.0]])
    gap = np.linalg.norm(perform(bent, "mean", bent.named_expressions, weights) - rig.pose(weights), axis=2)
    np.testing.assert_allclose(gap[0], 0.5, atol=1e-4)
    np.testing.assert_allclose(gap[1], 2.0, atol=1e-4)


def test_weights_by_name_are_columns(rig):
    wanted = rig.pose(np.array([[0.0, 0.25, 1.0]]))[0]
    assert np.array_equal(rig.face({"both": 1.0, "second": 0.25}), wanted)
    with pytest.raises(UsageError, match="no target 'third'; it has 3: first, second, both"):
        rig.face({"third": 1.0})


def test_what_has_no_rig_is_refused(bent, scans):
    with pytest.raises(UsageError, match="got no target; wanted at least one"):
        make_rig(bent, "mean", {})
    with pytest.raises(UsageError, match="The mean of all subjects has no detail to keep"):
        make_rig(bent, "mean", bent.named_expressions, keep_detail=True)
    with pytest.raises(UsageError, match="2 scans were given for one rig; wanted one"):
        make_rig(bent, scans.vertices(np.array([0, 1])), bent.named_expressions)
    with pytest.raises(UsageError, match=r"weights of shape \(1, 2\) for 3 expressions"):
        perform(bent, "mean", bent.named_expressions, np.zeros((1, 2)))
    bent.identity_size = 0
    with pytest.raises(UsageError, match="does not separate identity from expression, so it has no rig"):
        make_rig(bent, "mean", bent.named_expressions)
