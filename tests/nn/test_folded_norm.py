"""A layer with its batch norm folded in, against torch's three modules."""

import copy

import pytest
import torch
from torch import nn

from meshdisent.nn.folded_norm import largest_normalized, normalized_layer


@pytest.fixture
def layers():
    """Two equal pairs of layer and norm, in double precision; the norm turns some channels around."""
    linear, norm = nn.Linear(5, 7).double(), nn.BatchNorm1d(7).double()
    with torch.no_grad():
        norm.weight.uniform_(-1, 1)
        norm.bias.uniform_(-0.5, 0.5)
        norm.running_mean.uniform_(-1, 1)
    return (linear, norm), copy.deepcopy((linear, norm))


@pytest.mark.parametrize("count", [2, 4096, 9000])
@pytest.mark.parametrize("is_training", [True, False])
def test_layers_over_any_number_of_rows_are_those_of_torch(layers, count, is_training):
    rows, given = torch.randn(count, 5).double() + 3, torch.randn(count, 7).double()
    found = []
    for (linear, norm), is_ours in zip(layers, (True, False), strict=True):
        norm.train(is_training)
        shown = rows.clone().requires_grad_()
        out = normalized_layer(shown, linear, norm) if is_ours else torch.relu(norm(linear(shown)))
        (out * given).sum().backward()
        found.append([out, shown.grad, linear.weight.grad, norm.weight.grad, norm.bias.grad, *norm.buffers()])
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("function", ["layer", "largest"])
def test_gradients_are_those_of_finite_differences(layers, function):
    (linear, norm), _ = layers
    shape = (6, 5) if function == "layer" else (2, 4, 5)
    call = normalized_layer if function == "layer" else largest_normalized

    def value(points, weight, gain, shift):
        layer, scaling = copy.deepcopy(linear), copy.deepcopy(norm)
        for module, name, tensor in ((layer, "weight", weight), (scaling, "weight", gain), (scaling, "bias", shift)):
            del module._parameters[name]
            setattr(module, name, tensor)
        return call(points, layer, scaling)

    leaves = [torch.randn(shape).double(), linear.weight, norm.weight, norm.bias]
    assert torch.autograd.gradcheck(value, [leaf.detach().clone().requires_grad_() for leaf in leaves])


def test_a_bias_before_a_norm_has_the_gradient_zero_so_that_weight_decay_finds_it(layers):
    (linear, norm), _ = layers
    normalized_layer(torch.randn(9, 5).double(), linear, norm).sum().backward()
    assert torch.equal(linear.bias.grad, torch.zeros(7).double())


def test_rows_that_want_no_gradient_cost_none(layers):
    (linear, norm), _ = layers
    rows = torch.randn(9, 5).double()
    normalized_layer(rows, linear, norm).sum().backward()
    assert rows.grad is None
    assert linear.weight.grad is not None


def test_evaluation_mode_can_be_differentiated_forwards(layers):
    (linear, norm), _ = layers
    norm.eval()
    rows = torch.randn(2, 9, 5).double()
    value, slope = torch.func.jvp(lambda x: normalized_layer(x.flatten(0, 1), linear, norm), (rows,), (rows,))
    step = 1e-6
    after = normalized_layer((rows * (1 + step)).flatten(0, 1), linear, norm)
    torch.testing.assert_close(slope, (after - value) / step, rtol=1e-4, atol=1e-4)
