"""The live line, on a terminal and elsewhere."""

import os
import pty
import subprocess
import sys

import pytest

from meshdisent.training import progress
from meshdisent.training.progress import LiveLine, describe, fraction_done

SHOW = """
import time
from meshdisent.training.progress import LiveLine
with LiveLine(steps=40, minutes=None, shown=True) as line:
    for step in range(1, 21):
        line.show(step, step / 10, {"kl": 0.5}, {"E_avd": 1.25, "measured": {}}, now=step in (1, 20))
        if step == 10:
            line.say("Warning: something")
"""


def test_a_terminal_shows_a_line_that_is_kept_up_to_date():
    """Also one that does not know its size, as in some containers."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen([sys.executable, "-c", SHOW], stderr=theirs, stdout=theirs)
    assert process.wait(timeout=60) == 0
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:
            break
    os.close(ours)
    assert "50% |██████      | step 20/40".encode() in shown
    assert b"E_avd 1.25 mm" in shown
    assert b"Warning: something\r\n" in shown
    assert shown.count(b"\r\n") == 2, "one line that stays for the message, one for the end"


def test_elsewhere_a_line_comes_at_most_every_half_minute_and_after_each_validation(capsys, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: clock[0])
    with LiveLine(steps=1000, minutes=None, shown=True) as line:
        for step in range(1, 71):
            clock[0] = float(step)
            line.show(step, clock[0], {}, {}, now=step == 40)
    assert capsys.readouterr().err.splitlines() == [
        "step 31/1,000 · 16 min left · 1.0 steps/s",
        "step 40/1,000 · 16 min left · 1.0 steps/s",
        "step 70/1,000 · 16 min left · 1.0 steps/s",
    ]


def test_a_silent_line_still_says_what_matters(capsys):
    with LiveLine(steps=3, minutes=None, shown=False) as line:
        line.show(1, 1.0, {}, {}, now=True)
        line.say("Warning: something")
    assert capsys.readouterr().err == "Warning: something\n"


def test_time_left_is_that_of_the_limit_that_comes_first(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(progress, "perf_counter", lambda: clock[0])
    line = LiveLine(steps=100, minutes=1.0, shown=False)
    assert line.seconds_left(0, 0.0) == 60.0
    line._speed = 4.0
    assert line.seconds_left(50, 5.0) == 12.5
    line._speed = 0.1
    assert line.seconds_left(50, 5.0) == 55.0
    assert fraction_done(100, 1.0, 50, 45.0) == 0.75


@pytest.mark.parametrize(("speed", "text"), [(0.1234, "0.12"), (3.21, "3.2"), (123.4, "123")])
def test_speeds_have_two_or_three_digits(speed, text):
    assert describe(1, None, None, speed, {}, {}) == f"step 1 · {text} steps/s"
