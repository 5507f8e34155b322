"""Pieces of the panel as HTML: text from files is escaped, the color bar has the colors and ticks of its limits."""

import re

import numpy as np

from meshdisent.show.pictures import map_colors
from meshdisent.show.viewer_panel import color_bar_html, copy_button, note, table

EVIL = '<img src=x onerror="alert(1)">\'&'


def test_names_from_files_are_escaped():
    for made in (table({EVIL: EVIL}), note(EVIL), copy_button(EVIL), color_bar_html((0.0, 1.0), EVIL)):
        assert "<img" not in made
        assert "&lt;img src=x onerror=&quot;alert(1)&quot;&gt;&#x27;&amp;" in made


def test_the_color_bar_ends_in_the_colors_of_its_limits():
    made = color_bar_html((0.0, 2.0), "Distance")
    stops = re.findall("#([0-9a-f]{6})", made)
    ends = [np.array([int(stop[k : k + 2], 16) for k in (0, 2, 4)]) / 255 for stop in (stops[0], stops[-1])]
    np.testing.assert_allclose(ends, map_colors(np.array([0.0, 2.0]), (0.0, 2.0)), atol=0.003)
    assert re.findall(r">([^<>]+)</span>", made) == ["0.0", "0.5", "1.0", "1.5", "\u2265 2.0 mm"]
    assert "Distance" in made


def test_no_tick_stands_under_the_label_of_the_last():
    made = color_bar_html((0.0, 0.6), "Distance")
    assert re.findall(r">([^<>]+)</span>", made) == ["0.0", "0.1", "0.2", "0.3", "0.4", "\u2265 0.6 mm"]
