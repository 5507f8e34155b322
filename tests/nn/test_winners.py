"""The search for winning points."""

import pytest
import torch

from meshdisent.nn.winners import find_winners, points_at


@pytest.mark.parametrize("vertices", [1, 63, 64, 127, 128, 129, 200])
def test_winners_are_the_largest_products_wherever_they_lie(vertices):
    features, weight = torch.randn(vertices, 6), torch.randn(500, 6)
    assert torch.equal(find_winners(features, weight), (features @ weight.T).argmax(dim=0))


def test_points_are_picked_from_their_own_scan():
    points, winners = torch.randn(3, 7, 2), torch.randint(7, (3, 4))
    picked = points_at(points, winners)
    for scan in range(3):
        assert torch.equal(picked[scan], points[scan, winners[scan]])
