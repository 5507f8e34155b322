"""One closed line laid along another: corners on corners, even stretch between them, whatever the pose."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from meshdisent.mesh.closed_lines import directions, evenly
from meshdisent.mesh.elastic_lines import _laid_once, laid_along, stretch_of


def polygon(corners, count=160):
    """So many evenly spaced points along a closed line of straight sides."""
    return evenly(np.array(corners, dtype=np.float64), count)[0]


SHAPE = [(0, 0, 0), (90, 0, 10), (120, 50, 0), (60, 60, 30), (40, 130, 0), (0, 100, 10)]


def test_a_line_is_laid_along_itself_wherever_it_begins():
    line = polygon(SHAPE)
    laid = laid_along(line, np.roll(line, 47, axis=0))
    assert np.linalg.norm(laid - line, axis=1).max() < 1.0


def test_corners_go_to_corners_and_what_is_between_is_stretched_evenly():
    own, line = polygon(SHAPE), polygon(np.array(SHAPE) * [1.25, 0.8, 1.0], 300)
    truth = own * [1.25, 0.8, 1.0]
    off = np.linalg.norm(laid_along(own, line) - truth, axis=1)
    # The stretch jumps at each corner, by a quarter up or down; it is not paid for by moving the corners.
    assert off.mean() < 1.0
    assert off.max() < 3.0
    ring = evenly(own, 160)[0] * [1.25, 0.8, 1.0]
    shares = np.linalg.norm(evenly(line, 160)[0] - ring, axis=1)
    assert off.mean() < 0.5 * shares.mean()  # than an even walk


def test_the_pose_of_the_line_matters_less_the_second_time():
    around = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    once, twice = [], []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        radius = 80 + sum(8 / k * np.cos(k * around + rng.uniform(0, 6)) for k in range(2, 7))
        own = np.stack([radius * np.cos(around), 1.3 * radius * np.sin(around), 20 * np.cos(2 * around)], axis=1)
        truth = own * [1.1, 0.9, 1.0]
        turn = Rotation.from_rotvec(np.radians(6) * rng.standard_normal(3) / 1.7).as_matrix()
        for found, lay in ((once, _laid_once), (twice, laid_along)):
            back = (lay(own, truth @ turn + 4.0) - 4.0) @ turn.T
            found.append(np.linalg.norm(back - truth, axis=1).mean())
    assert np.mean(twice) < 0.7 * np.mean(once)
    assert np.mean(twice) < 2.0


def test_it_never_turns_back():
    own, line = polygon(SHAPE), polygon([(0, 0, 0), (100, 0, 0), (100, 100, 0), (0, 100, 0)], 300)
    laid = laid_along(own, line)
    step = np.roll(laid, -1, axis=0) - laid
    nearest = np.linalg.norm(laid[:, None] - line, axis=2).argmin(axis=1)
    assert ((step * directions(line, 1)[nearest]).sum(axis=1) > -1e-6).mean() > 0.97  # but for corners
    assert np.linalg.norm(step, axis=1).sum() == pytest.approx(400.0, rel=0.03)


def test_how_unevenly_a_line_is_stretched():
    own = polygon(SHAPE)
    larger = polygon(np.array(SHAPE) * 1.3, 300)
    assert stretch_of(own, larger).uneven < 0.02
    assert stretch_of(own, larger).off_mm < 0.5
    uneven = polygon(np.array(SHAPE) * [1.5, 0.7, 1.0], 300)
    assert stretch_of(own, uneven).uneven > 0.2
    assert stretch_of(own, uneven).off_mm > 8.0
