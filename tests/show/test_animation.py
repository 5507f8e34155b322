import io

import numpy as np
import pytest
from PIL import Image, ImageSequence

from meshdisent.errors import UsageError
from meshdisent.show.animation import encode_gif, write_gif


@pytest.fixture
def frames():
    """A bar that wanders over a smooth ground: every frame differs."""
    ground = np.tile(np.linspace(120, 230, 40, dtype=np.uint8)[None, :, None], (30, 1, 3))
    result = []
    for k in range(5):
        frame = ground.copy()
        frame[:, 4 * k : 4 * k + 4] = (180, 40, 30)
        result.append(frame)
    return result


def read(data):
    image = Image.open(io.BytesIO(data))
    return image, [np.asarray(frame.convert("RGB")).astype(int) for frame in ImageSequence.Iterator(image)]


def test_frames_size_speed_and_loop_are_as_asked_for(tmp_path, frames):
    path = tmp_path / "a.gif"
    write_gif(path, frames, fps=10.0)
    image, shown = read(path.read_bytes())
    assert len(shown) == 5
    assert image.size == (40, 30)
    assert image.info["duration"] == 100
    assert image.info["loop"] == 0
    assert max(np.abs(got - frame).max() for got, frame in zip(shown, frames, strict=True)) <= 3


def test_ping_pong_goes_back_without_showing_the_ends_twice(frames):
    image, shown = read(encode_gif(frames, ping_pong=True))
    durations = [frame.info["duration"] for frame in ImageSequence.Iterator(image)]
    assert len(shown) == 8
    assert durations == [80] * 8  # the format shows a repeated frame as one that lasts
    for forth, back in ((1, 7), (2, 6), (3, 5)):
        assert (shown[forth] == shown[back]).all()


def test_one_frame_is_enough(frames):
    _, shown = read(encode_gif(frames[:1], ping_pong=True))
    assert len(shown) == 1


def test_what_does_not_move_does_not_flicker(frames):
    _, shown = read(encode_gif(frames))
    still = [frame[:, 24:] for frame in shown]
    assert all((frame == still[0]).all() for frame in still)


def test_impossible_animations_are_refused_before_anything_is_written(tmp_path, frames):
    path = tmp_path / "a.gif"
    with pytest.raises(UsageError, match="no frame; wanted at least one"):
        write_gif(path, [])
    with pytest.raises(UsageError, match="frames of 2 sizes"):
        write_gif(path, [frames[0], frames[1][:10]])
    with pytest.raises(UsageError, match=r"0\.0 frames a second; wanted more than 0, at most 50"):
        write_gif(path, frames, fps=0.0)
    assert not list(tmp_path.iterdir())


def test_gifs_are_not_overwritten(tmp_path, frames):
    path = tmp_path / "a.gif"
    write_gif(path, frames)
    before = path.read_bytes()
    with pytest.raises(UsageError, match="exists already"):
        write_gif(path, frames[:2])
    assert path.read_bytes() == before
    write_gif(path, frames[:2], overwrite=True)
    assert path.read_bytes() != before
