"""Tables of the evidence: what is flagged, and what is left out."""

import pytest

from meshdisent.show.evaluation_report import text_table
from meshdisent.show.evidence_tables import (
    control_table,
    evidence_tables,
    factor_table,
    leak_table,
    recognition_table,
    shape_table,
)
from meshdisent.show.tables import Column, Estimate, Row, Table


def answers(accuracy, low, high, chance=0.05):
    return {"accuracy": accuracy, "chance": chance, "low": low, "high": high, "scans": 20, "unconverged": 0}


@pytest.fixture
def named():
    leak = {"rate": 0.5, "chance": 0.04}
    curve = {"entries": [1, 2], "E_avd": [0.9, 0.4], "scans": 20}
    evidence = {
        "recognition": {"identity_code": {"rate": 0.9, "chance": 0.25, "low": 0.8, "high": 1.0}, "identity_face": None},
        "support_vectors": answers(0.8, 0.7, 0.9) | {"same_scans": 1.0},
        "spread_of_people": {"mean": 3.0, "std": 0.1},
        "probes": {
            "expression_from_identity": {"linear": answers(0.07, 0.06, 0.08), "network": answers(0.06, 0.04, 0.09)},
            "subject_from_expression": {"linear": answers(0.5, None, None), "network": None},
            "expression_from_expression": {"linear": answers(0.99, 0.98, 1.0)},
        },
        "factors": {"disentanglement": 0.5, "completeness": 0.25, "informativeness": 1.0, "sap": None, "mig": 0.0},
        "generalization": curve,
        "compactness": {"entries": [1, 2], "variance_mm2": [1.0, 2.0], "share": [0.5, 1.0], "entries_for_95": 2},
        "specificity": {"mean": 4.0, "std": 0.5, "median": 4.0, "samples": 200},
    }
    both = {"expression_from_identity": leak, "subject_from_expression": {"rate": None, "chance": None}}
    return {"mine": {"leak": both, "evidence": evidence}, "PCA": {"leak": None, "evidence": None}}


def cells(table):
    return [(cell.text, cell.note, "beats" in cell.classes) for cell in table.lines[0].cells]


def test_what_is_above_chance_with_95_percent_is_flagged(named):
    table = leak_table(named, "expression_from_identity")
    assert [row.name for row in table.rows] == ["mine"]
    assert cells(table) == [
        ("50.0", "", False), ("4.0", "", False), ("7.0", "6.0–8.0", True), ("6.0", "4.0–9.0", False),
        ("5.0", "", False),
    ]  # fmt: skip
    assert table.legend == "Shaded: above chance on the measured people, with 95 %."


def test_without_an_interval_nothing_is_flagged_and_what_is_undefined_is_a_dash(named):
    assert cells(leak_table(named, "subject_from_expression")) == [
        ("–", "", False), ("–", "", False), ("50.0", "", False), ("–", "", False), ("5.0", "", False),
    ]  # fmt: skip


def test_every_table_says_what_it_was_given(named):
    assert cells(control_table(named))[0] == ("99.0", "98.0–100.0", False)
    assert [text for text, _, _ in cells(recognition_table(named))] == ["90.0", "–", "25.0", "80.0", "100.0", "3.00"]
    assert [text for text, _, _ in cells(factor_table(named))] == ["0.500", "0.250", "1.000", "–", "0.000"]
    assert [text for text, _, _ in cells(shape_table(named))] == ["0.400", "2", "2", "4.000", "0.500"]


def test_tables_without_a_row_are_left_out(named):
    assert len(evidence_tables(named)) == 6
    assert evidence_tables({"PCA": named["PCA"]}) == []


def test_estimates_bring_their_own_best_and_never_compete():
    rows = [Row("a", [Estimate(1.0, 0.9, 1.1)], "model"), Row("b", [Estimate(2.0, 1.9, 2.1, is_best=True)], "model")]
    table = Table([Column("error", "mm")], rows, marks="Bold: so it is.")
    assert ["best" in line.cells[0].classes for line in table.lines] == [False, True]
    assert (table.losses(), table.has_others, table.legend) == ([], False, "Bold: so it is.")
    assert [line.split() for line in text_table(table, {"best": "*"})] == [
        ["error"], ["a", "1.000", "[0.900–1.100]"], ["b", "*2.000", "[1.900–2.100]"],
    ]  # fmt: skip
