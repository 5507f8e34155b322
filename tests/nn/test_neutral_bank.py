"""The Neutral Bank."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from meshdisent.errors import RecipeError
from meshdisent.nn.neutral_bank import NeutralBank, PrincipalBank, confidence

SUBJECTS, VERTICES = 4, 5


def random_bank(seed, beta=0.9):
    start = torch.randn(SUBJECTS, VERTICES, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return NeutralBank(SUBJECTS, start, beta)


def slow_update(bank, subject, vertices):
    """Subject by subject, as the equation says."""
    entries = bank.entries.clone()
    for k in subject.unique().tolist():
        own = [
            scan if scan.isfinite().all() else bank.entries[k]
            for scan, who in zip(vertices, subject.tolist(), strict=True)
            if who == k
        ]
        entries[k] = bank.beta * bank.entries[k] + (1 - bank.beta) * torch.stack(own).mean(0)
    return entries


@settings(deadline=None, max_examples=30)
@given(
    who=st.lists(st.integers(0, SUBJECTS - 1), min_size=1, max_size=9),
    broken=st.integers(0, 8),
    value=st.sampled_from([float("nan"), float("inf"), 1.0]),
    beta=st.floats(0, 1),
)
def test_update_equals_a_loop_over_subjects(who, broken, value, beta):
    bank = random_bank(0, beta)
    subject = torch.tensor(who)
    vertices = torch.randn(len(who), VERTICES, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    vertices[broken % len(who), 2, 1] = value
    expected = slow_update(bank, subject, vertices)
    bank.update(subject, vertices)
    torch.testing.assert_close(bank.entries, expected, rtol=1e-12, atol=1e-12)


def test_batch_order_does_not_matter():
    first, second = random_bank(2), random_bank(2)
    subject, order = torch.tensor([0, 1, 1, 3]), torch.tensor([2, 3, 0, 1])
    vertices = torch.randn(4, VERTICES, 3, dtype=torch.float64)
    first.update(subject, vertices)
    second.update(subject[order], vertices[order])
    torch.testing.assert_close(first.entries, second.entries)


def test_entries_of_absent_subjects_stay_bit_for_bit():
    bank = random_bank(3)
    before = bank.entries.clone()
    bank.update(torch.tensor([1]), torch.zeros(1, VERTICES, 3).double())
    assert torch.equal(bank.entries[[0, 2, 3]], before[[0, 2, 3]])
    assert not torch.equal(bank.entries[1], before[1])


def test_beta_1_freezes_the_bank():
    bank = random_bank(4, beta=1.0)
    before = bank.entries.clone()
    bank.update(torch.tensor([0, 1]), torch.zeros(2, VERTICES, 3).double())
    assert torch.equal(bank.entries, before)


def test_every_subject_begins_at_the_given_scan():
    start = torch.randn(VERTICES, 3)
    bank = NeutralBank(3, start)
    assert torch.equal(bank(torch.tensor([2, 0])), torch.stack([start, start]))
    start.zero_()
    assert bank.entries.abs().min() > 0  # a copy of its own


def test_no_gradient_passes_through_the_bank():
    bank = random_bank(5)
    vertices = torch.zeros(1, VERTICES, 3, dtype=torch.float64, requires_grad=True)
    bank.update(torch.tensor([0]), vertices * 2)
    assert not bank.entries.requires_grad
    assert not bank(torch.tensor([0])).requires_grad


def test_confidence_is_never_negative_and_reaches_one():
    values = confidence(torch.arange(0, 60))
    assert values[:6].tolist() == [0.0] * 6
    assert (values.diff() >= 0).all()
    assert values[-1] == 1
    assert confidence(torch.tensor([1]), shift=1.0).item() == 0


@pytest.mark.parametrize("beta", [-0.1, 1.1])
def test_an_impossible_beta_is_refused(beta):
    with pytest.raises(RecipeError, match="beta"):
        NeutralBank(2, torch.zeros(VERTICES, 3), beta)


def test_a_bank_of_principal_coordinates_is_the_full_bank_projected():
    """Linear updates: after many of them, entries are the projections of the full bank's, to rounding."""
    random = torch.Generator().manual_seed(3)
    center = torch.randn(7, 3, generator=random, dtype=torch.float64)
    directions = torch.linalg.qr(torch.randn(21, 5, generator=random, dtype=torch.float64))[0].T
    full = NeutralBank(4, center, beta=0.9)
    small = PrincipalBank(4, center, center, directions, beta=0.9)
    for _ in range(30):
        subject = torch.randint(4, (6,), generator=random)
        scans = center + torch.randn(6, 7, 3, generator=random, dtype=torch.float64)
        scans[0, 0, 0] = float("nan")
        full.update(subject, scans)
        small.update(subject, scans)
    kept = ((full.entries - center).flatten(1) @ directions.T @ directions).unflatten(1, (7, 3)) + center
    torch.testing.assert_close(small.entries, kept)
    torch.testing.assert_close(small(torch.tensor([2, 0])), kept[[2, 0]])
    again = PrincipalBank.of_coordinates(small.coordinates, center, directions, 0.9)
    assert torch.equal(again.entries, small.entries)
    with pytest.raises(RecipeError, match="wanted 0 to 1, the share"):
        PrincipalBank(4, center, center, directions, beta=2.0)
