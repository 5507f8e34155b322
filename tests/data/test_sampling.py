"""Samplers: what an epoch sees, and resuming exactly."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.data.published_splits import FACESCAPE_PUBLISHABLE, published_facescape_split
from meshdisent.data.sampling import IdentityAwareSampler, SetShares, UniformSampler
from meshdisent.errors import DataError, RecipeError
from meshdisent.training.batches import make_sampler
from meshdisent.training.recipe import SamplerConfig

SUBJECT = np.array([0, 0, 0, 0, 0, 3, 3, 3, 7, 7, 9, 0, 3, 0])


def samplers(seed=110):
    return {
        "identity": IdentityAwareSampler(SUBJECT, anchors=4, partners=3, seed=seed),
        "uniform": UniformSampler(len(SUBJECT), batch_size=4, seed=seed),
    }


@given(scans=st.integers(1, 70), anchors=st.integers(1, 9), partners=st.integers(0, 4), seed=st.integers(0, 9))
def test_an_epoch_has_every_scan_once_as_anchor_with_partners_of_its_subject(scans, anchors, partners, seed):
    subject = np.random.default_rng(seed).integers(0, 6, scans)
    sampler = IdentityAwareSampler(subject, anchors, partners, seed)
    seen = []
    batches = list(sampler)
    assert len(batches) == sampler.steps_per_epoch == -(-scans // anchors)
    for batch in batches:
        count = len(batch) // (1 + partners)
        seen += batch[:count].tolist()
        for anchor, own in zip(batch[:count], batch[count:].reshape(count, partners), strict=True):
            assert (subject[own] == subject[anchor]).all()
            others = (subject == subject[anchor]).sum() - 1
            assert (anchor in own) == (others == 0 and partners > 0)
            if others >= partners:
                assert len(set(own)) == partners
    assert sorted(seen) == list(range(scans))
    sizes = {len(batch) // (1 + partners) for batch in batches}
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= anchors


@given(scans=st.integers(1, 70), size=st.integers(1, 12))
def test_uniform_batches_cover_an_epoch_and_differ_by_at_most_one(scans, size):
    batches = list(UniformSampler(scans, size))
    assert sorted(np.concatenate(batches).tolist()) == list(range(scans))
    lengths = [len(batch) for batch in batches]
    assert max(lengths) - min(lengths) <= 1
    assert [len(part) for part in np.array_split(np.arange(scans), len(batches))] == lengths


def test_dropping_the_last_gives_full_batches_only():
    sampler = UniformSampler(10, 4, drop_last=True)
    assert [len(batch) for batch in sampler] == [4, 4]
    assert sampler.next_batch().shape == (4,)
    assert (sampler.epoch, sampler.step) == (1, 1)


@pytest.mark.parametrize("kind", ["identity", "uniform"])
@pytest.mark.parametrize("steps", [0, 1, 3, 4, 5, 11])
def test_training_resumes_exactly_at_any_step(kind, steps):
    first, second = samplers()[kind], samplers(seed=1)[kind]
    for _ in range(steps):
        first.next_batch()
    second.load_state_dict(first.state_dict())
    assert (second.epoch, second.step) == (first.epoch, first.step)
    for _ in range(9):
        np.testing.assert_array_equal(second.next_batch(), first.next_batch())


@pytest.mark.parametrize("kind", ["identity", "uniform"])
def test_a_state_survives_json_and_is_not_changed_by_going_on(kind):
    sampler = samplers()[kind]
    sampler.next_batch()
    state = sampler.state_dict()
    text = json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in state.items()})
    expected = [sampler.next_batch() for _ in range(6)]
    for saved in (state, json.loads(text)):
        again = samplers(seed=2)[kind]
        again.load_state_dict(saved)
        for batch in expected:
            np.testing.assert_array_equal(again.next_batch(), batch)


@pytest.mark.parametrize("kind", ["identity", "uniform"])
def test_iterating_gives_the_rest_of_the_epoch(kind):
    sampler = samplers()[kind]
    sampler.next_batch()
    assert len(list(sampler)) == sampler.steps_per_epoch - 1
    assert (sampler.epoch, sampler.step) == (0, sampler.steps_per_epoch)
    assert len(list(sampler)) == sampler.steps_per_epoch
    assert sampler.epoch == 1


@pytest.mark.parametrize("kind", ["identity", "uniform"])
def test_seeds_decide_the_order(kind):
    first, same, other = samplers()[kind], samplers()[kind], samplers(seed=7)[kind]
    batches = [sampler.next_batch() for sampler in (first, same, other)]
    np.testing.assert_array_equal(batches[0], batches[1])
    assert not np.array_equal(batches[0], batches[2])


def test_changing_a_batch_or_a_state_in_place_changes_no_later_batch():
    first, second = samplers()["uniform"], samplers()["uniform"]
    second.next_batch()
    first.next_batch()[:] = 0
    first.state_dict()["order"][:] = 0
    np.testing.assert_array_equal(first.next_batch(), second.next_batch())


def test_too_few_scans_and_another_dataset_are_refused():
    with pytest.raises(DataError, match="0 training scans"):
        UniformSampler(0)
    with pytest.raises(DataError, match="at least 8"):
        IdentityAwareSampler(np.zeros(5, np.int64), drop_last=True)
    with pytest.raises(DataError, match="training began with"):
        UniformSampler(5).load_state_dict(UniformSampler(6).state_dict())


# Sets that are balanced

SETS = np.array([0] * 9 + [4] * 5)


def balanced(kind, balance=1.0, seed=110, subject=SUBJECT, sets=SETS):
    config = SamplerConfig(
        kind=kind, anchors=4 if kind == "identity_aware" else 2, partners=1, seed=seed, balance=balance
    )
    return make_sampler(subject, config, sets)


def anchors(sampler, epochs):
    """Positions that were drawn in some epochs, partners aside."""
    drawn = [batch for _ in range(epochs) for batch in sampler]
    kept = [batch[: len(batch) // 2] if isinstance(sampler, IdentityAwareSampler) else batch for batch in drawn]
    return np.concatenate(kept)


@given(
    sizes=st.lists(st.integers(1, 40), min_size=2, max_size=5),
    balance=st.floats(0.01, 1.0),
    seed=st.integers(0, 9),
    kind=st.sampled_from(["uniform", "identity_aware"]),
)
def test_each_set_gets_its_share_of_every_epoch(sizes, balance, seed, kind):
    sets = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    sampler = balanced(kind, balance, seed, np.zeros(len(sets), np.int64), sets)
    powers = np.array(sizes, float) ** (1 - balance)
    wanted = len(sets) * powers / powers.sum()
    counts = np.bincount(sets[anchors(sampler, 1)], minlength=len(sizes))
    assert counts.sum() == len(sets)
    assert counts.min() >= 1
    assert np.abs(counts - np.maximum(wanted, 1)).max() <= len(sizes)
    if wanted.min() >= 1:
        assert np.abs(counts - wanted).max() < 1 + 1e-9


@given(epochs=st.integers(1, 12), kind=st.sampled_from(["uniform", "identity_aware"]))
def test_within_a_set_no_scan_is_drawn_more_often_than_another(epochs, kind):
    drawn = np.bincount(anchors(balanced(kind), epochs), minlength=len(SETS))
    for number in np.unique(SETS):
        own = drawn[number == SETS]
        assert own.sum() == 7 * epochs
        assert own.max() - own.min() <= 1, "each pass takes every scan once, and passes run on over epochs"


@pytest.mark.parametrize("kind", ["uniform", "identity_aware"])
@pytest.mark.parametrize("steps", [0, 1, 5, 14])
def test_a_balanced_sampler_resumes_exactly(kind, steps):
    first, second = balanced(kind), balanced(kind, seed=3)
    for _ in range(steps):
        first.next_batch()
    text = json.dumps({k: v.tolist() if isinstance(v, np.ndarray) else v for k, v in first.state_dict().items()})
    second.load_state_dict(json.loads(text))
    for _ in range(12):
        np.testing.assert_array_equal(second.next_batch(), first.next_batch())


@pytest.mark.parametrize("kind", ["uniform", "identity_aware"])
@pytest.mark.parametrize(("balance", "sets"), [(0.0, SETS), (1.0, np.full(len(SETS), 4))])
def test_without_a_balance_or_a_second_set_the_order_is_the_published_one(kind, balance, sets):
    sampler = balanced(kind, balance, sets=sets)
    plain = {
        "uniform": UniformSampler(len(SUBJECT), batch_size=4),
        "identity_aware": IdentityAwareSampler(SUBJECT, anchors=4, partners=1),
    }[kind]
    for _ in range(10):
        np.testing.assert_array_equal(sampler.next_batch(), plain.next_batch())
    assert sampler.state_dict().keys() == plain.state_dict().keys()


def test_partners_stay_of_the_subject_when_sets_are_balanced():
    sampler = balanced("identity_aware")
    for _ in range(9):
        batch = sampler.next_batch()
        own, partners = np.split(batch, 2)
        np.testing.assert_array_equal(SUBJECT[own], SUBJECT[partners])


def test_shares_of_the_smallest_sets():
    assert SetShares(np.array([0] * 50 + [1]), 0.01).counts.tolist() == [50, 1]
    assert SetShares(np.array([0] * 98 + [1] + [2]), 1.0).counts.tolist() == [34, 33, 33]
    assert SetShares(np.repeat(np.arange(3), [16, 4, 1]), 0.5).counts.tolist() == [12, 6, 3]  # 4 : 2 : 1


def test_another_balance_and_impossible_ones_are_refused():
    with pytest.raises(DataError, match="did not balance its sets"):
        balanced("uniform").load_state_dict(balanced("uniform", 0.0).state_dict())
    with pytest.raises(DataError, match=r"The saved sampler balanced its sets .* Resume with the recipe"):
        balanced("uniform", 0.0).load_state_dict(balanced("uniform").state_dict())
    with pytest.raises(RecipeError, match=r"balance is 1\.5; wanted a number from 0"):
        SamplerConfig(balance=1.5)
    with pytest.raises(RecipeError, match=r"balance is -1\.0; wanted at least 0"):
        SamplerConfig(balance=-1.0)


def test_the_published_facescape_split_has_every_subject_once():
    train, test = published_facescape_split()
    assert sorted([*train, *test]) == [number for number in range(1, 848) if number != 832]
    assert set(FACESCAPE_PUBLISHABLE) <= set(test)
