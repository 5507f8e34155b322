"""The thread behind the viewer's controls: the newest wish is done, nothing queues up, failures come out."""

import threading
import time

import pytest

from meshdisent.show.latest_only import LatestOnly


def until(condition):
    end = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.002)


def test_a_slow_face_is_not_drawn_for_every_event():
    drawn, done = [], []
    worker = LatestOnly(lambda: (time.sleep(0.02), drawn.append(done[-1])))
    for number in range(200):
        worker.post("slider", lambda number=number: done.append(number))
        time.sleep(0.0005)
    until(lambda: done and done[-1] == 199)
    worker.stop()
    assert len(drawn) < 60
    assert drawn[-1] == 199


def test_other_keys_are_all_done_in_the_order_of_their_newest():
    seen = []
    worker = LatestOnly(lambda: None)
    with worker.paused():
        for key in ("a", "b", "c", "a"):
            worker.post(key, lambda key=key: seen.append(key))
    worker.stop()
    assert seen == ["b", "c", "a"]


def test_it_settles_once_it_is_quiet_and_not_before():
    settled = []
    worker = LatestOnly(lambda: None, lambda: settled.append(time.monotonic()), quiet=0.1)
    for _ in range(10):
        worker.post("slider", lambda: None)
        time.sleep(0.02)
    last = time.monotonic()
    until(lambda: settled)
    assert len(settled) == 1
    assert settled[0] - last > 0.05
    worker.stop()


def test_a_failure_ends_the_wait_and_comes_out():
    worker = LatestOnly(lambda: None)
    threading.Timer(0.05, worker.post, ("x", lambda: 1 / 0)).start()
    with pytest.raises(ZeroDivisionError):
        worker.wait()
    worker.stop()
