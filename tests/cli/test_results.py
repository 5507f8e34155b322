"""Folders of meshes and pictures, and JSON."""

import json

import numpy as np
import pytest

from meshdisent.cli.results import Output, Result, refuse_output, write_json, write_result
from meshdisent.errors import UsageError
from meshdisent.mesh.mesh import Mesh

TRIANGLE = Mesh(np.array([[0.0, 0, 0], [50, 0, 0], [0, 50, 0]]), np.array([[0, 1, 2]]))


@pytest.fixture(autouse=True)
def software(monkeypatch):
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")


def result(**others):
    return Result(meshes={"one": TRIANGLE, "two": TRIANGLE}, rows=[[TRIANGLE.vertices] * 2], **others)


def test_a_folder_of_meshes_gets_a_sheet_and_appears_whole(tmp_path, capsys):
    write_result(result(frames=[TRIANGLE.vertices] * 2), Output(out=tmp_path / "new" / "out"))
    assert sorted(path.name for path in (tmp_path / "new" / "out").iterdir()) == [
        "animation.gif", "one.ply", "sheet.png", "two.ply",
    ]  # fmt: skip
    assert (Mesh.read(tmp_path / "new" / "out" / "two.ply").vertices == TRIANGLE.vertices).all()
    assert capsys.readouterr().out.endswith("out: 2 meshes (ply), sheet.png, animation.gif\n")


def test_pictures_can_be_left_out(tmp_path, capsys):
    write_result(result(), Output(out=tmp_path / "out", format="obj", no_pictures=True))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["one.obj", "two.obj"]
    assert capsys.readouterr().out.endswith("out: 2 meshes (obj)\n")


def test_one_mesh_is_one_mesh(tmp_path, capsys):
    one = Result(meshes={"one": TRIANGLE}, rows=[[TRIANGLE.vertices]])
    write_result(one, Output(out=tmp_path / "out", no_pictures=True))
    assert capsys.readouterr().out.endswith("out: 1 mesh (ply)\n")


def test_a_picture_that_fails_leaves_no_folder(tmp_path):
    broken = Result(meshes={"one": TRIANGLE}, rows=[[TRIANGLE.vertices]], row_labels=["one", "too many"])
    with pytest.raises(UsageError, match="row_labels"):
        write_result(broken, Output(out=tmp_path / "out"))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_folder_is_refused_and_an_empty_one_is_not(tmp_path):
    refuse_output(Output(out=tmp_path))
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        refuse_output(Output(out=tmp_path))
    refuse_output(Output(out=tmp_path, overwrite=True))


def test_json_goes_where_it_is_asked_for(tmp_path, capsys):
    write_json({"a": None, "b": 1.5}, None, overwrite=False)
    assert capsys.readouterr().out == ""
    write_json({"a": None, "b": 1.5}, "-", overwrite=False)
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": 1.5}
    write_json({"b": 1.5}, str(tmp_path / "x.json"), overwrite=False)
    with pytest.raises(UsageError, match="exists already"):
        write_json({"b": 2.5}, str(tmp_path / "x.json"), overwrite=False)
    assert json.loads((tmp_path / "x.json").read_text()) == {"b": 1.5}


def test_what_is_not_a_number_never_becomes_json():
    with pytest.raises(ValueError, match="JSON"):
        write_json({"E_avd": float("nan")}, "-", overwrite=False)
