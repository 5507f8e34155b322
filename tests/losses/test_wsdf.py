"""The loss terms of WSDF against slow twins, full Jacobians and finite differences."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.losses.wsdf import (
    compactness,
    consistency,
    displacement,
    jacobian_growth,
    jacobian_hinge,
    neutralization,
    pairwise_log_density,
    published_pairing,
)
from meshdisent.nn.decoders import Generator, RecoupledDecoder
from meshdisent.nn.recoupler import Recoupler


def random(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, generator=generator, dtype=torch.float64).requires_grad_()


@pytest.fixture
def decoder():
    torch.manual_seed(0)
    return RecoupledDecoder(Recoupler(4, 3, 6), Generator(6, (8,), 5)).double()


def test_neutralization_weighs_each_scan_by_its_confidence():
    made, bank, confidence = random(2, 4, 3), random(2, 4, 3, seed=1), torch.tensor([0.25, 1.0]).double()
    expected = (0.25 * (made[0] - bank[0]).square().sum() + (made[1] - bank[1]).square().sum()) / 2
    torch.testing.assert_close(neutralization(made, bank, confidence), expected)


def test_displacement_does_not_ask_who_it_is():
    decoded, shown, neutral, at_rest = (random(3, 4, 3, seed=seed) for seed in range(4))
    expected = ((decoded - neutral) - (shown - at_rest)).square().sum() / 3
    torch.testing.assert_close(displacement(decoded, shown, neutral, at_rest), expected)
    person = random(3, 4, 3, seed=9)
    torch.testing.assert_close(displacement(decoded, shown + person, neutral, at_rest + person), expected)


def test_consistency_measures_each_person_about_its_own_mean():
    made = random(7, 4, 3)
    expected = sum((scan - own.mean(0)).square().sum() for own in (made[:3], made[3:6]) for scan in own)
    torch.testing.assert_close(consistency(made, 3), expected / 6)
    assert torch.equal(consistency(made[:6], 3), consistency(made, 3)), "the rest at the end does not count"
    person = random(2, 4, 3, seed=1).repeat_interleave(3, dim=0)
    torch.testing.assert_close(consistency(made[:6] + person, 3), consistency(made, 3))
    assert consistency(person, 3) < 1e-30
    assert consistency(made, 1) == 0
    assert consistency(made[:2], 3) == 0, "not even one whole person"


def test_consistency_has_the_gradient_of_finite_differences():
    assert torch.autograd.gradcheck(lambda x: consistency(x, 2), random(5, 2, 3))
    assert torch.autograd.gradgradcheck(lambda x: consistency(x, 2), random(5, 2, 3))


def test_neutralization_sends_no_gradient_to_the_bank():
    made, bank = random(2, 4, 3), random(2, 4, 3, seed=1)
    neutralization(made, bank, torch.ones(2).double()).backward()
    assert bank.grad is None
    assert torch.autograd.gradcheck(lambda x: neutralization(x, bank, torch.ones(2).double()), made)


def test_compactness_equals_the_density_of_torch():
    mean, log_variance, noise = random(4, 3), random(4, 3, seed=1), random(4, 3, seed=2)
    codes = mean + (log_variance / 2).exp() * noise
    posteriors = torch.distributions.Normal(mean, (log_variance / 2).exp())
    expected = torch.stack([posteriors.log_prob(code).sum(1) for code in codes])
    torch.testing.assert_close(pairwise_log_density(mean, log_variance, noise), expected)
    torch.testing.assert_close(compactness(mean, log_variance, noise), expected.exp().sum(1).log().sum())


def test_compactness_stays_finite_for_posteriors_far_apart_and_narrow():
    mean = torch.tensor([[0.0], [1e3]]).requires_grad_()
    log_variance = torch.full((2, 1), -20.0).requires_grad_()
    value = compactness(mean, log_variance, torch.ones(2, 1))
    value.backward()
    assert all(x.isfinite().all() for x in (value, mean.grad, log_variance.grad))


def test_compactness_has_the_gradient_of_finite_differences():
    assert torch.autograd.gradcheck(compactness, (random(3, 2), random(3, 2, seed=1), random(3, 2, seed=2)))


def test_published_pairing_repeats_each_anchor_in_a_row():
    codes = torch.arange(8.0)[:, None].expand(8, 2)
    assert published_pairing(codes)[:, 0].tolist() == [0, 0, 0, 0, 1, 1, 1, 1]
    assert published_pairing(codes, group=2)[:, 1].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]


def test_growth_equals_the_full_jacobian(decoder):
    identity, expression = random(3, 4), random(3, 3, seed=1)
    growth, code_square = jacobian_growth(decoder, identity, expression)
    displacement = decoder(identity, expression) - decoder.neutral(identity)
    for scan in range(3):
        jacobian = torch.func.jacrev(lambda e, i: decoder(i[None], e[None])[0])(expression[scan], identity[scan])
        expected = (displacement[scan] * (jacobian @ expression[scan])).sum()
        torch.testing.assert_close(growth[scan], expected)
        torch.testing.assert_close(code_square[scan], expression[scan].square().sum())


def test_growth_is_half_the_slope_of_the_squared_displacement_along_the_code(decoder):
    identity, expression = random(3, 4), random(3, 3, seed=1)

    def squared(scale):
        moved = decoder(identity, scale * expression) - decoder.neutral(identity)
        return moved.square().sum(dim=(1, 2))

    step = 1e-5
    slope = (squared(1 + step) - squared(1 - step)) / (2 * step)
    torch.testing.assert_close(jacobian_growth(decoder, identity, expression)[0], slope / 2, rtol=1e-7, atol=1e-9)


def test_growth_has_the_gradient_of_finite_differences_for_identity_and_parameters(decoder):
    identity, expression = random(2, 4), random(2, 3, seed=1).detach()
    assert torch.autograd.gradcheck(lambda i: jacobian_growth(decoder, i, expression)[0], identity)
    weight = decoder.generator.net[0].weight
    growth = jacobian_growth(decoder, identity.detach(), expression)[0].sum()
    slope = torch.autograd.grad(growth, weight)[0][2, 1]
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            weight[2, 1] += sign * 1e-5
            values.append(jacobian_growth(decoder, identity.detach(), expression)[0].sum())
            weight[2, 1] -= sign * 1e-5
    torch.testing.assert_close(slope, (values[0] - values[1]) / 2e-5, rtol=1e-6, atol=1e-8)


def test_growth_treats_the_code_that_multiplies_the_jacobian_as_a_constant(decoder):
    identity, expression = random(2, 4), random(2, 3, seed=1)
    fixed = expression.detach().clone()

    def with_fixed_direction(code):
        decoded, along = torch.func.jvp(lambda e: decoder(identity, e), (code,), (fixed,))
        return ((decoded - decoder.neutral(identity)) * along).sum()

    growth, code_square = jacobian_growth(decoder, identity, expression)
    expected = torch.autograd.grad(with_fixed_direction(expression), expression)[0]
    torch.testing.assert_close(torch.autograd.grad(growth.sum(), expression)[0], expected)
    assert not code_square.requires_grad


def test_growth_at_rest_is_zero(decoder):
    growth, code_square = jacobian_growth(decoder, random(2, 4), torch.zeros(2, 3).double())
    assert growth.abs().max() < 1e-12
    assert code_square.tolist() == [0, 0]


def test_hinge_equals_the_largest_of_three_terms():
    growth, code_square = 5 * random(50).detach(), random(50, seed=1).detach().square()
    slow, fast = -growth, growth - 2.0 * code_square
    expected = torch.stack([torch.zeros(50), slow, fast]).max(0).values.mean()
    torch.testing.assert_close(jacobian_hinge(growth, code_square, upper=2.0), expected)


def test_hinge_is_zero_between_its_limits():
    growth, code_square = torch.tensor([1.0, 2.0]), torch.tensor([1.0, 1.0])
    assert jacobian_hinge(growth, code_square, upper=2.0, lower=1.0).item() == 0
    assert jacobian_hinge(growth, code_square, upper=1.5, lower=1.25).item() == pytest.approx(0.375)


def test_hinge_has_the_gradient_of_finite_differences():
    growth, code_square = 5 * random(20), random(20, seed=1).detach().square()
    assert torch.autograd.gradcheck(lambda q: jacobian_hinge(q, code_square, upper=2.0, lower=0.5), growth)


@pytest.mark.parametrize("lower", [1.0, 2.0])
def test_limits_that_leave_no_room_are_refused(lower):
    with pytest.raises(RecipeError, match="lower < upper"):
        jacobian_hinge(torch.zeros(1), torch.zeros(1), upper=1.0, lower=lower)
