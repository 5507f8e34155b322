"""Samplers: what an epoch sees, and resuming exactly."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.data.published_splits import FACESCAPE_PUBLISHABLE, published_facescape_split
from meshdisent.data.sampling import IdentityAwareSampler, UniformSampler
from meshdisent.errors import DataError

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


def test_the_published_facescape_split_has_every_subject_once():
    train, test = published_facescape_split()
    assert sorted([*train, *test]) == [number for number in range(1, 848) if number != 832]
    assert set(FACESCAPE_PUBLISHABLE) <= set(test)
