"""Generator and decoder."""

import pytest
import torch

from meshdisent.nn.decoders import Generator, RecoupledDecoder, published_decoder
from meshdisent.nn.recoupler import Recoupler


@pytest.fixture
def decoder():
    torch.manual_seed(3)
    return RecoupledDecoder(Recoupler(4, 3, 6), Generator(6, (8, 7), 5)).double()


def test_generator_is_a_chain_of_linear_layers_with_elu_between():
    torch.manual_seed(0)
    generator = Generator(3, (4,), 2)
    fused = torch.randn(5, 3)
    first, last = generator.net[0], generator.net[2]
    hidden = fused @ first.weight.T + first.bias
    hidden = torch.where(hidden > 0, hidden, hidden.exp() - 1)
    expected = (hidden @ last.weight.T + last.bias).reshape(5, 2, 3)
    torch.testing.assert_close(generator(fused), expected)


def test_generator_may_have_no_hidden_layer():
    generator = Generator(3, (), 2)
    assert [type(layer).__name__ for layer in generator.net] == ["Linear"]
    assert generator(torch.zeros(1, 3)).shape == (1, 2, 3)


def test_neutral_is_the_expression_code_zero(decoder):
    identity = torch.randn(2, 4, dtype=torch.float64)
    at_zero = decoder(identity, torch.zeros(2, 3, dtype=torch.float64))
    torch.testing.assert_close(decoder.neutral(identity), at_zero, rtol=1e-13, atol=1e-13)


def test_batch_order_does_not_matter(decoder):
    identity, expression = torch.randn(4, 4).double(), torch.randn(4, 3).double()
    order = torch.tensor([2, 0, 3, 1])
    torch.testing.assert_close(decoder(identity[order], expression[order]), decoder(identity, expression)[order])


def test_gradients_are_those_of_finite_differences(decoder):
    identity, expression = (torch.randn(2, size, dtype=torch.float64, requires_grad=True) for size in (4, 3))
    assert torch.autograd.gradcheck(decoder, (identity, expression), check_forward_ad=True)


def test_a_published_state_brings_its_widths(decoder):
    published = {name.replace("generator.", "gen_model."): value for name, value in decoder.state_dict().items()}
    again = published_decoder(published)
    codes = torch.randn(2, 4).double(), torch.randn(2, 3).double()
    assert torch.equal(again(*codes), decoder(*codes))
