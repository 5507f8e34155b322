"""DCI, SAP and MIG against values worked by hand."""

import numpy as np
import pytest

from meshdisent.metrics import DCI, dci, dci_of_importance, mig, sap

#: Two binary factors in all four combinations, eight times each.
FACTORS = np.tile(np.array([[0, 0], [0, 1], [1, 0], [1, 1]]), (8, 1))
LOG2 = np.log(2)


def entropy(*shares):
    return -sum(p * np.log(p) for p in shares if p > 0)


def test_one_entry_for_each_factor_is_perfect():
    assert dci_of_importance(np.eye(3)) == DCI(1.0, 1.0)


def test_entries_that_tell_everything_alike_are_not_disentangled_and_no_factor_is_complete():
    found = dci_of_importance(np.ones((4, 2)))
    assert found.disentanglement == pytest.approx(0.0)
    assert found.completeness == pytest.approx(0.0)


def test_dci_of_a_small_matrix_is_that_of_the_formula():
    importance = np.array([[3.0, 1.0], [0.0, 2.0], [1.0, 1.0]])
    # Rows: (3/4, 1/4) with weight 4/8, (0, 1) with 2/8, (1/2, 1/2) with 2/8; logarithms to base 2.
    disentanglement = 4 / 8 * (1 - entropy(0.75, 0.25) / LOG2) + 2 / 8 * 1.0 + 2 / 8 * 0.0
    # Columns: (3/4, 0, 1/4) and (1/4, 1/2, 1/4); logarithms to base 3.
    completeness = (2 - (entropy(0.75, 0.25) + entropy(0.25, 0.5, 0.25)) / np.log(3)) / 2
    found = dci_of_importance(importance)
    assert found.disentanglement == pytest.approx(disentanglement)
    assert found.completeness == pytest.approx(completeness)


def test_a_factor_that_nothing_tells_is_not_complete():
    assert dci_of_importance(np.array([[1.0, 0.0], [0.0, 0.0]])) == DCI(1.0, 0.5)


def test_what_has_no_meaning_is_not_defined():
    assert dci_of_importance(np.ones((3, 1))).disentanglement is None
    assert dci_of_importance(np.ones((1, 3))).completeness is None
    assert dci_of_importance(np.zeros((2, 2))) == DCI(None, None)
    constant = np.zeros((20, 2), np.int64)
    codes = np.random.default_rng(0).normal(size=(20, 3))
    assert (dci(codes, constant), mig(codes, constant), sap(codes, constant)) == (DCI(None, None), None, None)
    assert dci(codes[:, :0], FACTORS[:20]) == DCI(None, None)
    assert (mig(codes[:, :1], FACTORS[:20]), sap(codes[:, :1], FACTORS[:20])) == (None, None)


def test_forests_find_which_entry_tells_which_factor():
    noise = np.random.default_rng(0).normal(size=(32, 2))
    codes = FACTORS[:, ::-1] + 0.01 * noise
    found = dci(codes, FACTORS)
    assert found.disentanglement > 0.9
    assert found.completeness > 0.9
    assert found.informativeness == 1.0
    mixed = dci(codes @ np.array([[1.0, 1.0], [1.0, -1.0]]), FACTORS)
    assert mixed.disentanglement < 0.4
    assert mixed.informativeness > 0.8


def test_noise_informs_of_nothing():
    random = np.random.default_rng(0)
    found = dci(random.normal(size=(400, 3)), random.integers(0, 4, (400, 2)))
    assert found.informativeness == pytest.approx(0.25, abs=0.08)


def test_the_gap_of_mutual_information_is_that_of_the_formula():
    # Entry 0 is factor 0; entry 1 is factor 1 but wrong in a quarter of the scans, whatever factor 0 is.
    factors = np.tile(FACTORS, (1, 1))
    entry = factors[:, 1].copy()
    wrong = np.arange(len(factors)) // 4 % 4 == 0
    entry[wrong] = 1 - entry[wrong]
    codes = np.stack([factors[:, 0], entry], axis=1).astype(float)
    # Factor 0: log 2 from entry 0, nothing from entry 1. Factor 1: log 2 - H(1/4), nothing from entry 0.
    assert mig(codes, factors) == pytest.approx((1.0 + (LOG2 - entropy(0.25, 0.75)) / LOG2) / 2)


def test_a_copy_of_an_entry_closes_the_gap():
    codes = FACTORS[:, [0, 0, 1, 1]].astype(float)
    assert mig(codes, FACTORS) == pytest.approx(0.0)
    assert sap(codes, FACTORS) == pytest.approx(0.0)


def test_bins_are_of_equal_width():
    # 20 bins between 0 and 20: 0.9 and 0.95 share one, so that entry tells nothing of the factor that is only there.
    codes = np.array([[0.0, 0], [0.9, 0], [0.95, 1], [20.0, 1]])
    factor = np.array([[0], [0], [1], [1]])
    # I = H(v) - sum over bins p H(v|bin): the bin of 0, 0.9 and 0.95 holds labels 0, 0, 1.
    information = LOG2 - 0.75 * entropy(2 / 3, 1 / 3)
    # The second entry tells the factor wholly.
    assert mig(codes, factor) == pytest.approx((LOG2 - information) / LOG2)


def test_sap_is_the_gap_of_balanced_accuracies():
    # Factor 0, three to one: entry 0 tells it; entry 1 tells its rare label only half of the time.
    factor = np.array([[0]] * 12 + [[1]] * 4)
    second = np.r_[np.zeros(12), [0, 0, 1, 1]]
    codes = np.stack([factor[:, 0], second], axis=1).astype(float)
    assert sap(codes, factor) == pytest.approx(1.0 - (1.0 + 0.5) / 2)


def test_sap_puts_a_threshold_between_every_two_labels():
    label = np.repeat(np.arange(5), 6)
    codes = np.stack([2.0 * label, np.zeros(30)], axis=1)
    # The constant entry gets one of five labels right.
    assert sap(codes, label[:, None]) == pytest.approx(1.0 - 0.2)


def test_the_order_of_scans_and_the_scale_of_entries_change_nothing():
    random = np.random.default_rng(3)
    codes = np.round(random.normal(size=(64, 3)), 2)
    factors = np.tile(FACTORS, (2, 1))
    order = random.permutation(64)
    assert mig(codes[order] * 8.0, factors[order]) == pytest.approx(mig(codes, factors))
    assert sap(codes[order] * 8.0, factors[order]) == pytest.approx(sap(codes, factors))
