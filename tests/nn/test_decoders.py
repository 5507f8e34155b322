"""Generator and decoder."""

import pytest
import torch

from meshdisent.nn.additive import AdditiveDecoder
from meshdisent.nn.decoders import AddedDecoder, Generator, RecoupledDecoder, published_decoder
from meshdisent.nn.recoupler import Recoupler


def recoupled(identity_size, expression_size, vertex_count):
    return RecoupledDecoder(Recoupler(identity_size, expression_size, 6), Generator(6, (8, 7), vertex_count)).double()


def added(identity_size, expression_size, vertex_count):
    return AddedDecoder(AdditiveDecoder(identity_size, expression_size, (8, 7), vertex_count)).double()


KINDS = pytest.mark.parametrize("kind", [recoupled, added])


@pytest.fixture(params=[recoupled, added])
def decoder(request):
    torch.manual_seed(3)
    return request.param(4, 3, 5)


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


def test_a_published_state_brings_its_widths():
    decoder = recoupled(4, 3, 5)
    published = {name.replace("generator.", "gen_model."): value for name, value in decoder.state_dict().items()}
    again = published_decoder(published)
    codes = torch.randn(2, 4).double(), torch.randn(2, 3).double()
    assert torch.equal(again(*codes), decoder(*codes))


@KINDS
@pytest.mark.parametrize("has_neutral", [True, False])
@pytest.mark.parametrize("has_pairs", [True, False])
def test_all_at_once_is_what_the_single_calls_give_gradients_included(kind, has_neutral, has_pairs):
    decoder = kind(3, 2, 7)
    codes = [torch.randn(4, size, dtype=torch.float64, requires_grad=True) for size in (3, 2)]
    pairs = [torch.randn(6, size, dtype=torch.float64) for size in (3, 2)]

    def single():
        shown, at_rest = decoder(*codes), decoder.neutral(codes[0])
        moved, along = torch.func.jvp(lambda code: decoder(pairs[0], code), (pairs[1],), (pairs[1],))
        grown = (moved - decoder.neutral(pairs[0]), along) if has_pairs else (None, None)
        return shown, at_rest if has_neutral else None, *grown

    plain = single()
    found = decoder.all_at_once(*codes, has_neutral, tuple(pairs) if has_pairs else None)
    leaves = [*codes, *decoder.parameters()]
    slopes = []
    for faces in (plain, found):
        total = sum((k + 1) * face.pow(3).sum() for k, face in enumerate(faces) if face is not None)
        slopes.append(torch.autograd.grad(total, leaves))
    for ours, expected in zip([*found, *slopes[1]], [*plain, *slopes[0]], strict=True):
        if expected is None:
            assert ours is None
        else:
            torch.testing.assert_close(ours, expected, rtol=1e-11, atol=1e-11)


@KINDS
def test_a_silent_decoder_shows_nothing(kind):
    decoder = kind(3, 2, 7)
    decoder.silence()
    assert not decoder(torch.randn(4, 3).double(), torch.randn(4, 2).double()).any()


@KINDS
def test_a_displacement_is_what_an_expression_adds_to_its_neutral(kind):
    decoder = kind(3, 2, 7)
    identity, expression = torch.randn(4, 3).double(), torch.randn(4, 2).double()
    difference = decoder(identity, expression) - decoder.neutral(identity)
    torch.testing.assert_close(decoder.displacement(identity, expression), difference, rtol=1e-12, atol=1e-12)
