"""Expression codes of known shapes: the true codes where they are known, the closed form of a linear model."""

import pytest
import torch

from meshdisent.errors import ModelFileError, UsageError
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.linear import LinearModel
from meshdisent.morphable.shape_codes import PRIOR_WEIGHT, expression_scale, solve_expression_codes
from meshdisent.morphable.wsdf import WSDF

TRUE = {"smile": [0.7, -0.4], "frown": [-1.1, 0.3], "open": [0.2, 1.3]}


@pytest.fixture(scope="module")
def linear(tiny_scans, tiny_config):
    return LinearModel.fit(tiny_scans, tiny_config["linear"])


@pytest.fixture(scope="module")
def deep(tiny_scans, tiny_config):
    """A network with large random weights: far from linear."""
    torch.manual_seed(3)
    model = WSDF.for_training(tiny_config["wsdf"], tiny_scans).eval()
    with torch.no_grad():
        for weights in model.decoder.parameters():
            weights.mul_(2.5)
    return model


@torch.no_grad()
def shapes(model, identity):
    person, rest = identity[None], model.neutral(identity[None])[0]
    return {name: model.decode(Codes(person, torch.tensor([code])))[0] - rest for name, code in TRUE.items()}


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_true_codes_are_recovered_on_anybody(kind, request):
    model = request.getfixturevalue(kind)
    for identity in (model.prior().identity_mean, torch.tensor([0.5, -1.0, 0.3])):
        found = solve_expression_codes(model, shapes(model, identity), identity, weight=1e-9)
        for name, code in TRUE.items():
            torch.testing.assert_close(found.codes[name], torch.tensor(code), rtol=0, atol=1e-3)
            assert found.residual_mm[name] < 1e-3 < found.size_mm[name]


@torch.no_grad()
def test_the_network_of_the_test_is_not_linear(deep):
    """Otherwise recovering its codes would show nothing that the linear model does not."""
    moved = shapes(deep, deep.prior().identity_mean)
    person, rest = deep.prior().identity_mean[None], deep.neutral(deep.prior().identity_mean[None])[0]
    twice = deep.decode(Codes(person, 2 * torch.tensor([TRUE["smile"]])))[0] - rest
    assert (twice - 2 * moved["smile"]).norm() > 0.2 * moved["smile"].norm()


@pytest.mark.parametrize("weight", [PRIOR_WEIGHT, 0.3])
def test_a_linear_model_has_a_closed_form(linear, tiny_scans, weight):
    wanted = torch.randn(162, 3, generator=torch.Generator().manual_seed(1))
    found = solve_expression_codes(linear, {"any": wanted}, weight=weight)
    basis, scale = linear.expression_basis.double(), expression_scale(linear).double()
    normal = basis @ basis.T / 162 + weight * torch.diag(scale**-2)
    code = torch.linalg.solve(normal, basis @ wanted.double().flatten() / 162)
    torch.testing.assert_close(found.codes["any"].double(), code, rtol=1e-4, atol=1e-6)
    moved = (code @ basis).unflatten(0, (-1, 3))
    assert found.residual_mm["any"] == pytest.approx(float((3 * (moved - wanted).square().mean()).sqrt()), rel=1e-5)
    assert found.size_mm["any"] == pytest.approx(float((3 * wanted.square().mean()).sqrt()), rel=1e-6)
    assert found.deviations["any"] == pytest.approx(float((code / scale).square().mean().sqrt()), rel=1e-4)


@pytest.mark.parametrize("kind", ["linear", "deep"])
def test_more_weight_means_smaller_codes_and_a_worse_fit(kind, request):
    model = request.getfixturevalue(kind)
    moved = shapes(model, model.prior().identity_mean)
    tight, loose = (solve_expression_codes(model, moved, weight=weight) for weight in (1e-9, 10.0))
    for name in TRUE:
        assert loose.deviations[name] < 0.9 * tight.deviations[name]
        assert loose.residual_mm[name] > tight.residual_mm[name]


@torch.no_grad()
def test_the_scale_is_the_root_mean_square_of_the_training_codes(linear, tiny_scans):
    codes = linear.encode(torch.from_numpy(tiny_scans.vertices(tiny_scans.rows("train")))).expression
    torch.testing.assert_close(expression_scale(linear), codes.square().mean(dim=0).sqrt(), rtol=0.05, atol=0)


def test_nothing_is_done_for_a_shape_that_moves_nothing(deep):
    found = solve_expression_codes(deep, {"pupil": torch.zeros(162, 3)})
    assert found.codes["pupil"].abs().max() < 1e-5
    assert found.residual_mm["pupil"] < 1e-4


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        (torch.zeros(161, 3), r"The shape jawOpen is an array of shape \(161, 3\); wanted \(162, 3\) finite"),
        (torch.full((162, 3), torch.nan), r"of shape \(162, 3\) with numbers that are not finite; wanted"),
    ],
)
def test_what_is_no_displacement_is_refused(linear, shape, message):
    with pytest.raises(UsageError, match=message):
        solve_expression_codes(linear, {"jawOpen": shape})


def test_an_identity_code_of_the_wrong_size_is_refused(linear):
    with pytest.raises(UsageError, match=r"The identity code has shape \(1, 4\)"):
        solve_expression_codes(linear, {}, torch.zeros(4))


def test_a_broken_model_is_refused(tiny_scans, tiny_config):
    model = LinearModel.fit(tiny_scans, tiny_config["linear"])
    model.expression_basis[0, 0] = torch.nan
    with pytest.raises(ModelFileError, match="gives coordinates that are not finite"):
        solve_expression_codes(model, {"jawOpen": torch.ones(162, 3)})
