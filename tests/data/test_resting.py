"""Which subjects are known at rest, and which scans show no expression."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.resting import scans_at_rest, subjects_without_neutral

FACES = np.array([[0, 1, 2]])


def dataset(levels, expressions, **replaced):
    """Scans of one triangle, each moved sideways so far."""
    base = np.array([[0.0, 0, 0], [1, 0, 0], [0, 1, 0]])
    moved = base + np.array(levels)[:, None, None] * np.array([1.0, 0, 0])
    names = replaced.pop("names", ["anna"] * len(levels))
    return ScanDataset.from_arrays(moved, FACES, names, expressions, **replaced)


def test_labels_tell_what_is_at_rest_where_there_are_no_frames():
    scans = dataset([0, 5, 0, 7], ["neutral", "smile"] * 2, names=["anna", "anna", "ben", "ben"])
    assert scans_at_rest(scans).tolist() == [True, False, True, False]


def test_in_a_sequence_a_tenth_of_the_way_is_at_rest():
    levels = [0.0, 0.9, 1.1, 10.0, 0.5]
    scans = dataset(levels, ["smile"] * 5, frame=[1, 2, 3, 4, 5])
    assert scans_at_rest(scans).tolist() == [True, True, False, False, True]
    # The first frame counts, not the first row; each sequence has its own way.
    backwards = dataset([*levels[::-1], 3.0, 3.2], ["smile"] * 5 + ["grin"] * 2, frame=[5, 4, 3, 2, 1, 1, 2])
    assert scans_at_rest(backwards).tolist() == [True, False, False, True, True, True, False]


def test_a_sequence_in_which_nothing_moves_is_left_to_its_labels():
    scans = dataset([0, 0], ["neutral"] * 2, frame=[1, 2])
    assert scans_at_rest(scans).all()


def test_without_frames_and_neutrals_nothing_is_known():
    from meshdisent.errors import DataError

    with pytest.raises(DataError, match="neither frames nor a scan at rest"):
        scans_at_rest(dataset([0, 1], ["smile", "frown"]))


def test_training_subjects_without_a_neutral_are_named():
    names, split = ["anna", "ben", "cleo"], ["train", "train", "test"]
    scans = dataset([0, 1, 2], ["neutral", "smile", "smile"], names=names, split=split)
    assert subjects_without_neutral(scans) == ["ben"]
    known = dataset([0, 1, 2], ["smile"] * 3, names=names, split=split, truth={"ben": np.zeros((3, 3))})
    assert subjects_without_neutral(known) == ["anna"]
