"""The Re-coupler: its statistics, its slow twin, and numbers at the edge of what floats can hold."""

import math

import pytest
import torch

from meshdisent.nn.recoupler import Recoupler, coded_scores, exact_scores, normal_score_of_log

BOTH = pytest.mark.parametrize("exact", [False, True])


def codes(count, size, seed, dtype=torch.float64):
    return torch.randn(count, size, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@BOTH
def test_output_equals_a_loop_over_pairs(exact):
    recoupler = Recoupler(3, 2, 4, exact=exact).double()
    identity, expression = codes(2, 3, 0), codes(2, 2, 1)
    normal = torch.distributions.Normal(0.0, 1.0)
    slow = torch.zeros(2, 4, dtype=torch.float64)
    for scan in range(2):
        for k in range(4):
            length = recoupler.weight[k].square().sum().sqrt()
            for i in range(3):
                for j in range(2):
                    u, v = normal.cdf(identity[scan, i]), normal.cdf(expression[scan, j])
                    if not exact:
                        u, v = 0.9999 * u + 0.00005, 0.9999 * v + 0.00005
                    p = u * v
                    score = normal.icdf(p * (1 - torch.log(p if exact else p + 1e-5)))
                    slow[scan, k] += recoupler.weight[k, i, j] / length * score
    torch.testing.assert_close(recoupler(identity, expression), slow, rtol=1e-11, atol=1e-12)


@BOTH
def test_the_shortcut_to_the_neutral_is_the_expression_code_zero(exact):
    recoupler = Recoupler(4, 3, 5, exact=exact).double()
    identity = codes(3, 4, 0).requires_grad_()
    at_zero = recoupler(identity, torch.zeros(3, 3, dtype=torch.float64))
    torch.testing.assert_close(recoupler.neutral(identity), at_zero, rtol=1e-12, atol=1e-13)
    slopes = [
        torch.autograd.grad(out.square().sum(), (identity, recoupler.weight))
        for out in (recoupler.neutral(identity), at_zero)
    ]
    torch.testing.assert_close(slopes[0], slopes[1], rtol=1e-10, atol=1e-12)
    assert recoupler.bfloat16().neutral(identity.bfloat16()).dtype == torch.bfloat16


@BOTH
def test_gradients_are_those_of_finite_differences(exact):
    torch.manual_seed(1)
    recoupler = Recoupler(4, 3, 2, exact=exact).double()
    # Moderate codes, far ones, and both branches of the exact formula.
    identity = torch.cat([codes(2, 4, 2), torch.tensor([[-4.0, -2.0, 2.5, 4.0]]).double()]).requires_grad_()
    expression = torch.cat([codes(2, 3, 3), torch.tensor([[-3.0, 0.0, 3.0]]).double()]).requires_grad_()
    assert torch.autograd.gradcheck(recoupler, (identity, expression), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(recoupler, (identity, expression), atol=1e-4)


@BOTH
def test_reverse_over_forward_mode_is_the_derivative_of_the_forward_product(exact):
    recoupler = Recoupler(2, 3, 2, exact=exact).double()
    identity, expression = codes(2, 2, 4), codes(2, 3, 5).requires_grad_()
    direction = codes(2, 3, 6)

    def growth(expression):
        return torch.func.jvp(lambda code: recoupler(identity, code), (expression,), (direction,))[1]

    assert torch.autograd.gradcheck(growth, expression)


@BOTH
@pytest.mark.parametrize("learns", [True, False])
@pytest.mark.parametrize("is_recorded", [True, False])
def test_the_derivative_along_the_expression_code_is_that_of_forward_mode(exact, learns, is_recorded):
    recoupler = Recoupler(4, 3, 2, exact=exact).double()
    pair = [codes(5, size, seed).requires_grad_(learns) for size, seed in ((4, 7), (3, 8))]
    inverse = recoupler.inverse_lengths()
    plain = torch.func.jvp(lambda code: recoupler.fuse(pair[0], code, inverse), (pair[1],), (pair[1].detach(),))
    with torch.set_grad_enabled(is_recorded):
        found = recoupler.fuse_along(*pair, recoupler.inverse_lengths())
    torch.testing.assert_close(found, plain, rtol=1e-11, atol=1e-11)
    assert [value.requires_grad for value in found] == [is_recorded, is_recorded]
    if is_recorded:
        leaves = [*(pair if learns else []), recoupler.weight]
        slopes = [torch.autograd.grad(sum(v.pow(3).sum() for v in both), leaves) for both in (found, plain)]
        torch.testing.assert_close(*slopes, rtol=1e-9, atol=1e-9)


@BOTH
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_no_code_gives_an_infinite_score_or_gradient(exact, dtype):
    line = torch.tensor([-1e30, -100, -40, -30, -26.5, -12, -8, -5, -1, 0, 1, 5, 8, 12, 26.5, 30, 40, 100, 1e30])
    recoupler = Recoupler(len(line), len(line), 2, exact=exact).to(dtype)
    identity, expression = (line[None].to(dtype).requires_grad_() for _ in range(2))
    out = recoupler(identity, expression)
    out.sum().backward()
    tangent = torch.func.jvp(
        lambda code: recoupler(identity.detach(), code), (expression.detach(),), (torch.ones_like(expression),)
    )[1]
    for values in (recoupler.scores(identity, expression), out, identity.grad, expression.grad, tangent):
        assert values.isfinite().all()


@BOTH
def test_single_precision_agrees_with_double_up_to_12_standard_deviations(exact):
    recoupler = Recoupler(25, 25, 6, exact=exact)
    line = torch.linspace(-12, 12, 25)[None]
    single = recoupler(line, line)
    double = recoupler.double()(line.double(), line.double())
    assert (single - double).abs().max() < 2e-5


def test_coded_scores_stay_between_the_bounds_that_the_margin_sets():
    far = torch.tensor([[-50.0, 0.0, 50.0]])
    scores = coded_scores(far, far)
    assert scores.min().item() == pytest.approx(-5.4113, abs=1e-4)
    assert scores.max().item() == pytest.approx(4.2648, abs=1e-4)


def test_exact_scores_of_normal_codes_are_standard_normal():
    scores = exact_scores(codes(40_000, 1, 7), codes(40_000, 1, 8)).flatten()
    assert scores.mean().item() == pytest.approx(0, abs=0.02)
    assert scores.std().item() == pytest.approx(1, abs=0.02)
    uniform = torch.special.ndtr(scores).sort().values
    expected = (torch.arange(40_000) + 0.5) / 40_000
    assert (uniform - expected).abs().max() < 1.63 / math.sqrt(40_000)  # Kolmogorov's bound at 1 %


def test_exact_scores_are_smooth_where_the_formula_changes():
    log_product = torch.linspace(-1.0 - 1e-9, -1.0 + 1e-9, 5, dtype=torch.float64).requires_grad_()
    score = normal_score_of_log(log_product)
    slope = torch.autograd.grad(score.sum(), log_product)[0]
    assert (score - score[2]).abs().max() < 1e-8
    assert (slope - slope[2]).abs().max() < 1e-8


def test_exact_scores_increase_over_the_whole_line():
    line = torch.linspace(-25, 25, 2001, dtype=torch.float64)[:, None]
    scores = exact_scores(line, line).flatten()
    assert (scores.diff() > 0).all()


def test_each_output_entry_uses_weights_of_length_one():
    recoupler = Recoupler(5, 4, 3)
    before = recoupler(codes(2, 5, 9, torch.float32), codes(2, 4, 10, torch.float32))
    unit = recoupler.weight * recoupler.inverse_lengths()[:, None, None]
    torch.testing.assert_close(unit.flatten(start_dim=1).norm(dim=1), torch.ones(3))
    recoupler.weight.data *= 100
    torch.testing.assert_close(recoupler(codes(2, 5, 9, torch.float32), codes(2, 4, 10, torch.float32)), before)


def test_half_precision_codes_give_finite_output():
    recoupler = Recoupler(3, 3, 2).bfloat16()
    out = recoupler(*(torch.tensor([[-9.0, 0.0, 9.0]], dtype=torch.bfloat16),) * 2)
    assert out.dtype == torch.bfloat16
    assert out.isfinite().all()


def test_weights_begin_standard_normal():
    torch.manual_seed(0)
    weight = Recoupler(30, 30, 30).weight
    assert weight.mean().item() == pytest.approx(0, abs=0.02)
    assert weight.std().item() == pytest.approx(1, abs=0.02)
