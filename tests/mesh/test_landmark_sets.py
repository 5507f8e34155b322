"""Landmark sets: places on scans, other meshes of one surface, resampling maps, users' files, names that are wrong."""

import json

import numpy as np
import pytest

from meshdisent.errors import DataError
from meshdisent.mesh.landmark_files import IBUG_68
from meshdisent.mesh.landmark_sets import LandmarkSet, check_names, read_landmark_set
from meshdisent.mesh.resampling import resampling_map
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def coarse(shapes):
    vertices, faces = shapes.sphere(2)
    return Topology(80 * vertices, faces)


@pytest.fixture(scope="module")
def fine(shapes):
    vertices, faces = shapes.sphere(3)
    return Topology(80 * vertices, faces)


def test_a_point_is_the_mix_of_its_corners_on_every_scan(coarse):
    marks = LandmarkSet(names=("a",), corners=np.array([[3, 5, 9]]), weights=np.array([[0.5, 0.3, 0.2]]))
    scans = np.stack([coarse.template, coarse.template * 2 + 1])
    expected = 0.5 * scans[:, 3] + 0.3 * scans[:, 5] + 0.2 * scans[:, 9]
    assert marks.positions(scans)[:, 0] == pytest.approx(expected)
    assert marks.rows == {"a": 3}
    assert marks.points(scans[1])["a"] == pytest.approx(expected[1])


def test_points_take_the_nearest_place_and_far_ones_are_left_out(coarse):
    center = coarse.template[coarse.faces[7]].mean(axis=0)
    marks = LandmarkSet.of_points(coarse, {"near": center * 1.001, "far": center * 1.2})
    assert marks.names == ("near",)
    assert sorted(marks.corners[0]) == sorted(coarse.faces[7])
    assert marks.positions(coarse.template)[0] == pytest.approx(center, abs=0.1)


def test_a_point_keeps_to_the_sheet_that_looks_its_way():
    """Two lips that touch: the upper one looks down, the lower one up, and the point belongs to the upper one."""
    square = np.array([[0.0, 0, 0], [10, 0, 0], [10, 0, 10], [0, 0, 10]])
    lower, upper = np.array([[0, 2, 1], [0, 3, 2]]), np.array([[4, 5, 6], [4, 6, 7]])
    lips = Topology(np.concatenate([square, square + np.array([0, 0.1, 0])]), np.concatenate([lower, upper]))
    place = {"inner": np.array([5.0, 0.02, 4.0])}
    for normal, rows in (([0.0, 1, 0], range(4)), ([0.0, -1, 0], range(4, 8))):
        marks = LandmarkSet.of_points(lips, place, np.array([normal]))
        assert set(marks.corners[0]) <= set(rows)


def test_a_set_goes_onto_a_finer_mesh_and_comes_back(coarse, fine):
    names = [f"point {k}" for k in range(20)]
    marks = LandmarkSet.of_vertices(names, np.arange(0, 160, 8))
    there = marks.onto(coarse, fine)
    assert there.names == tuple(names)
    assert there.positions(fine.template) == pytest.approx(marks.positions(coarse.template), abs=1e-6)
    back = there.onto(fine, coarse)
    assert back.positions(coarse.template) == pytest.approx(marks.positions(coarse.template), abs=1e-6)


def test_a_cropped_mesh_has_the_points_that_are_left(coarse):
    half = coarse.faces[(coarse.template[coarse.faces][:, :, 1] > 0).all(axis=1)]
    marks = LandmarkSet.of_vertices([str(k) for k in range(162)], np.arange(162))
    found = marks.onto(coarse, Topology(coarse.template, half))
    assert set(found.vertices) == set(np.unique(half))
    elsewhere = Topology(coarse.template + 500.0, coarse.faces)
    with pytest.raises(DataError, match="0 of 162 landmarks lie within 3 mm of the other template"):
        marks.onto(coarse, elsewhere)


def test_a_resampling_map_brings_the_targets_points_to_the_source(coarse, fine):
    found = resampling_map(fine, coarse)
    marks = LandmarkSet.of_vertices(["a", "b", "c"], [4, 60, 150])
    there = marks.through(found)
    scan = fine.template * np.array([1.2, 0.9, 1.0])
    resampled = found.apply(scan[None])[0]
    assert there.positions(scan) == pytest.approx(marks.positions(resampled), abs=1e-3)


def test_a_users_file_names_vertices_or_points(coarse, tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"chin": 7, "nose": 0}))
    assert read_landmark_set(tmp_path / "a.json", coarse).rows == {"chin": 7, "nose": 0}
    (tmp_path / "b.json").write_text(json.dumps({"chin": coarse.template[7].tolist()}))
    assert read_landmark_set(tmp_path / "b.json", coarse).rows == {"chin": 7}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"chin": 162}, "'chin' is vertex 162; the topology has 0 to 161"),
        ({"chin": -1}, "'chin' is vertex -1"),
        ({"chin": [0.0, 0.0, 0.0]}, "'chin' is more than 3 mm from the template"),
        ({"chin": [0.0, 0.0]}, "'chin' has two coordinates; wanted a point in space"),
        ({"chin": True}, "is no .json file of landmarks"),
    ],
)
def test_a_users_file_that_cannot_be_meant_is_refused(coarse, tmp_path, content, message):
    (tmp_path / "a.json").write_text(json.dumps(content))
    with pytest.raises(DataError, match=message):
        read_landmark_set(tmp_path / "a.json", coarse)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("nose tip", "tip of the nose"),
        ("Left_Corner_Of_Mouth", "left corner of the mouth"),
        ("outer corner right eye", "outer corner of the right eye"),
        ("jaw 18", "jaw 8"),
    ],
)
def test_an_unknown_name_is_told_with_the_nearest(name, nearest):
    with pytest.raises(DataError, match=f"scan.pp names the landmark '{name}'.*Did you mean '{nearest}'"):
        check_names(["jaw 1", name], IBUG_68, "scan.pp")


def test_a_name_is_used_once():
    with pytest.raises(DataError, match="'chin' is named twice"):
        LandmarkSet.of_vertices(["chin", "chin"], [1, 2])
