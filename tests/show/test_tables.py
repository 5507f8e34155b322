import pytest

from meshdisent.errors import UsageError
from meshdisent.show.tables import Column, Row, Table


@pytest.fixture
def table():
    columns = [
        Column("E_avd", "mm"),
        Column("E_neu", "mm"),
        Column("seen", better="higher", decimals=0),
        Column("note", better=""),
    ]
    return Table(
        columns,
        [
            Row("truth", [0.0, 0.01, 99.0, "-"], "reference"),
            Row("WSDF", [0.9, 1.2, 5.0, "a"], "model"),
            Row("ridge", [None, 0.5, 7.0, "b"]),
            Row("mean", [2.0, 3.0, 5.0, "c"]),
        ],
    )


def classes(table, row, column):
    return table.lines[row].cells[column].classes.split()


def test_the_best_value_of_a_column_is_marked_and_references_do_not_compete(table):
    best = [(i, k) for i in range(4) for k in range(4) if "best" in classes(table, i, k)]
    assert best == [(1, 0), (2, 1), (2, 2)]


def test_baselines_that_beat_the_model_are_flagged_and_listed(table):
    assert table.losses() == [("ridge", "E_neu"), ("ridge", "seen")]
    assert [line.beats for line in table.lines] == [False, False, True, False]
    assert "beats" in classes(table, 2, 1)
    assert table.legend == "Bold: best of the column, references left out. Shaded cells: better than the model."


def test_without_a_model_nobody_is_beaten():
    table = Table([Column("E_avd", "mm")], [Row("a", [1.0]), Row("b", [2.0])])
    assert table.losses() == []
    assert table.legend == "Bold: best of the column."


def test_a_single_row_is_not_praised():
    assert Table([Column("E_avd", "mm")], [Row("a", [1.0], "model")]).legend == ""


def test_what_looks_equal_is_equal():
    table = Table([Column("E_avd", "mm", decimals=2)], [Row("m", [0.504], "model"), Row("b", [0.496])])
    assert table.losses() == []
    assert [("best" in line.cells[0].classes) for line in table.lines] == [True, True]


def test_numbers_are_printed_with_their_decimals_and_gaps_as_a_dash():
    column = Column("E_avd", "mm", decimals=2)
    assert [column.show(value) for value in (1.005e3, 0.1, None, float("nan"), "x")] == [
        "1,005.00",
        "0.10",
        "–",
        "–",
        "x",
    ]


def test_tables_that_do_not_fit_are_refused():
    with pytest.raises(UsageError, match="'a' of a table has 1 values for 2 columns; wanted one for each"):
        Table([Column("x"), Column("y")], [Row("a", [1.0])])
    with pytest.raises(UsageError, match="role 'winner'; wanted model, baseline, reference"):
        Table([Column("x")], [Row("a", [1.0], "winner")])
    with pytest.raises(UsageError, match="better='less'; wanted 'lower', 'higher'"):
        Column("x", better="less")
