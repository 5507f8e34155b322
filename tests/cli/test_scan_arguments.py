"""Scans named on the command line: files, and scans of a dataset; names that never collide."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.cli.scan_arguments import different_names, read_scan, read_scans
from meshdisent.errors import DataError, MeshError, TopologyError
from meshdisent.mesh.mesh import Mesh


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def folder(scans, tmp_path_factory):
    folder = tmp_path_factory.mktemp("scans")
    scans.save(folder / "faces.h5")
    for person, name in enumerate(("anna", "ben")):
        (folder / name).mkdir()
        Mesh(small_faces.PEOPLE[person], small_faces.FACES).write(folder / name / "smile.ply")
    frames = type(scans).from_arrays(
        scans.vertices()[:3], scans.topology.faces, ["anna"] * 3, ["smile"] * 3, frame=[0, 1, 12]
    )
    frames.save(folder / "frames.hdf5")
    return folder


def test_a_file_is_a_scan_by_its_name(folder, model):
    found = read_scan(str(folder / "ben" / "smile.ply"), model)
    assert found.name == "smile"
    assert found.vertices == pytest.approx(small_faces.PEOPLE[1], abs=1e-4)


def test_a_scan_of_a_dataset_is_named_by_subject_and_expression(folder, model, scans):
    found = read_scan(f"{folder / 'faces.h5'}:s03/grin", model)
    assert found.name == "s03-grin"
    assert (found.vertices == scans.vertices(np.array([17]))[0]).all()


def test_a_frame_is_chosen_by_its_number(folder, model, scans):
    found = read_scan(f"{folder / 'frames.hdf5'}:anna/smile/12", model)
    assert found.name == "anna-smile-12"
    assert (found.vertices == scans.vertices(np.array([2]))[0]).all()
    with pytest.raises(DataError, match="names 3 scans"):
        read_scan(f"{folder / 'frames.hdf5'}:anna/smile", model)


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        (
            "faces.h5",
            DataError,
            r"faces\.h5 is a dataset; wanted one scan of it\. Write .*faces\.h5:SUBJECT/EXPRESSION",
        ),
        ("faces.h5:s03/gryn", DataError, "no scan 's03/gryn'.*mean 's03/grin'"),
        ("none.h5:s03/grin", DataError, r"none\.h5"),
        ("none.ply", MeshError, r"none\.ply"),
    ],
)
def test_what_is_no_scan_is_refused_with_its_name(folder, model, text, error, message):
    with pytest.raises(error, match=message):
        read_scan(str(folder / text), model)


def test_a_scan_of_another_topology_is_refused_with_its_name(folder, model):
    Mesh(small_faces.TEMPLATE[:161], small_faces.FACES[:10]).write(folder / "small.ply", overwrite=True)
    with pytest.raises(TopologyError, match=r"small\.ply has 161 vertices"):
        read_scan(str(folder / "small.ply"), model)


def test_scans_that_cannot_be_used_are_named_and_the_rest_goes_on(folder, model, capsys):
    texts = (str(folder / "anna/smile.ply"), str(folder / "none.ply"), f"{folder}/faces.h5:s00/frown", "faces.h5")
    found, left_out = read_scans(texts, model)
    assert ([scan.name for scan in found], left_out) == (["smile", "s00-frown"], 2)
    said = capsys.readouterr().err.splitlines()
    assert len(said) == 2
    assert said[0].startswith("meshdisent: left out: ")
    assert "none.ply" in said[0]


def test_no_scan_at_all_is_the_first_reason(folder, model):
    with pytest.raises(MeshError, match=r"first\.ply"):
        read_scans((str(folder / "first.ply"), str(folder / "faces.h5")), model)


def test_equal_names_are_told_apart_by_their_folder(folder, model):
    found, _ = read_scans(tuple(str(folder / name / "smile.ply") for name in ("anna", "ben")), model)
    assert [scan.name for scan in found] == ["anna-smile", "ben-smile"]
    assert found[1].vertices == pytest.approx(small_faces.PEOPLE[1], abs=1e-4)


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ({"a.ply": "a", "b.ply": "b"}, ["a", "b"]),
        ({"smile.ply": "smile", "../smile.ply": "smile"}, ["smile", "smile-2"]),
        ({"smile.ply": "smile", "smile.obj": "smile", "smile-2.ply": "smile-2"}, ["smile", "smile-3", "smile-2"]),
        ({"a.h5:x/y": "x-y", "b.h5:x/y": "x-y"}, ["x-y", "x-y-2"]),
        (
            {"x/smile.ply": "smile", "y/x/smile.ply": "smile", "x-smile.ply": "x-smile"},
            ["smile-2", "smile-3", "x-smile"],
        ),
    ],
)
def test_no_name_stands_twice(names, expected):
    found = list(different_names(names).values())
    assert len(set(found)) == len(names)
    assert found == expected


def test_the_same_name_in_another_folder_is_another_dataset(scans, model, folder, tmp_path, monkeypatch):
    name = scans.names()[0]
    moved = type(scans).from_arrays(scans.vertices()[:1] + 1, scans.topology.faces, *[[n] for n in name.split("/")])
    moved.save(tmp_path / "faces.h5")
    found = []
    for place in (folder, tmp_path):
        monkeypatch.chdir(place)
        found.append(read_scan(f"faces.h5:{name}", model).vertices)
    assert np.array_equal(found[1], found[0] + 1)
