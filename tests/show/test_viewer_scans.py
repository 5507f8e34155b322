"""Scans that the viewer offers: their order, labels, frames and displacement."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.show.viewer_scans import Place, ScanChoices

FACES = np.array([[0, 1, 2]])


def dataset(**replaced):
    settings = {
        "subject_names": ["ben", "ben", "ben", "ben", "anna"],
        "expression_names": ["smile", "talk", "talk", "neutral", None],
        "frame": [-1, 7, 3, -1, -1],
        "split": ["train", "train", "train", "val", "test"],
    } | replaced
    vertices = np.arange(5.0)[:, None, None] * np.ones((5, 3, 3))
    names = settings.pop("subject_names"), settings.pop("expression_names")
    return ScanDataset.from_arrays(vertices, FACES, *names, **settings)


@pytest.fixture
def choices():
    return ScanChoices([dataset()])


def test_the_scan_at_rest_comes_first_and_frames_in_their_order(choices):
    assert choices.subjects == ("ben", "anna")
    assert choices.expressions("ben") == ("neutral", "smile", "talk")
    assert choices.frames("ben", "talk") == [3, 7]
    assert choices.vertices(Place(subject="ben", expression="talk"))[0, 0] == 2.0
    assert choices.vertices(Place(subject="ben", expression="talk", take=1))[0, 0] == 1.0


def test_stepping_visits_every_scan_once_and_comes_back(choices):
    place, seen = choices.first, []
    for _ in range(5):
        seen.append(float(choices.vertices(place)[0, 0]))
        place = choices.step(place, 1)
    assert seen == [3.0, 0.0, 2.0, 1.0, 4.0]
    assert place == choices.first
    assert choices.step(choices.step(place, -1), 1) == place
    assert choices.step(place, -2) == Place(subject="ben", expression="talk", take=1)


def test_labels_say_what_is_known(choices):
    place = Place(subject="ben", expression="talk", take=1)
    assert choices.labels(place) == {
        "subject": "ben", "expression": "talk", "frame": "7", "split": "train", "row": "1 of 5",
    }  # fmt: skip
    assert choices.labels(Place(subject="anna", expression="?"))["expression"] == "?"


def test_the_set_is_told_where_several_were_combined():
    choices = ScanChoices([dataset(set_names=["one", "one", "one", "one", "two"])])
    assert choices.labels(Place(subject="anna", expression="?"))["set"] == "two"


def test_displacement_is_measured_from_the_subject_at_rest(choices):
    moved = choices.displacement_mm(Place(subject="ben", expression="smile"))
    np.testing.assert_allclose(moved, 3 * 3**0.5, rtol=1e-6)
    assert choices.displacement_mm(Place(subject="anna", expression="?")) is None


def test_a_true_neutral_goes_before_the_scan_of_it():
    choices = ScanChoices([dataset(truth={"ben": np.full((3, 3), 10.0)})])
    assert choices.neutral("ben")[0, 0] == 10.0
    assert choices.neutral("anna") is None


def test_subjects_of_one_name_in_two_datasets_are_told_apart():
    choices = ScanChoices([dataset(), dataset(subject_names=["ben"] * 5)])
    assert choices.subjects == ("ben", "anna", "ben*")
    assert choices.vertices(Place(subject="ben*", expression="?"))[0, 0] == 4.0


@pytest.mark.parametrize(
    ("place", "says"),
    [
        (Place(subject="carl", expression="smile"), "no subject 'carl'"),
        (Place(subject="ben", expression="grin"), "no expression 'grin'"),
        (Place(subject="ben", expression="smile", take=1), "has 1 scans"),
    ],
)
def test_a_place_without_a_scan_is_refused(choices, place, says):
    with pytest.raises(DataError, match=says):
        choices.vertices(place)


def test_nothing_to_choose_from_is_refused():
    with pytest.raises(DataError, match="no scan to choose from"):
        ScanChoices([])
