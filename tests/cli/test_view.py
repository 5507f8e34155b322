"""meshdisent view, as it is called: what it says, and how it ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.cli.main import main
from meshdisent.mesh.mesh import Mesh


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("view")
    scans = small_faces.scans()
    scans.save(folder / "faces.h5")
    small_faces.linear(scans).save(folder / "run" / "model.safetensors")
    Mesh(scans.vertices(np.array([66]))[0].astype(np.float64), scans.topology.faces).write(folder / "smile.ply")
    return folder


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (["faces.h5", "smile.ply"], 2, "SCAN and --data go with a model"),
        (["faces.h5", "--data", "faces.h5"], 2, "SCAN and --data go with a model"),
        (["run", "--sliders", "0"], 2, "--sliders is 0; wanted at least 1"),
        (["none.h5"], 3, "none.h5"),
        (["no-such-model"], 3, "neither a file, a run folder nor a zoo model"),
        (["wsdf-ict", "--data", "faces.h5"], 3, "Prepare the scans with the topology"),
        (["run", "--port", "70000"], 2, "--port is 70000"),
    ],
)
def test_what_cannot_be_shown_is_one_clear_line(job, monkeypatch, capsys, arguments, code, says):
    if says.startswith("--port"):
        pytest.importorskip("viser", reason="needs viser, which is absent")
    monkeypatch.chdir(job)
    assert main(["view", *arguments]) == code
    said = capsys.readouterr().err
    assert says in said
    assert said.count("\n") == 1


def test_a_missing_package_is_named_with_the_way_to_it(job, monkeypatch, capsys):
    monkeypatch.chdir(job)
    monkeypatch.setitem(sys.modules, "viser", None)
    assert main(["view", "run"]) == 3
    assert 'pip install "meshdisent[viewer]"' in capsys.readouterr().err


def test_a_machine_without_a_browser_is_told_the_address(job, monkeypatch, capsys):
    pytest.importorskip("viser", reason="needs viser, which is absent")
    from meshdisent.show.latest_only import LatestOnly

    monkeypatch.chdir(job)
    monkeypatch.setattr("webbrowser.open", lambda address: False)

    def stopped(worker):
        raise KeyboardInterrupt

    monkeypatch.setattr(LatestOnly, "wait", stopped)
    assert main(["view", "run", "smile.ply", "faces.h5:s01/smile", "--port", "0", "--open"]) == 130
    out, said = capsys.readouterr()
    address = out.split()[0]
    assert address.startswith("http://127.0.0.1:")
    assert said.splitlines()[0] == f"No browser could be opened here; open {address} in one."
    assert said.splitlines()[-1] == "meshdisent: stopped"
    assert "viser" not in out


def test_a_bug_in_an_action_ends_the_command_with_its_traceback(job, monkeypatch, capsys):
    pytest.importorskip("viser", reason="needs viser, which is absent")
    from meshdisent.show.viewer import ModelPage

    def broken(page):
        raise ZeroDivisionError("a bug")

    monkeypatch.chdir(job)
    monkeypatch.setattr(ModelPage, "_redraw", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["view", "run", "--port", "0"])


def test_ctrl_c_ends_it_with_130(job):
    pytest.importorskip("viser", reason="needs viser, which is absent")
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
         "from meshdisent.cli.main import main; sys.exit(main())", "view", "faces.h5", "--port", "0"],
        cwd=job, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout.readline().startswith("http://127.0.0.1:")
        process.send_signal(signal.SIGINT)
        out, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert (out, said) == ("", "meshdisent: stopped\n")
