"""The point encoder: what it may not depend on, and what it refuses."""

import pytest
import torch

from meshdisent.errors import RecipeError
from meshdisent.nn.pointnet import PointEncoder, PointEncoderConfig


@pytest.fixture
def encoder():
    return PointEncoder(PointEncoderConfig(channels=(8, 16, 32)), identity_size=4, expression_size=3).eval()


def test_the_order_of_the_points_does_not_matter(encoder):
    points = torch.randn(2, 90, 3)
    straight, shuffled = encoder(points), encoder(points[:, torch.randperm(90)])
    for one, two in zip(straight, shuffled, strict=True):
        torch.testing.assert_close(one, two)


def test_any_number_of_points_will_do(encoder):
    """The published encoder wants the number that it was built for, or silently mixes scans."""
    points = torch.randn(3, 70, 3)
    doubled = encoder(torch.cat([points, points], dim=1))
    for one, two in zip(encoder(points), doubled, strict=True):
        torch.testing.assert_close(one, two)


def test_the_published_widths_are_the_default():
    shapes = [tuple(linear.weight.shape) for linear in PointEncoder(PointEncoderConfig(), 2, 2).features.linears]
    assert shapes == [(64, 3), (64, 64), (64, 64), (128, 64), (1024, 128)]


@pytest.mark.parametrize("channels", [(), (8, 0)])
def test_impossible_widths_are_refused(channels):
    with pytest.raises(RecipeError, match=r"channels are .*wanted positive widths.*\[64, 64, 64, 128, 1024\]"):
        PointEncoderConfig(channels=channels)
