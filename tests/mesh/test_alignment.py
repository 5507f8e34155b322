"""Alignment: the motion that was applied is found again, whatever else is in the way."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import (
    Similarity,
    align,
    generalized_procrustes,
    published_alignment,
    published_scale,
)

SEEDS = st.integers(0, 10_000)


def drawn_motion(seed, with_scale=True):
    draw = np.random.default_rng(seed)
    scale = float(np.exp(draw.normal())) if with_scale else 1.0
    return Similarity(scale, Rotation.random(random_state=seed).as_matrix(), draw.normal(size=3) * 50)


def cloud(seed, count=40):
    return np.random.default_rng(seed).normal(size=(count, 3)) * [60.0, 80.0, 40.0]


@given(seed=SEEDS, with_scale=st.booleans())
@settings(max_examples=30, deadline=None)
def test_a_motion_is_found_again(seed, with_scale):
    motion, points = drawn_motion(seed, with_scale), cloud(seed)
    found = align(points, motion.apply(points), with_scale=with_scale)
    np.testing.assert_allclose(found.scale, motion.scale, rtol=1e-10)
    np.testing.assert_allclose(found.rotation, motion.rotation, atol=1e-10)
    np.testing.assert_allclose(found.translation, motion.translation, atol=1e-8)


@given(seed=SEEDS, with_scale=st.booleans())
@settings(max_examples=30, deadline=None)
def test_no_other_motion_is_closer(seed, with_scale):
    points, target = cloud(seed), cloud(seed + 1)
    found = align(points, target, with_scale=with_scale)
    best = ((found.apply(points) - target) ** 2).sum()
    draw = np.random.default_rng(seed)
    for _ in range(10):
        nudge = Similarity(
            float(np.exp(0.01 * draw.normal())) if with_scale else 1.0,
            Rotation.from_rotvec(0.02 * draw.normal(size=3)).as_matrix(),
            draw.normal(size=3),
        )
        assert ((nudge.compose(found).apply(points) - target) ** 2).sum() > best


@given(seed=SEEDS)
@settings(max_examples=20, deadline=None)
def test_moving_both_scans_changes_no_aligned_error(seed):
    points, target = cloud(seed), cloud(seed) + np.random.default_rng(seed + 7).normal(size=(40, 3))
    one, other = drawn_motion(seed + 1, with_scale=False), drawn_motion(seed + 2, with_scale=False)
    plain = align(points, target).apply(points) - target
    moved = align(one.apply(points), other.apply(target)).apply(one.apply(points)) - other.apply(target)
    np.testing.assert_allclose(np.linalg.norm(moved, axis=1), np.linalg.norm(plain, axis=1), atol=1e-9)


def test_a_mirror_image_is_never_the_answer():
    points = cloud(3)
    found = align(points, points * [-1.0, 1.0, 1.0])
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0)


def test_a_flat_scan_can_be_aligned():
    points = cloud(4) * [1.0, 1.0, 0.0]
    motion = drawn_motion(5, with_scale=False)
    found = align(points, motion.apply(points))
    np.testing.assert_allclose(found.apply(points), motion.apply(points), atol=1e-9)
    np.testing.assert_allclose(np.linalg.det(found.rotation), 1.0)


def test_only_stable_vertices_are_looked_at():
    motion, points = drawn_motion(6), cloud(6)
    target = motion.apply(points)
    target[10:] += 1000.0
    found = align(points, target, with_scale=True, stable=np.arange(10))
    np.testing.assert_allclose(found.apply(points)[:10], target[:10], atol=1e-8)


@given(seed=SEEDS)
@settings(max_examples=15, deadline=None)
def test_inverse_and_compose_are_what_they_say(seed):
    one, other, points = drawn_motion(seed), drawn_motion(seed + 1), cloud(seed)
    np.testing.assert_allclose(one.inverse().apply(one.apply(points)), points, atol=1e-9)
    np.testing.assert_allclose(one.compose(other).apply(points), one.apply(other.apply(points)), rtol=1e-9, atol=1e-7)
    assert np.array_equal(Similarity.identity().apply(points), points)


def test_points_of_a_batch_are_moved_alike():
    motion, points = drawn_motion(1), cloud(1, 24).astype(np.float32)
    batch = motion.apply(points.reshape(2, 12, 3))
    assert batch.dtype == np.float64
    np.testing.assert_allclose(batch.reshape(24, 3), motion.apply(points))


def test_the_published_alignment_keeps_size_and_misses_the_center():
    points = cloud(2)
    target = drawn_motion(2).apply(points)
    found, size = published_alignment(points, target), published_scale(points, target)
    assert found.scale == 1.0
    np.testing.assert_allclose(size, drawn_motion(2).scale)
    np.testing.assert_allclose(found.rotation, align(points, target).rotation)
    np.testing.assert_allclose(found.apply(points).mean(axis=0), target.mean(axis=0) / size, atol=1e-9)


def test_the_published_scale_cannot_have_a_point_at_the_center():
    cross = np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 0]])
    with pytest.raises(DataError, match="point 4 lies there"):
        published_alignment(cross, cross)


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (cloud(0, 2), cloud(0, 2), "got 2 points; wanted 3 or more"),
        (np.ones((9, 3)), cloud(0, 9), "a source whose 9 points lie all at one place"),
        (np.zeros((9, 3)), cloud(0, 9), "a source whose 9 points lie all at one place"),
        (cloud(0, 9), np.full((9, 3), 1e6), "a target whose 9 points lie all at one place"),
        (np.arange(9.0)[:, None] * [1.0, 2.0, 3.0] + 100, cloud(0, 9), "lie all on one line"),
        (np.where(np.eye(9, 3) > 0, np.nan, 1.0), cloud(0, 9), "a source with positions that are not finite"),
        (cloud(0, 9), cloud(0, 8), "got 9 points for 8; wanted corresponding points"),
    ],
)
@pytest.mark.parametrize("find", [align, published_alignment])
def test_what_fixes_no_rotation_is_refused(find, source, target, message):
    with pytest.raises(DataError, match=message):
        find(source, target)


def test_a_stable_region_can_be_too_small():
    with pytest.raises(DataError, match=r"got 2 points; wanted 3 or more. Choose a larger stable region"):
        align(cloud(0), cloud(0), stable=np.array([1, 5]))


@pytest.fixture(scope="module")
def moved_scans():
    """A shape, 30 noisy copies of it that were moved at will, and their motions."""
    shape, draw = cloud(9, 120), np.random.default_rng(90)
    motions = [drawn_motion(seed, with_scale=False) for seed in range(30)]
    noise = 0.2 * draw.normal(size=(30, 120, 3))
    return shape, np.stack([motion.apply(shape + n) for motion, n in zip(motions, noise, strict=True)]), noise


def test_procrustes_brings_all_scans_together(moved_scans):
    shape, scans, noise = moved_scans
    mean, motions = generalized_procrustes(scans)
    aligned = np.stack([motion.apply(scan) for motion, scan in zip(motions, scans, strict=True)])
    np.testing.assert_allclose(aligned.mean(axis=0), mean, atol=1e-9)
    spread = np.sqrt(((aligned - mean) ** 2).mean())
    assert spread <= np.sqrt(((noise - noise.mean(axis=0)) ** 2).mean())
    truth = align(shape + noise.mean(axis=0), mean)
    np.testing.assert_allclose(mean, truth.apply(shape + noise.mean(axis=0)), atol=0.05)
    # In the place of the first scan.
    assert np.abs(align(scans[0], mean).rotation - np.eye(3)).max() < 0.01


def test_procrustes_has_converged(moved_scans):
    _, scans, _ = moved_scans
    mean, motions = generalized_procrustes(scans, tolerance=1e-9)
    for motion, scan in zip(motions, scans, strict=True):
        np.testing.assert_allclose(align(scan, mean).apply(scan), motion.apply(scan), atol=1e-6)


def test_procrustes_with_scale_does_not_shrink(moved_scans):
    shape, scans, _ = moved_scans
    sizes = np.exp(0.2 * np.random.default_rng(1).normal(size=30))
    mean, motions = generalized_procrustes(scans * sizes[:, None, None], with_scale=True)
    found = np.array([motion.scale for motion in motions])
    np.testing.assert_allclose(found.mean(), 1.0)
    np.testing.assert_allclose(found * sizes, (found * sizes).mean(), rtol=1e-3)
    assert 0.8 < mean.std() / shape.std() < 1.25


def test_procrustes_looks_at_stable_vertices_only(moved_scans):
    _, scans, _ = moved_scans
    spoiled = scans.copy()
    spoiled[:, 60:] += np.random.default_rng(2).normal(size=(30, 60, 3)) * 30
    stable = np.arange(60)
    whole, part = generalized_procrustes(spoiled, stable=stable)[1], generalized_procrustes(scans[:, :60])[1]
    for one, other in zip(whole, part, strict=True):
        np.testing.assert_allclose(one.rotation, other.rotation, atol=1e-4)


def test_procrustes_in_blocks_is_the_same(moved_scans, monkeypatch):
    _, scans, _ = moved_scans
    from meshdisent.mesh import alignment

    whole = generalized_procrustes(scans.astype(np.float32))[0]
    blocks = alignment._blocks
    monkeypatch.setattr(alignment, "_blocks", lambda array: blocks(array, numbers=800))
    np.testing.assert_allclose(generalized_procrustes(scans.astype(np.float32))[0], whole, atol=1e-9)


def test_procrustes_of_one_scan_is_that_scan():
    points = cloud(0)
    mean, motions = generalized_procrustes(points[None])
    np.testing.assert_allclose(mean, points, atol=1e-9)
    np.testing.assert_allclose(motions[0].rotation, np.eye(3), atol=1e-9)


def test_procrustes_names_the_scan_at_fault(moved_scans):
    _, scans, _ = moved_scans
    spoiled = scans.copy()
    spoiled[17] = 3.0
    with pytest.raises(DataError, match=r"Scan 17: .* lie all at one place"):
        generalized_procrustes(spoiled)
    spoiled[17] = np.nan
    with pytest.raises(DataError, match=r"Scan 17: .* not finite"):
        generalized_procrustes(spoiled)
    with pytest.raises(DataError, match="got no scans"):
        generalized_procrustes(scans[:0])
