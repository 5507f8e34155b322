"""The probe: whatever the other process does, the answer is yes or no, in time."""

import os
import sys

import pytest

from meshdisent.show import offscreen
from meshdisent.show.offscreen import probe


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_only_a_process_that_ends_well_and_says_drawn_counts():
    assert probe(python("print('vtk says something'); print('drawn')"), 30.0)
    assert not probe(python("print('wrong [255 255 255]')"), 30.0)
    assert not probe(python("print('drawn'); raise SystemExit(1)"), 30.0)
    assert not probe(python("pass"), 30.0)
    assert not probe(["/no/such/program"], 30.0)


def test_a_crash_and_a_hang_mean_no():
    assert not probe(
        python("import os, signal; print('drawn', flush=True); os.kill(os.getpid(), signal.SIGSEGV)"), 30.0
    )
    assert not probe(python("import time; print('drawn', flush=True); time.sleep(60)"), 0.5)


def test_the_machine_is_asked_once(monkeypatch):
    asked = []
    monkeypatch.setattr(offscreen, "probe", lambda command, seconds: bool(asked.append(command)))
    offscreen.can_render.cache_clear()
    try:
        assert [offscreen.can_render(), offscreen.can_render()] == [False, False]
    finally:
        offscreen.can_render.cache_clear()
    assert len(asked) == 1


@pytest.mark.skipif(sys.platform != "linux", reason="EGL is asked for on Linux only")
def test_drawing_leaves_the_environment_as_it_was(monkeypatch):
    monkeypatch.delenv("VTK_DEFAULT_OPENGL_WINDOW", raising=False)
    with offscreen._egl():
        assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "vtkEGLRenderWindow"
    assert "VTK_DEFAULT_OPENGL_WINDOW" not in os.environ
    monkeypatch.setenv("VTK_DEFAULT_OPENGL_WINDOW", "mine")
    with offscreen._egl():
        assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "mine"
    assert os.environ["VTK_DEFAULT_OPENGL_WINDOW"] == "mine"
