"""The figures of each set alone are those of a file with only that set in it."""

import dataclasses
import sys
from pathlib import Path

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.evaluation.per_set import figures_per_set
from meshdisent.evaluation.protocol import evaluate
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.show.set_table import set_lines, set_table

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces


@pytest.fixture(scope="module")
def scans() -> ScanDataset:
    """Everyone, every second person of the set b, none of c in the test."""
    scans = small_faces.scans()
    numbers = np.where(scans.subject == 0, 2, scans.subject % 2)
    labels = dataclasses.replace(scans.labels, sets=("a", "b", "c"), set_of_scan=numbers)
    return ScanDataset(scans.topology, labels, scans.vertices(), truth=scans.truth)


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


def test_each_set_is_measured_as_if_it_were_alone(scans, model):
    found = figures_per_set(model, scans)
    assert list(found) == ["a", "b", "c"]
    assert found["c"] is None
    rows = scans.rows("test")
    for number, name in enumerate("ab"):
        own = rows[scans.set_of_scan[rows] == number]
        alone = evaluate(model, scans, rows=own).figures
        assert found[name]["E_avd"] == alone["E_avd"]
        assert found[name]["E_neu"] == alone["E_neu"]
        assert found[name]["leak"] == alone["leak"]
        assert (found[name]["scans"], found[name]["subjects"]) == (len(own), 2)


def test_transfers_count_for_the_set_of_the_person(scans, model):
    first, second = scans.scan("s12/neutral"), scans.scan("s13/smile")
    truth = scans.vertices(np.array([second, first])).astype(float)
    pairs = TransferPairs(np.array([first, first]), np.array([second, first]), truth)
    found = figures_per_set(model, scans, transfer=pairs)
    assert found["a"]["E_tra"]["plain"]["mean"] > 0
    assert found["b"]["E_tra"] is None


def test_scans_of_one_set_have_no_figures_of_sets(model):
    assert figures_per_set(model, small_faces.scans()) == {}


def test_an_empty_split_is_refused(scans, model):
    with pytest.raises(DataError, match="has no scans in its val split"):
        figures_per_set(model, scans, "val")


def test_the_table_has_a_row_a_set_and_says_where_there_is_no_scan(scans, model):
    found = figures_per_set(model, scans)
    table = set_table(found)
    assert [line.name for line in table.lines] == ["a", "b", "c"]
    lines = set_lines(found)
    assert any(f"{found['a']['E_avd']['mean']:.3f}" in line for line in lines)
    assert lines[-1] == "a: 10 scans of 2 subjects; b: 10 scans of 2 subjects; c: no scan"
    assert set_lines({}) == []
