"""The additive decoder: two offsets that know nothing of each other."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.nn.additive import AdditiveDecoder, OffsetBranch, by_vertex


@pytest.fixture
def decoder():
    return AdditiveDecoder(4, 3, (8, 6), vertex_count=5)


def test_the_displacement_of_an_expression_is_the_same_on_everyone(decoder):
    one, other, expression = torch.randn(2, 4), torch.randn(2, 4), torch.randn(2, 3)
    moved = [decoder(identity, expression) - decoder.neutral(identity) for identity in (one, other)]
    torch.testing.assert_close(moved[0], moved[1])
    torch.testing.assert_close(moved[0], decoder.expression_only(expression))


def test_each_code_has_weights_of_its_own(decoder):
    decoder.neutral(torch.randn(2, 4)).sum().backward()
    assert all(p.grad is not None for p in decoder.identity_branch.parameters())
    assert all(p.grad is None for p in decoder.expression_branch.parameters())


def test_shrinking_multiplies_every_offset(decoder):
    code = torch.randn(2, 4)
    before = decoder.neutral(code)
    decoder.identity_branch.shrink(0.25)
    torch.testing.assert_close(decoder.neutral(code), 0.25 * before)


def test_a_branch_without_hidden_layers_is_linear():
    branch = OffsetBranch(2, (), vertex_count=3)
    zero = branch(torch.zeros(1, 2))
    a, b = torch.randn(1, 2), torch.randn(1, 2)
    torch.testing.assert_close(branch(a + b) - zero, branch(a) + branch(b) - 2 * zero)


def test_rows_by_coordinate_become_rows_by_vertex():
    """All x, then all y, then all z, as the published last layer has them; columns come along."""
    vertices = torch.randn(7, 3, 4)
    assert torch.equal(by_vertex(vertices.transpose(0, 1).flatten(0, 1)), vertices.flatten(0, 1))


def test_an_impossible_width_is_refused():
    with pytest.raises(RecipeError, match=r"hidden widths are \[8, 0\]; wanted positive"):
        AdditiveDecoder(2, 2, (8, 0), vertex_count=3)
