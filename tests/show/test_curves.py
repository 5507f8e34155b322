import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.show.curves import COLORS, training_curves


def row(step, terms, figures):
    return {"step": step, "seconds": 1.0, "terms": terms, "figures": figures, "skipped": 0, "warnings": []}


def has_color(picture, color):
    wanted = np.array([int(color[k : k + 2], 16) for k in (1, 3, 5)])
    return bool((np.abs(picture.astype(int) - wanted).max(-1) <= 2).any())


def test_each_term_and_figure_is_a_line_in_its_own_half():
    rows = [row(k, {"a": 2.0 / k, "b": 1.0 / k}, {"E_avd": 1.0 / k}) for k in range(1, 30)]
    picture = training_curves(rows, title="A run", size=(900, 400))
    assert picture.shape == (400, 900, 3)
    left, right = picture[:, :450], picture[:, 450:]
    assert [has_color(left, color) for color in COLORS[:3]] == [True, True, False]
    assert [has_color(right, color) for color in COLORS[:2]] == [True, False]


def test_zeros_missing_values_and_words_are_left_out_without_a_warning():
    rows = [
        row(1, {"hinge": 0.0, "a": float("nan")}, {"E_avd": None, "note": "none", "flag": True}),
        row(2, {"hinge": 0.0, "a": -1.0}, {}),
        {"step": 3},
    ]
    picture = training_curves(rows, size=(600, 300))
    assert not any(has_color(picture, color) for color in COLORS[:6])


def test_more_lines_than_colors_are_all_drawn():
    rows = [row(k, {f"term {i}": float(i + k) for i in range(1, 10)}, {}) for k in (1, 2)]
    picture = training_curves(rows)
    assert all(has_color(picture, color) for color in COLORS)


def test_an_empty_log_is_refused():
    with pytest.raises(DataError, match="no row with a step; wanted at least one"):
        training_curves([])
