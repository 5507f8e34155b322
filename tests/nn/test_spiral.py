"""Spiral layers against slow twins, and the encoder's settings."""

import math
from itertools import pairwise

import pytest
import torch

from meshdisent.errors import ModelFileError, RecipeError, TopologyError
from meshdisent.nn.spiral import (
    Pool,
    SpiralBlock,
    SpiralConv,
    SpiralEncoder,
    SpiralEncoderConfig,
    SpiralResidualBlock,
    published_encoder,
)
from meshdisent.nn.spiral_parts import instance_norm

CONFIG = SpiralEncoderConfig(channels=(4, 5, 6, 6, 6), feature=7)
COUNTS = (20, 9, 4)


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(5)


@pytest.fixture
def encoder(generator):
    torch.manual_seed(5)
    return small_encoder(generator)


def small_encoder(generator, lengths=(9, 9, 9)):
    spirals = tuple(
        torch.randint(0, count, (count, length), generator=generator)
        for count, length in zip(COUNTS, lengths, strict=True)
    )
    kept = tuple(torch.randperm(fine, generator=generator)[:coarse].sort().values for fine, coarse in pairwise(COUNTS))
    return SpiralEncoder(CONFIG, 3, spirals, kept).double()


def scans(generator, count=3):
    return torch.randn(count, COUNTS[0], 3, generator=generator, dtype=torch.float64)


def test_convolution_equals_a_loop_over_vertices_and_positions(generator):
    spirals = torch.randint(0, 11, (11, 4), generator=generator)
    conv = SpiralConv(3, 5, spirals).double()
    features = torch.randn(2, 11, 3, generator=generator, dtype=torch.float64)
    weight = conv.linear.weight.unflatten(1, (4, 3))  # position outer, channel inner
    slow = torch.empty(2, 11, 5, dtype=torch.float64)
    for scan in range(2):
        for vertex in range(11):
            total = conv.linear.bias.clone()
            for position in range(4):
                total = total + weight[:, position] @ features[scan, spirals[vertex, position]]
            slow[scan, vertex] = total
    torch.testing.assert_close(conv(features), slow, rtol=1e-13, atol=1e-13)


def test_convolution_has_the_gradient_of_finite_differences(generator):
    conv = SpiralConv(2, 3, torch.randint(0, 6, (6, 3), generator=generator)).double()
    features = torch.randn(2, 6, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(conv, features)
    assert torch.autograd.gradgradcheck(conv, features)


def test_instance_norm_gives_each_scan_and_channel_mean_0_and_variance_1(generator):
    features = 3 + 7 * torch.randn(2, 50, 4, generator=generator, dtype=torch.float64)
    normal = instance_norm(features, epsilon=0.0)
    torch.testing.assert_close(normal.mean(1), torch.zeros(2, 4).double(), atol=1e-14, rtol=0)
    torch.testing.assert_close(normal.square().mean(1), torch.ones(2, 4).double())
    expected = torch.nn.functional.instance_norm(features.transpose(1, 2)).transpose(1, 2)
    torch.testing.assert_close(instance_norm(features), expected)


def test_the_bias_before_the_norm_changes_nothing(generator):
    block = SpiralBlock(3, 4, torch.randint(0, 8, (8, 3), generator=generator)).double()
    features = torch.randn(1, 8, 3, generator=generator, dtype=torch.float64)
    before = block(features)
    block.conv.linear.bias.data += 5
    torch.testing.assert_close(block(features), before)


def test_residual_block_adds_its_input(generator):
    block = SpiralResidualBlock(3, torch.randint(0, 8, (8, 3), generator=generator)).double()
    features = torch.randn(1, 8, 3, generator=generator, dtype=torch.float64)
    block.conv.linear.weight.data.zero_()
    torch.testing.assert_close(block(features), features)


def test_pooling_keeps_the_chosen_vertices_unchanged():
    features = torch.arange(12.0).reshape(1, 4, 3)
    assert Pool(torch.tensor([0, 3]))(features).tolist() == [[[0.0, 1.0, 2.0], [9.0, 10.0, 11.0]]]


def test_batch_order_does_not_matter(encoder, generator):
    batch = scans(generator, 5)
    order = torch.tensor([3, 0, 4, 2, 1])
    for shuffled, plain in zip(encoder(batch[order]), encoder(batch), strict=True):
        torch.testing.assert_close(shuffled, plain[order], rtol=1e-13, atol=1e-13)


def test_a_scan_is_encoded_alike_alone_and_in_training(encoder, generator):
    batch = scans(generator)
    alone = encoder.eval()(batch[1:2])[0]
    torch.testing.assert_close(encoder.train()(batch)[0][1:2], alone, rtol=1e-13, atol=1e-13)


def test_a_silent_encoder_says_the_same_of_every_scan_until_it_learns(encoder, generator):
    encoder.silence(-2.5)
    mean, log_variance = encoder(scans(generator))
    assert (mean == 0).all()
    assert (log_variance == -2.5).all()
    mean.sum().backward()
    assert (encoder.head.weight.grad[:3] != 0).all(), "the last layer can move at once"


def test_every_weight_but_the_biases_before_norms_gets_a_gradient(encoder, generator):
    mean, log_variance = encoder(scans(generator))
    (mean.square().sum() + log_variance.square().sum()).backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.grad.isfinite().all(), name
        if not name.endswith("conv.linear.bias"):
            assert parameter.grad.abs().max() > 1e-6, name


def test_spirals_may_be_of_another_length_on_each_level(generator):
    mean, log_variance = small_encoder(generator, lengths=(12, 9, 4))(scans(generator))
    assert mean.shape == log_variance.shape == (3, 3)


def test_weights_begin_as_published():
    torch.manual_seed(0)
    conv = SpiralConv(16, 32, torch.zeros(5, 9, dtype=torch.int64))
    fan_in = 16 * 9
    assert conv.linear.weight.abs().max() <= math.sqrt(6 / fan_in)
    assert conv.linear.weight.std().item() == pytest.approx(math.sqrt(2 / fan_in), rel=0.03)
    assert conv.linear.bias.abs().max() <= 1 / math.sqrt(fan_in)


def test_the_state_holds_spirals_and_pooling(encoder, generator):
    other = small_encoder(generator)
    other.load_state_dict(encoder.state_dict())
    batch = scans(generator)
    assert torch.equal(other(batch)[0], encoder(batch)[0])


@pytest.mark.parametrize(
    ("channels", "feature"), [((4, 5, 6), 7), ((4, 5, 6, 6, 7), 7), ((0, 5, 6, 6, 6), 7), ((4, 5, 6, 6, 6), 0)]
)
def test_impossible_widths_are_refused(channels, feature):
    with pytest.raises(RecipeError, match="wanted"):
        SpiralEncoderConfig(channels=channels, feature=feature)


def test_levels_of_another_hierarchy_are_refused(encoder):
    spirals = tuple(encoder.trunk[stage].conv.spirals for stage in (0, 2, 4))
    kept = (encoder.trunk[1].kept, encoder.trunk[3].kept)
    with pytest.raises(TopologyError, match="wanted 3 and 2"):
        SpiralEncoder(CONFIG, 3, spirals[:2], kept)
    with pytest.raises(TopologyError, match="one and the same hierarchy"):
        SpiralEncoder(CONFIG, 3, spirals, (kept[0], kept[1] + 9))
    with pytest.raises(TopologyError, match="one and the same hierarchy"):
        SpiralEncoder(CONFIG, 3, spirals, (kept[0][:-1], kept[1]))


def test_a_published_state_without_the_branch_is_refused():
    with pytest.raises(ModelFileError, match="two branches"):
        published_encoder({"backbone.0.conv.layer.weight": torch.zeros(1)}, "identity")


def test_a_published_pooling_that_averages_is_refused():
    matrix = "backbone_ind.1.sampling_matrix_"
    state = {f"{matrix}crow": torch.tensor([0, 1, 2]), f"{matrix}col": torch.tensor([0, 3])}
    with pytest.raises(ModelFileError, match="does not select"):
        published_encoder({**state, f"{matrix}val": torch.tensor([1.0, 0.5])}, "identity")
