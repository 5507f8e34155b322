"""Standard normal numbers to codes and faces, and how faces move with them."""

import numpy as np
import pytest
import torch

from meshdisent.errors import ModelFileError
from meshdisent.fitting.code_space import USUAL_MISFIT_MM, CodeSpace


def test_no_numbers_are_the_mean_codes_and_one_number_moves_along_the_factor(linear):
    space, prior = CodeSpace(linear), linear.prior()
    numbers = np.zeros((2, space.size))
    numbers[1, 3] = 2.0
    codes = space.codes(numbers)
    assert torch.equal(codes.identity[0], prior.identity_mean)
    assert torch.equal(codes.expression[1], prior.expression_mean)
    torch.testing.assert_close(codes.identity[1], prior.identity_mean + 2 * prior.identity_factor[:, 3])


def test_the_jacobian_of_a_linear_model_is_its_bases_in_deviations(linear):
    space, prior = CodeSpace(linear), linear.prior()
    expected = torch.cat(
        [prior.identity_factor.T @ linear.identity_basis, prior.expression_factor.T @ linear.expression_basis]
    )
    found = space.jacobian(np.full(space.size, 0.7))
    np.testing.assert_allclose(found, expected.T.double().numpy(), atol=2e-3)
    assert space.jacobian(np.zeros(space.size)) is found


def test_the_jacobian_is_that_of_reverse_mode(heads):
    from meshdisent.morphable.multilinear import MultilinearConfig, MultilinearModel

    space = CodeSpace(MultilinearModel.fit(heads, MultilinearConfig(identity_size=4, expression_size=3)))
    at = np.linspace(-1, 1, space.size)

    def face(numbers):
        return space.model.decode(space.codes_of(numbers[None]))[0].flatten()

    exact = torch.autograd.functional.jacobian(face, torch.from_numpy(at).float())
    np.testing.assert_allclose(space.jacobian(at), exact.double().numpy(), atol=5e-3)


def test_the_misfit_is_that_of_the_card_or_a_usual_one(linear, monkeypatch):
    monkeypatch.setattr(linear.card, "metrics", {})
    assert CodeSpace(linear).misfit_mm == USUAL_MISFIT_MM
    monkeypatch.setattr(linear.card, "metrics", {"E_avd": {"mean": 1.596}})
    assert CodeSpace(linear).misfit_mm == pytest.approx(1.0)


def test_a_model_that_gives_no_numbers_is_told(linear, monkeypatch):
    space = CodeSpace(linear)
    monkeypatch.setattr(linear, "decode", lambda codes: torch.full((len(codes.identity), 1200, 3), torch.nan))
    with pytest.raises(ModelFileError, match="not finite; wanted millimeters"):
        space.face(np.zeros(space.size))
