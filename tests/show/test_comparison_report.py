"""A comparison as text, Markdown and page: what is bold, what is undefined, and that nothing of a name is code."""

import re
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.evaluation.comparison import compare
from meshdisent.show import code_pictures, comparison_pictures, evaluation_pictures
from meshdisent.show.comparison_report import (
    add_comparison,
    all_tables,
    comparison_markdown,
    comparison_table,
    comparison_text,
    markdown_table,
)
from meshdisent.show.html import Report
from meshdisent.show.tables import Column, Row, Table

WILD = "<b>wild|name</b>"


@pytest.fixture(autouse=True)
def small_pictures(monkeypatch):
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    monkeypatch.setattr(evaluation_pictures, "SIZE", (60, 72))


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def models(scans):
    torch.set_num_threads(1)
    return {
        WILD: small_faces.linear(scans, identity_size=3, expression_size=4),
        "poor": small_faces.linear(scans),
        "one code": small_faces.Unsplit(scans),
    }


@pytest.fixture(scope="module")
def comparison(models, scans):
    return compare(models, scans)


@pytest.fixture(scope="module")
def page(comparison, models, scans, tmp_path_factory):
    """The report, its text and the folder of its pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MESHDISENT_RENDERER", "software")
        patch.setattr(evaluation_pictures, "SIZE", (60, 72))
        report = Report(f"{WILD} on faces.h5")
        add_comparison(report, comparison, models, scans, folder)
        return report, report.html(), folder


def row(table, name):
    return next(line for line in table.lines if line.name == name)


def test_models_come_first_then_baselines_then_what_does_not_compete(comparison):
    table = comparison_table(comparison)
    assert [(one.name, one.role) for one in table.rows] == [
        (WILD, "model"), ("poor", "model"), ("one code", "model"), ("input", "baseline"), ("mean face", "baseline"),
        ("PCA 4", "baseline"), ("PCA 7", "baseline"), (f"PCA {59}", "baseline"), ("ridge to mode", "baseline"),
        ("subject's mean scan", "reference"), ("the truth", "reference"),
    ]  # fmt: skip
    assert [column.name for column in table.columns] == ["code", "E_avd", "E_id", "E_exp", "E_neu", "E_neu kept"]
    assert row(table, "poor").cells[0].text == "2 + 2"


def test_numbers_have_intervals_and_undefined_cells_are_dashes(comparison):
    summary = comparison.evaluations["poor"].figures["E_avd"]
    cell = row(comparison_table(comparison), "poor").cells[1]
    assert (cell.text, cell.note) == (f"{summary['mean']:.3f}", f"{summary['low']:.3f}–{summary['high']:.3f}")
    assert [cell.text for cell in row(comparison_table(comparison), "one code").cells[2:]] == ["–"] * 4


def test_bold_is_what_the_comparison_calls_best_and_nothing_else(comparison):
    table = comparison_table(comparison)
    bold = {(line.name, k) for line in table.lines for k, cell in enumerate(line.cells) if "best" in cell.classes}
    paths = [("E_avd",), ("E_id", "b"), ("E_exp", "b"), ("E_neu",), ("E_neu_kept",)]
    assert bold == {(comparison.best[p], k) for k, p in enumerate(paths, start=1) if comparison.best.get(p)}
    assert ("one code", 1) in bold
    nobody = replace(comparison, best=dict.fromkeys(comparison.best))
    assert not any("best" in cell.classes for line in comparison_table(nobody).lines for cell in line.cells)


def test_the_text_has_every_table_every_finding_and_every_note(comparison):
    text = comparison_text(comparison)
    assert text.startswith("3 models on 20 scans of 4 subjects")
    assert "*0.000 [0.000–0.000]" in text
    for line in comparison.findings:
        assert line in text
    squeezed = " ".join(text.split())
    for note in comparison.notes:
        assert f"note: {' '.join(note.split())}" in squeezed


def test_markdown_has_a_bold_best_and_escapes_names(comparison):
    text = comparison_markdown(comparison, f"{WILD} on faces.h5")
    assert "**0.000** (0.000–0.000)" in text
    assert "&lt;b>wild\\|name&lt;/b>" in text
    assert "<b>" not in text
    widths = {line.count("|") - line.count("\\|") for line in text.splitlines() if line.startswith("| poor | 2 + 2")}
    assert widths == {8}


def test_markdown_tables_escape_what_would_be_markup():
    table = Table([Column("a*b", "mm")], [Row("_x_|`y`", ["1\n2"])])
    assert markdown_table(table) == ["| | a\\*b, mm |", "|---|---:|", "| \\_x\\_\\|\\`y\\` | 1 2 |"]


def test_the_page_has_every_section(page):
    report, text, folder = page
    assert [section.title for section in report.sections] == [
        "The numbers", "What can be told apart", "What leaks, and what else the codes say", "Where the errors lie",
        "The expression taken off, and what is known of the truth", "The expressions of others",
        "Where expression codes lie", "What the leading modes hold",
    ]  # fmt: skip
    assert sorted(path.name for path in folder.iterdir()) == [
        "error-maps.png", "extremes.png", "modes.png", "neutral-estimates.png", "neutrals.png", "transfer-1.png",
        "transfer-2.png", "tsne-1.png", "tsne-2.png", "tsne-legend.png",
    ]  # fmt: skip
    assert text.count("data:image/png;base64") == 10
    assert text.count("<img ") == text.count('alt="') == 10


def test_the_page_is_complete_and_holds_no_foreign_markup(page):
    _, text, _ = page
    assert not re.search(r'(src|href)="(?!data:|#)', text)
    assert "<script" not in text
    assert "<b>wild" not in text
    assert "&lt;b&gt;wild|name&lt;/b&gt;" in text


def test_the_same_comparison_makes_the_same_page(page, comparison, models, scans):
    report = Report(f"{WILD} on faces.h5")
    add_comparison(report, comparison, models, scans)
    assert report.html() == page[1]


def test_models_without_two_codes_leave_sections_out(scans):
    models = {"one code": small_faces.Unsplit(scans)}
    report = Report("test")
    add_comparison(report, compare(models, scans), models, scans)
    titles = [section.title for section in report.sections]
    assert "The expressions of others" not in titles
    assert "Where expression codes lie" not in titles
    assert "Where the errors lie" in titles


def test_scans_without_labels_neutrals_or_training_are_no_reason_to_fail(models):
    for settings in ({"labels": False, "truth": False}, {"split": ["test"] * 80}):
        few = small_faces.scans(**settings)
        report = Report("test")
        add_comparison(report, compare(models, few), models, few)
        assert len(report.html()) > 10_000


def test_one_scan_is_no_reason_to_fail(models):
    few = small_faces.scans(split=["train"] * 60 + ["test"] + ["dropped"] * 19)
    found = compare(models, few)
    report = Report("test")
    add_comparison(report, found, models, few)
    assert "Where expression codes lie" not in [section.title for section in report.sections]
    assert len(all_tables(found)) >= 2


def test_one_model_far_worse_than_the_others_does_not_wash_them_out():
    errors = [np.linspace(0, top, 500) for top in (1.0, 1.1, 50.0)]
    low, high = comparison_pictures.shared_limits(errors)
    assert (low, high) == (0.0, 3.0)
    assert comparison_pictures.shared_limits(errors[:2]) == (0.0, 1.5)


def test_scatter_plots_take_at_most_twelve_subjects_with_all_their_scans(comparison, scans):
    evaluation = comparison.evaluations["poor"]
    assert code_pictures.chosen_scans(evaluation, scans).tolist() == list(range(20))
    everybody = replace(evaluation, rows=np.arange(80), avd=None, neu=None, codes=np.zeros((80, 4), np.float32))
    places = code_pictures.chosen_scans(everybody, scans)
    assert len(np.unique(scans.subject[places])) == 12
    assert len(places) == 60


def test_scatter_plots_color_expressions_and_mark_subjects(comparison, models, scans, monkeypatch):
    drawn = []

    class Axes:
        def __init__(self):
            self.spines = {}

        def scatter(self, *points, c, marker, **style):
            drawn.append((c, marker, len(points[0])))

        def __getattr__(self, name):
            return lambda *arguments, **settings: None

    monkeypatch.setattr(code_pictures, "_figure", lambda size: (None, Axes()))
    monkeypatch.setattr(code_pictures, "_drawn", lambda figure: np.zeros((2, 2, 3), np.uint8))
    assert code_pictures.expression_scatter(comparison.evaluations["poor"], models["poor"], scans) is not None
    assert [marker for _, marker, _ in drawn] == list(code_pictures.MARKERS[:4])
    assert [count for _, _, count in drawn] == [5] * 4
    colors = [tuple(map(tuple, shades)) for shades, _, _ in drawn]
    assert len(set(colors)) == 1  # every subject shows the same expressions in the same order
    assert len(set(colors[0])) == 5
