"""Verification: three protocols on pairs whose answer is known."""

import numpy as np
import pytest
import torch

from meshdisent.errors import DataError, RecipeError
from meshdisent.latentface import verification
from meshdisent.latentface.verification import (
    VerificationConfig,
    best_threshold,
    contiguous_folds,
    pair_features,
    verify_linear,
    verify_linear_published,
    verify_threshold,
)

QUICK = VerificationConfig(epochs=30, batch_size=16, learning_rate=0.02)


@pytest.fixture
def pairs():
    """Sixty pairs in ten folds: the same person twice, with noise, or two people."""
    random = torch.Generator().manual_seed(0)
    first = torch.randn(60, 6, generator=random)
    is_same = np.arange(60) % 6 < 3
    other = torch.randn(60, 6, generator=random)
    second = torch.where(torch.from_numpy(is_same)[:, None], first + 0.1 * other, other)
    return first, second, is_same, contiguous_folds(60)


def test_the_order_of_a_pair_does_not_matter():
    first, second = torch.randn(5, 4), torch.randn(5, 4)
    assert torch.equal(pair_features(first, second), pair_features(second, first))
    assert torch.equal(pair_features(first, second)[:, 4:8], (first + second).abs())


@pytest.mark.parametrize("verify", [verify_linear, verify_linear_published])
def test_a_linear_map_tells_who_is_the_same(pairs, verify):
    result = verify(*pairs, QUICK)
    assert len(result.accuracies) == 10
    assert result.mean == pytest.approx(np.mean(result.accuracies))
    assert result.std == pytest.approx(np.std(result.accuracies))
    assert result.mean > 0.8
    assert result == verify(*pairs, QUICK)


@pytest.mark.parametrize("verify", [verify_linear, verify_linear_published])
def test_no_fold_is_asked_about_what_it_was_trained_on(pairs, verify):
    first, second, is_same, fold = pairs
    before = verify(first, second, is_same, fold, QUICK)
    turned = is_same.copy()
    turned[fold == 4] ^= True
    after = verify(first, second, turned, fold, QUICK)
    assert after.accuracies[4] == pytest.approx(1 - before.accuracies[4])


def test_the_published_protocol_sees_one_batch_and_ours_all_pairs(pairs, monkeypatch):
    first, second, is_same, fold = pairs
    seen = []

    def watch(classifier, optimizer, batches):
        seen.append([features for features, _ in batches])
        return []

    monkeypatch.setattr(verification, "train_on_batches", watch)
    verify_linear_published(first, second, is_same, fold, VerificationConfig())
    assert [len(batches) for batches in seen] == [300] * 10
    assert all(torch.equal(batch, batches[0]) for batches in seen for batch in batches)
    assert len(seen[0][0]) == 54  # of 128 there are only so many
    seen.clear()
    config = VerificationConfig(epochs=2, batch_size=20)
    verify_linear_published(first, second, is_same, fold, config)
    assert [len(batch) for batch in seen[0]] == [20, 20]
    seen.clear()
    verify_linear(first, second, is_same, fold, config)
    assert [len(batch) for batch in seen[0]] == [20, 20, 14] * 2
    rest = pair_features(first, second)[6:]
    for epoch in (seen[0][:3], seen[0][3:]):
        assert sorted(torch.cat(epoch)[:, 0].tolist()) == sorted(rest[:, 0].tolist())
    assert not torch.equal(seen[0][0], seen[0][3])


def test_a_threshold_is_chosen_on_the_other_folds_by_hand():
    distance = np.array([1.0, 2.0, 3.0, 4.0, 2.5, 9.0])
    is_same = np.array([True, False, True, False, True, False])
    fold = np.array([0, 0, 1, 1, 2, 2])
    result = verify_threshold(distance, is_same, fold)
    # Without fold 0: 2.5+ 3+ 4- 9-: 3.5. Without 1: 1+ 2- 2.5+ 9-: 1.5 (3 of 4, the least). Without 2: 1+ 2- 3+ 4-: 1.5
    assert result.thresholds == (3.5, 1.5, 1.5)
    assert result.accuracies == (0.5, 0.5, 0.5)
    assert (result.mean, result.std, result.protocol) == (0.5, 0.0, "threshold")


@pytest.mark.parametrize("seed", range(6))
def test_no_threshold_is_better_than_the_best(seed):
    random = np.random.default_rng(seed)
    distance, is_same = random.integers(0, 9, 25) / 2, random.random(25) < 0.5
    found = best_threshold(distance, is_same)
    tried = {t: ((distance <= t) == is_same).mean() for t in np.arange(-0.25, 5, 0.25)}
    assert ((distance <= found) == is_same).mean() == max(tried.values())


def test_thresholds_may_call_none_or_all_the_same():
    assert best_threshold(np.array([1.0, 2.0]), np.array([False, False])) == -np.inf
    assert best_threshold(np.array([1.0, 2.0]), np.array([True, True])) == np.inf


def test_what_has_no_answer_is_told(pairs):
    first, second, is_same, fold = pairs
    with pytest.raises(DataError, match=r"do not make 10 equal folds"):
        contiguous_folds(61)
    with pytest.raises(DataError, match=r"60 pairs in 1 folds"):
        verify_linear(first, second, is_same, np.zeros(60, int), QUICK)
    with pytest.raises(DataError, match=r"1 pairs in 1 folds"):
        verify_threshold(np.array([1.0]), np.array([True]), np.array([0]))
    with pytest.raises(DataError, match=r"Fold 3 of 11 has no pair"):
        verify_linear(first, second, is_same, fold + (fold > 2), QUICK)
    with pytest.raises(DataError, match=r"The pairs outside fold 0 all show one person"):
        verify_linear_published(first, second, np.ones(60, bool), fold, QUICK)
    with pytest.raises(DataError, match=r"The pairs outside fold 0 all show two people"):
        verify_threshold(np.ones(60), np.zeros(60, bool), fold)
    with pytest.raises(DataError, match=r"59 folds for 60 pairs"):
        verify_linear(first, second, is_same, fold[1:], QUICK)
    with pytest.raises(DataError, match=r"with 60 answers were given"):
        verify_linear(first, second[1:], is_same, fold, QUICK)
    with pytest.raises(DataError, match=r"The distance of pair 2 is not finite"):
        verify_threshold(np.where(np.arange(60) == 2, np.nan, 1.0), is_same, fold)
    with pytest.raises(DataError, match=r"features of a pair are not finite"):
        verify_linear(first / 0, second, is_same, fold, QUICK)
    with pytest.raises(RecipeError, match=r"Correct the config"):
        VerificationConfig(epochs=0)


def test_double_precision_stays_double(pairs):
    first, second, is_same, fold = pairs
    result = verify_linear(first.double(), second.double(), is_same, fold, QUICK)
    assert result.mean == pytest.approx(verify_linear(first, second, is_same, fold, QUICK).mean, abs=0.1)
