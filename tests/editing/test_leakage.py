"""Identity leakage: between two people whose codes are known, and as lengths."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.editing import identity_leak, spread_over_sources
from meshdisent.errors import UsageError


@pytest.fixture(scope="module")
def model():
    return small_faces.linear(small_faces.scans(noise_mm=0.0), identity_size=3)


def person(*shares):
    """Between two people, at rest."""
    first, second = small_faces.PEOPLE[12], small_faces.PEOPLE[13]
    return [(first + share * (second - first)).astype(np.float32) for share in shares]


def test_the_share_says_where_between_two_people_a_result_lies(model):
    target, source = person(0.0, 1.0)
    found = identity_leak(model, person(0.0, 0.25, 0.6, 1.0, -0.5), target, source)
    assert found["results"] == pytest.approx([0.0, 0.25, 0.6, 1.0, -0.5], abs=0.02)
    assert found["share"] == pytest.approx(np.mean(found["results"]))
    assert found["nearer"] == pytest.approx(2 / 5)


def test_each_result_may_have_its_own_pair(model):
    a, b = person(0.0, 1.0)
    found = identity_leak(model, [a, a], [a, b], [b, a])
    assert found["results"] == pytest.approx([0.0, 1.0], abs=1e-4)


def test_one_person_leaks_nothing_that_could_be_told(model):
    a, b = person(0.0, 1.0)
    assert identity_leak(model, [a], a, a) == {"share": None, "nearer": None, "results": [None]}
    found = identity_leak(model, [a, a], [a, a], [a, b])
    assert found["results"][0] is None
    assert found["share"] == pytest.approx(0.0, abs=1e-4)


def test_the_spread_is_the_mean_distance_within_what_should_be_one_face():
    faces = np.zeros((5, 2, 3))
    faces[1, :, 0], faces[2, :, 0] = 1.0, 3.0
    faces[3:, :, 1] = 100.0
    assert spread_over_sources(faces, np.array([7, 7, 7, 8, 9])) == pytest.approx((1 + 3 + 2) / 3)
    assert spread_over_sources(faces[:2], np.array([0, 1])) is None


def test_counts_that_do_not_match_are_refused(model):
    a, b = person(0.0, 1.0)
    with pytest.raises(UsageError, match="3 results were given with 2 targets and 1 sources"):
        identity_leak(model, [a, a, a], [a, b], b)
    with pytest.raises(UsageError, match="cannot tell people apart"):
        identity_leak(small_faces.Unsplit(small_faces.scans()), [a], a, b)
