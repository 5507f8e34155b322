"""Accuracy and F1 of classes, against hand-worked counts and scikit-learn."""

import numpy as np
import pytest
from sklearn.metrics import confusion_matrix, f1_score

from meshdisent.errors import DataError
from meshdisent.metrics import classification


def test_counts_accuracy_and_f1_by_hand():
    truth = np.array([0, 0, 0, 1, 1, 2])
    said = np.array([0, 0, 1, 1, 2, 2])
    table = classification.confusion(truth, said, 3)
    assert table.tolist() == [[2, 1, 0], [0, 1, 1], [0, 0, 1]]
    assert classification.accuracy(table) == pytest.approx(4 / 6)
    assert classification.f1_of_classes(table).tolist() == pytest.approx([4 / 5, 2 / 4, 2 / 3])
    assert classification.macro_f1(table) == pytest.approx((4 / 5 + 1 / 2 + 2 / 3) / 3)
    assert classification.expression_score(table) == pytest.approx(0.67 * (4 / 5 + 1 / 2 + 2 / 3) / 3 + 0.33 * 4 / 6)


def test_a_class_that_nobody_has_and_nobody_said_does_not_count():
    table = classification.confusion(np.array([0, 2]), np.array([0, 3]), 5)
    assert np.isnan(classification.f1_of_classes(table)).tolist() == [False, True, False, False, True]
    assert classification.macro_f1(table) == pytest.approx(1 / 3)  # 1, 0 and 0


@pytest.mark.parametrize("seed", range(5))
def test_scikit_learn_counts_the_same(seed):
    random = np.random.default_rng(seed)
    truth, said = random.integers(0, 6, 40), random.integers(1, 7, 40)
    table = classification.confusion(truth, said, 8)
    assert np.array_equal(table, confusion_matrix(truth, said, labels=range(8)))
    assert classification.macro_f1(table) == pytest.approx(f1_score(truth, said, average="macro", zero_division=0))


def test_labels_outside_the_classes_and_no_labels_are_refused():
    with pytest.raises(DataError, match=r"A label is 3; wanted 0 to 2"):
        classification.confusion(np.array([0]), np.array([3]), 3)
    with pytest.raises(DataError, match=r"A label is -1"):
        classification.confusion(np.array([-1]), np.array([0]), 3)
    with pytest.raises(DataError, match=r"No label was given"):
        classification.confusion(np.array([], int), np.array([], int), 3)
