"""An evaluation as a report: tables, warnings, and pictures of what they say they show."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.evaluation.protocol import evaluate
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.show import evaluation_pictures
from meshdisent.show.evaluation_report import (
    add_evaluation,
    evaluation_table,
    evaluation_text,
    expression_lines,
    leak_lines,
    spread_table,
    text_table,
)
from meshdisent.show.html import Report


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    monkeypatch.setattr(evaluation_pictures, "SIZE", (60, 72))


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    torch.set_num_threads(1)
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def evaluation(model, scans, tmp_path_factory):
    table = small_faces.write_pairs(tmp_path_factory.mktemp("pairs"), [(12, 0, 13, 1), (13, 1, 14, 2)])
    return evaluate(model, scans, transfer=TransferPairs.read(table, scans))


def cells(table):
    return {line.name: [cell.text for cell in line.cells] for line in table.lines}


def test_the_table_has_the_model_first_then_the_baselines_then_what_does_not_compete(evaluation):
    table = evaluation_table(evaluation)
    assert [(row.name, row.role) for row in table.rows] == [
        ("linear", "model"), ("input", "baseline"), ("mean face", "baseline"), ("PCA 4", "baseline"),
        ("ridge to mode", "baseline"), ("subject's mean scan", "reference"), ("true neutral", "reference"),
        ("true displacement", "reference"), ("the truth", "reference"),
    ]  # fmt: skip
    assert [column.name for column in table.columns] == [
        "E_avd", "E_id", "E_exp", "E_neu", "E_neu kept", "E_tra", "E_tra kept",
    ]  # fmt: skip
    figures = evaluation.figures
    assert table.rows[0].values[3] == figures["E_neu"]["mean"]
    assert cells(table)["PCA 4"][1:] == ["–"] * 6
    assert cells(table)["the truth"][2] == f"{figures['E_exp']['truth']['b']['mean']:.3f}"
    moving = evaluation_table(evaluation, "moving")
    assert moving.rows[0].values[3] == figures["E_neu"]["moving"]


def test_the_table_flags_the_baselines_that_the_verdicts_name(evaluation):
    losses = {f"loses to {name} on {figure}" for name, figure in evaluation_table(evaluation).losses()}
    said = {re.sub(r"( plain| b)?: .*", "", line) for line in evaluation.verdicts}
    assert "loses to PCA 4 on E_avd" in said
    assert losses == said


def test_the_mean_face_wins_nothing_by_saying_the_same_to_everything(evaluation):
    table = evaluation_table(evaluation)
    assert cells(table)["mean face"][1] == "0.000"
    assert ("mean face", "E_id") not in table.losses()


def test_columns_that_nobody_has_are_left_out(model, scans):
    assert [column.name for column in evaluation_table(evaluate(model, scans)).columns] == [
        "E_avd", "E_id", "E_exp", "E_neu", "E_neu kept",
    ]  # fmt: skip


def test_mean_deviation_and_median_of_every_figure_are_shown(evaluation):
    table = spread_table(evaluation)
    assert len(table.rows) == 11
    row = next(row for row in table.rows if row.name == "E_id, variant a (as published)")
    summary = evaluation.figures["E_id"]["a"]
    assert list(row.values) == [summary[part] for part in ("mean", "low", "high", "std", "median", "moving")]


def test_leak_stands_beside_chance(evaluation):
    leak = {
        "subject_from_expression": {"rate": 0.5, "chance": 0.2},
        "expression_from_identity": {"rate": 0.05, "chance": 0.05},
    }
    found = leak_lines(replace(evaluation, figures={**evaluation.figures, "leak": leak}))
    assert found == [
        "the nearest scan by expression code is of the same subject 50.0 % of the time (by chance 20.0 %)",
        "the nearest scan by identity code shows the same expression 5.0 % of the time (by chance 5.0 %): "
        "the nearest neighbor tells nothing",
    ]
    leak["expression_from_identity"] = {"rate": None, "chance": None}
    assert len(leak_lines(replace(evaluation, figures={**evaluation.figures, "leak": leak}))) == 1
    assert leak_lines(replace(evaluation, figures={**evaluation.figures, "leak": None})) == []


@pytest.mark.parametrize(("own", "side"), [(0.5, "below the 0.700"), (0.9, "above the 0.700")])
def test_less_spread_than_the_truth_is_not_praised(evaluation, own, side):
    spread = {"b": {"mean": own}, "truth": {"b": {"mean": 0.7}}}
    (line,) = expression_lines(replace(evaluation, figures={**evaluation.figures, "E_exp": spread}))
    assert f"E_exp is {own:.3f} mm, {side} mm of the true displacements. Less E_exp is not better below" in line
    assert expression_lines(replace(evaluation, figures={**evaluation.figures, "E_exp": None})) == []


def test_text_columns_are_aligned(evaluation):
    lines = text_table(evaluation_table(evaluation))
    assert len({len(line) for line in lines}) == 1
    ends = [match.end() for match in re.finditer(r"E_avd|E_id|E_exp|E_neu kept|E_neu|E_tra kept|E_tra", lines[0])]
    for line in lines[1:]:
        assert all(line[end - 1] != " " for end in ends)


def test_the_text_says_so_when_nothing_is_better(evaluation):
    winner = replace(evaluation, verdicts=[], figures={**evaluation.figures, "baselines": {}})
    assert "no baseline is better than the model\n" in evaluation_text(winner)
    assert "WARNING" not in evaluation_text(winner)
    near = {"mean": 1e6, "moving": 0.0}
    moved = replace(
        winner, figures={**winner.figures, "baselines": {"PCA": dict.fromkeys(winner.figures) | {"E_avd": near}}}
    )
    assert "\nno baseline is better than the model over all vertices\n" in evaluation_text(moved)
    assert "* better than the model" in evaluation_text(moved)


def test_the_report_has_every_section_and_every_picture_as_a_file(evaluation, model, scans, tmp_path):
    report = Report("test")
    add_evaluation(report, evaluation, model, scans, tmp_path)
    assert [section.title for section in report.sections] == [
        "The numbers", "Where the errors lie", "The expression taken off", "The expressions of others",
        "From one face to another", "New people",
    ]  # fmt: skip
    assert report.warnings == [f"linear {verdict}." for verdict in evaluation.verdicts]
    assert len(list(tmp_path.iterdir())) == 6
    kinds = [block.kind for section in report.sections for block in section.blocks]
    assert kinds.count("table") == 3
    assert kinds.count("pictures") == 6
    assert "Less E_exp is not better" in report.html()


def test_a_model_with_one_code_gets_the_sections_that_it_can_have(scans):
    model = small_faces.Unsplit(scans)
    report = Report("test")
    add_evaluation(report, evaluate(model, scans), model, scans)
    titles = [section.title for section in report.sections]
    assert titles == ["The numbers", "Where the errors lie", "New people"]


def test_one_subject_or_one_scan_is_no_reason_to_fail(model):
    for count in (1, 5):
        few = small_faces.scans(split=["train"] * 60 + ["test"] * count + ["dropped"] * (20 - count))
        report = Report("test")
        add_evaluation(report, evaluate(model, few), model, few)
        assert "The expressions of others" not in [section.title for section in report.sections]


def test_scans_without_labels_and_neutrals_are_drawn_too(model):
    scans = small_faces.scans(labels=False, truth=False)
    report = Report("test")
    add_evaluation(report, evaluate(model, scans), model, scans)
    titles = [section.title for section in report.sections]
    assert "The expression taken off" not in titles
    assert "The expressions of others" in titles


def test_the_scans_of_a_picture_are_chosen_by_their_error(evaluation, model, scans, monkeypatch):
    drawn = []

    def note(rows, *labels, **others):
        drawn.append(labels)
        return np.zeros((2, 2, 3), np.uint8)

    monkeypatch.setattr(evaluation_pictures, "sheet", note)
    evaluation_pictures.reconstructions(evaluation, model, scans)
    order = np.argsort(evaluation.avd, kind="stable")
    names = scans.names(evaluation.rows[order[[0, 10, 19]]])
    labels = drawn[0][0]
    assert [label.split("\n")[:2] for label in labels] == [
        ["best", names[0]], ["median", names[1]], ["worst", names[2]],
    ]  # fmt: skip
    assert labels[0].endswith(f"{evaluation.avd.min():.2f} mm")
    evaluation_pictures.neutrals(evaluation, model, scans, count=4)
    people = [name.split("/")[0] for name in drawn[1][1]]
    assert sorted(people) == ["s12", "s13", "s14", "s15"]
    assert not any(name.endswith("/neutral") for name in drawn[1][1])


def test_people_and_expressions_of_a_transfer_are_of_different_subjects(evaluation, scans):
    who, what = evaluation_pictures._cast(evaluation, scans, 4, 5)
    assert set(scans.subject[who]) & set(scans.subject[what]) == set()
    assert set(who) | set(what) <= set(scans.rows("test"))
    assert len(set(scans.expression[what])) == len(what)
    assert [scans.expressions[scans.expression[row]] for row in who] == ["neutral"] * len(who)
