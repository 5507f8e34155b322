"""Distances of features, by hand and as invariants."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.errors import DataError
from meshdisent.latentface.feature_distance import cosine_distance, euclidean_distance
from meshdisent.latentface.features import FaceLatents, identity_features
from meshdisent.latentface.verification import verify_threshold


def test_distances_by_hand():
    first = torch.tensor([[1.0, 0], [1, 1], [2, 0]])
    second = torch.tensor([[0.0, 3], [2, 2], [-1, 0]])
    assert cosine_distance(first, second).tolist() == pytest.approx([1, 0, 2])
    assert euclidean_distance(first, second).tolist() == pytest.approx([10**0.5, 2**0.5, 3])
    assert cosine_distance(first, second).dtype == euclidean_distance(first, second).dtype == torch.float64


@given(st.floats(0.01, 100), st.integers(0, 1000))
def test_the_cosine_does_not_know_lengths(factor, seed):
    first, second = torch.randn(2, 5, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    assert cosine_distance(factor * first, second).tolist() == pytest.approx(cosine_distance(first, second).tolist())


@pytest.mark.parametrize("value", [0.0, float("nan"), float("inf")])
def test_a_vector_without_a_direction_is_named(value):
    with pytest.raises(DataError, match=r"A vector of pair 2 has no length"):
        cosine_distance(torch.ones(3, 2), torch.tensor([[1.0, 1], [1, 1], [value, value]]))


@pytest.mark.parametrize("distance", [cosine_distance, euclidean_distance])
def test_identities_are_told_apart_by_their_distance(distance):
    random = torch.Generator().manual_seed(0)
    people = torch.randn(40, 8, generator=random)
    is_same = torch.arange(40) % 2 == 0
    partner = torch.where(is_same[:, None], people + 0.05 * torch.randn(40, 8, generator=random), people.roll(1, 0))
    first, second = (
        identity_features(FaceLatents(torch.zeros(40, 4), codes[:, :4], torch.zeros(40, 4), codes[:, 4:]))
        for codes in (people, partner)
    )
    fold = torch.arange(40) // 4
    assert verify_threshold(distance(first, second).numpy(), is_same.numpy(), fold.numpy()).mean == 1.0
