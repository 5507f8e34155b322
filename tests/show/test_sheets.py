import numpy as np
import pytest

from meshdisent.errors import UsageError
from meshdisent.show.color_bar import color_bar, nice_ceiling, tick_labels, ticks
from meshdisent.show.lettering import text_block, text_width, wrap
from meshdisent.show.pictures import map_colors
from meshdisent.show.sheets import heat_map_sheet, letter_pixels, sheet

RED, BLUE = (200, 30, 40), (20, 40, 220)


def tile(color, width=60, height=50):
    return np.full((height, width, 3), color, np.uint8)


def boxes(page, color):
    """Left, top, right, bottom of the region of a color; and whether it is filled."""
    rows, columns = np.nonzero((page == color).all(-1))
    return columns.min(), rows.min(), columns.max() + 1, rows.max() + 1


def test_pictures_stand_on_a_grid_unchanged():
    page = sheet([[tile(RED), tile(BLUE)]])
    left, top, right, bottom = boxes(page, RED)
    assert (page[top:bottom, left:right] == RED).all()
    assert (right - left, bottom - top) == (60, 50)
    next_left, next_top, *_ = boxes(page, BLUE)
    assert next_top == top
    assert next_left > right
    assert left == top == page.shape[1] - boxes(page, BLUE)[2] == page.shape[0] - bottom  # margins are equal


def test_columns_stay_in_line_with_labels_empty_places_and_short_rows():
    page = sheet([[tile(RED), None, tile(RED)], [None, tile(BLUE)]], ["first", "second"], ["a", "b", "c"])
    reds, blue = boxes(page, RED), boxes(page, BLUE)
    width = 60
    gap = (reds[2] - reds[0] - 3 * width) / 2
    assert blue[0] == reds[0] + width + gap
    assert blue[1] >= reds[3]


def test_smaller_pictures_are_centered_in_their_place():
    page = sheet([[tile(RED)], [tile(BLUE, 20, 10)]])
    red, blue = boxes(page, RED), boxes(page, BLUE)
    assert red[0] + red[2] == blue[0] + blue[2]


def test_texts_stand_where_they_belong_and_change_nothing_else():
    bare = sheet([[tile(RED)]])
    full = sheet([[tile(RED)]], ["row"], ["column"], "A title", "A caption", below=[["below"]])
    left, top, right, bottom = boxes(full, RED)
    assert (full[top:bottom, left:right] == RED).all()
    dark = full.min(-1) < 150
    assert dark[:top].any()  # title and column
    assert dark[bottom:].any()  # below and caption
    assert dark[top:bottom, :left].any()  # row
    assert not dark[top:bottom, right:].any()
    assert full.shape[0] > bare.shape[0]


def test_long_labels_are_wrapped_into_their_column():
    labels = ["a very long expression_name_that_needs several lines", "x"]
    page = sheet([[tile(RED, 200, 100), tile(BLUE, 200, 100)]], [], labels)
    top, middle = boxes(page, RED)[1], (boxes(page, RED)[2] + boxes(page, BLUE)[0]) // 2
    assert (page[:top, middle - 1 : middle + 1] == 255).all()


def test_wrong_counts_are_refused():
    with pytest.raises(UsageError, match="no picture; wanted at least one"):
        sheet([[None], []])
    with pytest.raises(UsageError, match="1 row_labels for 2 rows; wanted one for each"):
        sheet([[tile(RED)], [tile(RED)]], ["one"])
    with pytest.raises(UsageError, match="3 column_labels for 1 columns"):
        sheet([[tile(RED)]], [], ["a", "b", "c"])


def test_wrapped_lines_fit_and_no_letter_is_lost():
    text = "subject_0012 mouth_stretch/very-long-name andonewordthatiswiderthanthewholecolumnalone"
    lines = wrap(text, 14, 120)
    assert all(text_width(line, 14) <= 120 for line in lines)
    assert "".join(lines).replace(" ", "") == text.replace(" ", "")
    assert wrap("two\nlines", 14, 500) == ["two", "lines"]
    assert wrap("", 14, 100) == [""]


def test_text_blocks_have_the_width_asked_for():
    block = text_block("right", 14, 200, align="right")
    dark = np.nonzero(block.min((0, 2)) < 128)[0]
    assert block.shape[1] == 200
    assert dark.min() > 140
    assert dark.max() > 195


def test_letters_grow_with_the_sheet_so_that_they_survive_shrinking():
    assert letter_pixels(480) == 20
    assert letter_pixels(100) == 11
    assert letter_pixels(300, 6) == 20
    assert letter_pixels(200, 30) == 15


def test_the_color_bar_shows_the_map_from_the_upper_to_the_lower_limit():
    bar = color_bar((0.0, 2.0), 101, "viridis", pixels=16)
    top = 35  # 2.2 letters for the unit
    shown = bar[top + 1 : top + 100, 5] / 255
    values = np.linspace(2.0, 0.0, 101)[1:100]
    np.testing.assert_allclose(shown, map_colors(values, (0.0, 2.0), "viridis"), atol=1 / 255)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (0.0, 1.5), (0.0, 40.0), (0.3, 0.37), (-2.0, 5.0), (0.0, 8e-4)])
def test_ticks_have_both_ends_and_even_round_steps_between(low, high):
    found = ticks(low, high)
    assert (found[0], found[-1]) == (low, high)
    assert 4 <= len(found) <= 9
    steps = np.diff(found[1:-1])
    np.testing.assert_allclose(steps, steps[0])
    assert len(set(tick_labels(found))) == len(found) or high < 1e-3


def test_equal_limits_have_one_tick():
    assert ticks(3.0, 3.0) == [3.0]


def test_tick_labels_share_their_decimals():
    assert tick_labels([0.0, 0.5, 1.0]) == ["0.0", "0.5", "1.0"]
    assert tick_labels([0.0, 10.0]) == ["0", "10"]


@pytest.mark.parametrize(
    ("value", "wanted"), [(0.0, 1.0), (1.0, 1.0), (1.01, 1.5), (7.0, 8.0), (9.0, 10.0), (0.03, 0.03)]
)
def test_limits_are_rounded_up_to_nice_numbers(value, wanted):
    assert nice_ceiling(value) == wanted


def test_heat_maps_share_one_scale_one_camera_and_say_their_mean(head, monkeypatch):
    vertices, faces = head
    calls, texts = [], []

    def draw(scan, faces, **look):
        calls.append(look)
        return tile(RED)

    def lay_out(*arguments, below, bar):
        texts.extend(below)
        return bar

    monkeypatch.setattr("meshdisent.show.sheets.render", draw)
    monkeypatch.setattr("meshdisent.show.sheets.sheet", lay_out)
    errors = [np.full(len(vertices), 0.25), np.linspace(0, 3, len(vertices))]
    errors[1][-1] = 50.0  # one outlier must not flatten everything else
    heat_map_sheet([[vertices, vertices]], [errors], faces)
    assert texts == [["mean 0.25 mm", f"mean {errors[1].mean():.2f} mm"]]
    assert [call["limits"] for call in calls] == [(0.0, 3.0)] * 2
    assert calls[0]["camera"] is calls[1]["camera"]
    assert [call["values"] is error for call, error in zip(calls, errors, strict=True)] == [True, True]


def test_a_heat_map_sheet_is_drawn_whole(head):
    vertices, faces = head
    error = np.linspace(0, 1, len(vertices))
    page = heat_map_sheet([[vertices]], [[error]], faces, ["r"], ["c"], "t", size=(60, 70), backend="software")
    colors = page.reshape(-1, 3)
    darkest = np.round(map_colors(np.array([1.0]), (0.0, 1.0)) * 255)[0]
    assert (np.abs(colors - darkest).max(1) < 8).any()  # the upper end of the bar


def test_heat_maps_need_one_error_for_each_scan(head):
    vertices, faces = head
    with pytest.raises(UsageError, match=r"rows of \[1\] scans and of \[2\] errors; wanted the same"):
        heat_map_sheet([[vertices]], [[vertices[:, 0], vertices[:, 0]]], faces)
    with pytest.raises(UsageError, match="at least one"):
        heat_map_sheet([], [], faces)
