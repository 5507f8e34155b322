"""The rate of the viewer is measured on what a page gets."""

import json

import pytest


def test_a_dragged_slider_is_drawn_and_received(program, capsys):
    pytest.importorskip("viser", reason="needs viser, which is absent")
    assert program("viewer_rate").main(["--vertices", "1200", "--recipe", "wsdf-published-coma", "--seconds", "1"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["vertices"] == 1200
    assert found["drawn"] > 10
    assert 0 < found["received"] <= 2 * found["drawn"] + 5
    assert 0 < found["lag_ms"] < 1000
    assert found["cpu_ms"] < 50
