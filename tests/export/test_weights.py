"""Weights over time, from the files that people have."""

import json

import numpy as np
import pytest

from meshdisent.errors import DataError, UsageError
from meshdisent.export.weights import each_in_turn, read_weights

NAMES = ("jawOpen", "mouthClose", "eyeBlinkLeft")


@pytest.fixture
def written(tmp_path):
    def write(text: str, name: str = "w.csv"):
        (tmp_path / name).write_text(text)
        return tmp_path / name

    return write


def test_a_csv_with_seconds_gives_its_columns_their_places(written):
    track = read_weights(written("seconds,eyeBlinkLeft,jawOpen\n1.0,0.5,0\n1.5,1,0.25\n\n"), NAMES)
    assert track.seconds.tolist() == [0.0, 0.5]
    assert track.weights.tolist() == [[0, 0, 0.5], [0.25, 0, 1]]
    assert track.left_out == ()


def test_what_live_link_face_writes_is_read_at_60_frames_a_second(written):
    head = "Timecode,BlendShapeCount,EyeBlinkLeft,JawOpen,TongueOut,HeadYaw,LeftEyePitch"
    track = read_weights(
        written(f"{head}\n10:21:05:01.4,61,0.5,0.1,0,0.2,0\n10:21:05:02.4,61,0.6,0.2,0,0.2,0\n"), NAMES
    )
    assert track.weights.tolist() == [[0.1, 0, 0.5], [0.2, 0, 0.6]]
    np.testing.assert_allclose(track.seconds, [0, 1 / 60])
    assert track.left_out == ("Timecode", "BlendShapeCount", "TongueOut", "HeadYaw", "LeftEyePitch")


def test_json_frames_may_name_what_moves_only(written):
    content = {"fps": 10, "frames": [{"jawOpen": 0.5}, {}, {"mouthClose": 1, "jawOpen": 1}]}
    track = read_weights(written(json.dumps(content), "w.json"), NAMES)
    assert track.weights.tolist() == [[0.5, 0, 0], [0, 0, 0], [1, 1, 0]]
    np.testing.assert_allclose(track.seconds, [0, 0.1, 0.2])


def test_mouth_close_plays_with_the_open_jaw():
    track = each_in_turn(NAMES, seconds=2.0)
    assert track.seconds.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert track.weights[1::2].tolist() == [[1, 0, 0], [1, 1, 0], [0, 0, 1]]
    assert not track.weights[::2].any()


@pytest.mark.parametrize(
    ("text", "name", "error", "message"),
    [
        (
            "jawOpn\n1\n",
            "w.csv",
            UsageError,
            "weights for 'jawOpn'; the rig has no such target. Did you mean 'jawOpen'",
        ),
        ("tongueOut\n1\n", "w.csv", UsageError, "none of the rig's 3 targets.*--targets arkit"),
        ("jawOpen\nwide\n", "w.csv", DataError, "frame 0, jawOpen: 'wide' is no number"),
        ("jawOpen,mouthClose\n1\n", "w.csv", DataError, "frame 0: 1 values under 2 names"),
        ("jawOpen\n", "w.csv", DataError, "has 0 frames; wanted at least one"),
        ("seconds,jawOpen\n1,0\n1,0\n", "w.csv", DataError, "seconds that rise"),
        ("jawOpen\nnan\n", "w.csv", DataError, "finite weights"),
        ("", "w.txt", DataError, r"no file of weights; wanted .csv or .json"),
        ("{", "w.json", DataError, "cannot be read"),
        ("[1]", "w.json", DataError, "has no list of frames"),
        ('{"frames": [{"jawOpen": null}]}', "w.json", DataError, "None is no number"),
        ('{"fps": 0, "frames": [{"jawOpen": 1}]}', "w.json", DataError, "0.0 frames a second"),
    ],
)
def test_a_file_that_is_no_animation_of_this_rig_says_why(written, text, name, error, message):
    with pytest.raises(error, match=message):
        read_weights(written(text, name), NAMES)


def test_a_missing_file_is_one_line(tmp_path):
    with pytest.raises(DataError, match=r"gone.csv cannot be read"):
        read_weights(tmp_path / "gone.csv", NAMES)
