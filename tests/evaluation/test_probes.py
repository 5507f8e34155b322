"""Probes find what is written into a code, find nothing in noise, and never see what they are asked about."""

import warnings

import numpy as np
import pytest

from meshdisent.evaluation import probes
from meshdisent.evaluation.probes import PROBES, accuracy, accuracy_on_the_same, held_out_answers, support_vectors
from meshdisent.metrics import Resampling

SUBJECT, EXPRESSION = (values.ravel() for values in np.mgrid[:12, :6])


@pytest.fixture
def random():
    return np.random.default_rng(0)


class Spy:
    """A classifier that writes down what it was fitted on and answers with the first label."""

    seen: list  # of (codes, labels, asked)

    def fit(self, codes, labels):
        self.label = labels[0]
        Spy.seen.append([codes, labels])

    def predict(self, asked):
        Spy.seen[-1].append(asked)
        return np.full(len(asked), self.label)


@pytest.fixture
def spy():
    Spy.seen = []
    return lambda seed: Spy()


@pytest.mark.parametrize("kind", PROBES)
def test_a_label_written_into_the_code_is_read_and_noise_is_not(kind, random):
    noise = random.normal(size=(72, 5))
    told = held_out_answers(np.eye(6)[EXPRESSION] + 0.1 * noise[:, :1], EXPRESSION, SUBJECT, PROBES[kind])
    hidden = held_out_answers(noise, EXPRESSION, SUBJECT, PROBES[kind])
    assert told.is_right.mean() > 0.95
    assert hidden.is_right.mean() < 0.4


def test_a_network_reads_what_no_line_separates(random):
    corner = random.integers(0, 2, (400, 2))
    codes = corner + 0.1 * random.normal(size=(400, 2))
    label, group = corner[:, 0] ^ corner[:, 1], np.arange(400) % 20
    assert held_out_answers(codes, label, group, PROBES["linear"]).is_right.mean() < 0.65
    assert held_out_answers(codes, label, group, PROBES["network"]).is_right.mean() > 0.95


def test_groups_are_held_out_whole_and_every_scan_is_asked_about_once(spy):
    codes = np.stack([SUBJECT, EXPRESSION], axis=1).astype(float)
    held_out_answers(codes, EXPRESSION, SUBJECT, spy)
    assert len(Spy.seen) == 5
    asked = []
    for fitted, _, test in Spy.seen:
        # Standardized entries: the first still tells subjects apart.
        assert not set(fitted[:, 0].round(6)) & set(test[:, 0].round(6))
        asked.append(len(test))
    assert sum(asked) == 72
    assert sorted(asked) == [12, 12, 12, 18, 18]


def test_entries_are_standardized_by_what_the_probe_is_fitted_on(spy, random):
    codes = random.normal(size=(72, 3)) * [1.0, 1e4, 1e-9] + [0.0, 1e6, 5.0]
    held_out_answers(codes, EXPRESSION, SUBJECT, spy)
    for fitted, _, _ in Spy.seen:
        np.testing.assert_allclose(fitted.mean(axis=0), 0.0, atol=1e-3)
        np.testing.assert_allclose(fitted.std(axis=0)[:2], 1.0, rtol=1e-6)
        assert fitted.std(axis=0)[2] < 1e-4  # an entry that never moved stays small


def test_labels_that_occur_in_one_group_and_unknown_ones_are_left_out():
    labels = np.array([0, 1, 0, 1, 2, 2, -1, 0])
    groups = np.array([0, 0, 1, 1, 0, 0, 1, -1])
    answers = held_out_answers(np.arange(8.0)[:, None], labels, groups, PROBES["linear"])
    assert answers.used.tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("labels", "groups", "entries"),
    [
        (np.zeros(8, np.int64), np.arange(8) % 2, 2),  # one label
        (np.arange(8) % 2, np.zeros(8, np.int64), 2),  # one group
        (np.full(8, -1), np.arange(8), 2),  # nothing known
        (np.arange(8) % 2, np.arange(8) // 2, 0),  # no entry
        (np.arange(8), np.arange(8), 2),  # every label in one group only
    ],
)
def test_what_cannot_be_asked_is_not_defined(labels, groups, entries):
    answers = held_out_answers(np.zeros((8, entries)), labels, groups, PROBES["linear"])
    assert answers is None
    assert accuracy(answers, labels, Resampling(np.array([0]))) is None


def test_a_fit_that_would_see_a_single_label_answers_with_it():
    groups = np.arange(10)
    fold = probes._folds(groups, seed=0)
    labels = (fold == fold[0]).astype(int)  # the second label lives in one fold, so one fit never sees it
    answers = held_out_answers(np.arange(10.0)[:, None], labels, groups, PROBES["linear"])
    assert answers.is_right[fold == fold[0]].tolist() == [False, False]
    assert answers.is_right.tolist() == answers.is_usual.tolist() == (labels == 0).tolist()


def test_accuracy_stands_beside_chance_and_has_an_interval_over_subjects(random):
    people = np.arange(12)
    right = SUBJECT < 6  # wholly right about half of the people
    answers = probes.Answers(
        is_right=right, is_usual=np.zeros(72, bool), used=np.arange(72), label_count=6, unconverged=2
    )
    found = accuracy(answers, SUBJECT, Resampling(people))
    assert (found["accuracy"], found["scans"], found["unconverged"]) == (0.5, 72, 2)
    assert found["chance"] == pytest.approx(1 / 6)
    # Half of 12 people, drawn again: a binomial of 12, whose 95 % lie between 3 and 9.
    assert (found["low"], found["high"]) == (0.25, 0.75)


def test_chance_is_that_of_the_most_frequent_label():
    labels = np.where(np.arange(60) % 10 < 7, 0, 1)
    answers = held_out_answers(np.zeros((60, 1)), labels, np.arange(60) // 10, PROBES["linear"])
    assert accuracy(answers, np.arange(60) // 10, Resampling(np.arange(6)))["chance"] == pytest.approx(0.7)


def test_answers_depend_on_the_seed_alone(random):
    codes = random.normal(size=(72, 4))
    first, again = (held_out_answers(codes, EXPRESSION, SUBJECT, PROBES["network"], seed=1) for _ in range(2))
    np.testing.assert_array_equal(first.is_right, again.is_right)


def test_fits_that_do_not_converge_are_counted_and_nobody_is_warned(random, monkeypatch):
    monkeypatch.setattr(probes, "NETWORK_ROUNDS", 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        answers = held_out_answers(random.normal(size=(72, 4)), EXPRESSION, SUBJECT, PROBES["network"])
    assert answers.unconverged == 5


def test_other_warnings_are_passed_on(random):
    class Worried(Spy):
        def fit(self, codes, labels):
            warnings.warn("something else", UserWarning, stacklevel=1)
            super().fit(codes, labels)

    Spy.seen = []
    with pytest.warns(UserWarning, match="something else"):
        held_out_answers(random.normal(size=(72, 4)), EXPRESSION, SUBJECT, lambda seed: Worried())


def test_support_vectors_remember_what_they_were_fitted_on(random):
    noise = random.normal(size=(72, 60))
    assert accuracy_on_the_same(noise, SUBJECT, support_vectors) > 0.9
    assert held_out_answers(noise, SUBJECT, EXPRESSION, support_vectors).is_right.mean() < 0.3
    assert accuracy_on_the_same(noise, np.zeros(72, np.int64), support_vectors) is None
