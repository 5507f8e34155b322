"""Splits: by drawn subjects, by frames as published, or from a file that must name everybody once."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.data.splits import read_split, split_by_frames, split_by_subjects, split_scans
from meshdisent.errors import DataError

NAMES = ["anna", "ben", "jürgen", "zoë"]


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "split.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
        return path

    return write


class TestSubjects:
    @given(count=st.integers(1, 400), seed=st.integers(0, 5))
    def test_shares(self, count, seed):
        split = list(split_by_subjects([str(k) for k in range(count)], seed).values())
        train, val, test = (split.count(name) for name in ("train", "val", "test"))
        assert train + val + test == count
        assert train == max(1, int(0.6 * count))
        assert test >= (count > 1)
        assert val == (max(1, int(0.7 * count) - train) if count > 2 else 0)

    def test_300_subjects_are_split_as_everybody_measures(self):
        split = list(split_by_subjects([str(k) for k in range(300)]).values())
        assert [split.count(name) for name in ("train", "val", "test")] == [180, 30, 90]

    def test_the_seed_draws(self):
        names = [str(k) for k in range(50)]
        assert split_by_subjects(names, 1) == split_by_subjects(names, 1)
        assert split_by_subjects(names, 1) != split_by_subjects(names, 2)
        assert list(split_by_subjects(names, 1).values()) != sorted(split_by_subjects(names, 1).values())

    def test_no_subject_is_in_two_splits(self):
        subjects = [str(k // 7) for k in range(140)]
        pairs = set(zip(subjects, split_scans("subjects", subjects, seed=3), strict=True))
        assert len(pairs) == 20


def test_ten_of_every_hundred_frames_are_for_the_test():
    split = split_by_frames(np.arange(250))
    assert [k for k, name in enumerate(split) if name == "test"] == [*range(10), *range(100, 110), *range(200, 210)]
    assert set(split) == {"train", "test"}
    assert split_scans("frames", ["anna"] * 250) == split


class TestFile:
    def test_names_say_the_split(self, write):
        path = write({"train": ["anna", "zoë"], "test": ["ben"], "dropped": ["jürgen"]})
        assert split_scans(path, ["zoë", "anna", "ben", "jürgen", "anna"]) == [
            "train",
            "train",
            "test",
            "dropped",
            "train",
        ]

    def test_composed_and_decomposed_letters_are_the_same(self, write):
        assert read_split(write({"train": ["anna", "ben", "ju\u0308rgen", "zoe\u0308"]}), NAMES) == dict.fromkeys(
            NAMES, "train"
        )

    def test_subjects_that_were_not_asked_for_may_be_named(self, write):
        path = write({"train": ["anna"], "test": ["ben", "jürgen", "zoë"]})
        assert read_split(path, ["anna"], left_out=["ben", "jürgen", "zoë"]) == {"anna": "train"}

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"train": NAMES, "test": ["anna"]}, "the subject 'anna' is in 'train' and in 'test'"),
            (
                {"train": [*NAMES, "bob", "eve"]},
                "names 'bob', 'eve', of whom there are no scans; the subjects are 'anna'",
            ),
            ({"train": NAMES[:2]}, "does not say where 'jürgen', 'zoë' belong"),
            ({"train": NAMES, "validation": []}, "no split 'validation'; the splits are train, val, test, dropped"),
            ({"train": [1, 2]}, "the list 'train' holds 1; wanted names"),
            ({"train": "anna"}, "is no table of lists"),
            (["anna"], "is no table of lists"),
            ("{train: 1", "is no JSON"),
            ("[" * 100_000, "is no JSON"),
        ],
    )
    def test_what_is_wrong_is_named(self, write, content, message):
        path = write(content)
        with pytest.raises(DataError, match=message) as caught:
            read_split(path, NAMES)
        assert str(path) in str(caught.value)

    def test_an_absent_file(self, tmp_path):
        with pytest.raises(
            DataError, match=r"split\.json cannot be read .No such file.*; wanted subjects, frames, or a JSON"
        ):
            split_scans(tmp_path / "split.json", NAMES)

    def test_a_twice_named_subject_in_one_list_is_harmless(self, write):
        assert read_split(write({"train": [*NAMES, "anna"]}), NAMES) == dict.fromkeys(NAMES, "train")
