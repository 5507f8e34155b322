"""Transfer by codes and by displacements: exact formulas, strength, smoothing over time, what is refused."""

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.editing import METHODS, delta_transfer, neutralize, transfer
from meshdisent.editing.transfers import smoothed
from meshdisent.errors import UsageError
from meshdisent.mesh.local_maps import local_maps
from meshdisent.mesh.topology import Topology


@pytest.fixture(scope="module")
def scans():
    return small_faces.scans()


@pytest.fixture(scope="module")
def model(scans):
    return small_faces.linear(scans)


@pytest.fixture(scope="module")
def shown(scans):
    return scans.vertices(scans.rows("test")[3:8])


def stacked(meshes):
    return np.stack([mesh.vertices for mesh in meshes])


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("strength", [0.0, 0.5, 1.7])
def test_strength_is_a_straight_line_from_the_face_at_rest(model, shown, method, strength):
    whole, some, rest = (stacked(METHODS[method](model, shown[0], shown[1:], strength=s)) for s in (1.0, strength, 0.0))
    assert some == pytest.approx(rest + strength * (whole - rest), abs=1e-3)
    expected = stacked(neutralize(model, shown[0], keep_detail=method != "codes"))
    assert rest == pytest.approx(np.repeat(expected, 4, axis=0), abs=1e-3)


def test_displacements_are_added_to_the_neutral(model):
    """Of two people whose neutrals are given, so the model has no say."""
    anna, ben = (small_faces.PEOPLE[k].astype(np.float32) for k in (12, 13))
    smile, grin = (ben + small_faces.displacement(13, k).astype(np.float32) for k in (1, 2))
    made = delta_transfer(model, anna, [smile, grin], neutral=anna, neutrals=ben, local=False)
    for mesh, k in zip(made, (1, 2), strict=True):
        assert mesh.vertices == pytest.approx(anna + small_faces.displacement(13, k), abs=1e-3)


def test_local_maps_turn_displacements_with_the_face(model):
    anna = small_faces.PEOPLE[12].astype(np.float32)
    wide = anna * np.array([1.2, 1.0, 1.0], np.float32)
    smile = anna + small_faces.displacement(12, 1).astype(np.float32)
    made = delta_transfer(model, wide, smile, neutral=wide, neutrals=anna)[0].vertices
    maps = local_maps(Topology(anna.astype(np.float64), small_faces.FACES), wide.astype(np.float64))
    moved = (smile - anna).astype(np.float64)
    assert made - wide == pytest.approx(np.einsum("vij,vj->vi", maps, moved), abs=1e-3)
    assert np.abs(made - wide - moved).max() > 0.1


def test_each_scan_may_have_its_own_neutral(model, scans):
    rows = np.array([61, 66, 71])  # smiles of s12, s13, s14
    rest = small_faces.PEOPLE[[12, 13, 14]].astype(np.float32)
    target = small_faces.PEOPLE[15].astype(np.float32)
    made = stacked(
        delta_transfer(model, target, scans.vertices(rows), neutral=target, neutrals=list(rest), local=False)
    )
    assert made == pytest.approx(target + scans.vertices(rows) - rest, abs=1e-3)


def test_without_neutrals_the_model_finds_them(model, shown):
    rest = stacked(neutralize(model, shown, keep_detail=True))
    made = stacked(delta_transfer(model, shown[0], shown[1:], local=False))
    assert made == pytest.approx(rest[0] + shown[1:] - rest[1:], abs=1e-3)


def test_smoothing_keeps_a_still_face_still_and_calms_noise(model, shown):
    still = np.repeat(shown[1:2], 6, axis=0)
    for method in METHODS:
        plain = stacked(METHODS[method](model, shown[0], still))
        assert stacked(METHODS[method](model, shown[0], still, smooth=2.0)) == pytest.approx(plain, abs=1e-3)
    noisy = still + np.random.default_rng(0).normal(0, 0.5, still.shape).astype(np.float32)
    for method in METHODS:
        first, second = (stacked(METHODS[method](model, shown[0], noisy, smooth=s)) for s in (0.0, 1.5))
        assert np.linalg.norm(np.diff(second, axis=0)) < 0.5 * np.linalg.norm(np.diff(first, axis=0))


def test_order_in_time_is_kept(model, scans):
    walk = scans.vertices(np.array([61, 62, 63, 64]))
    forth = stacked(transfer(model, walk[0], walk, smooth=1.0))
    back = stacked(transfer(model, walk[0], walk[::-1].copy(), smooth=1.0))
    assert forth == pytest.approx(back[::-1], abs=1e-3)


def test_a_gaussian_over_time_sums_to_one_and_goes_on_at_the_ends():
    step = np.array([0.0, 0, 0, 1, 1, 1])
    calm = smoothed(step[:, None], 1.0)[:, 0]
    assert calm == pytest.approx(1 - calm[::-1])
    assert (np.diff(calm) >= 0).all()
    assert smoothed(step, 0.0) is step


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m, s: transfer(m, s[0], s, smooth=-1.0), "smoothing over -1.0 frames; wanted a finite number"),
        (lambda m, s: transfer(m, s[0], s, strength=float("nan")), "the strength nan"),
        (lambda m, s: delta_transfer(m, s[0], s, neutrals=s[:2]), "2 neutrals were given for 5 expression scans"),
        (lambda m, s: delta_transfer(m, s[:2], s), "2 identity scans were given; wanted one"),
    ],
)
def test_numbers_that_cannot_be_meant_are_refused(model, shown, call, message):
    with pytest.raises(UsageError, match=message):
        call(model, shown)


def test_a_model_with_one_code_needs_neutrals(scans, shown):
    unsplit = small_faces.Unsplit(scans)
    with pytest.raises(UsageError, match="cannot find neutrals; give them"):
        delta_transfer(unsplit, shown[0], shown[1])
    made = delta_transfer(unsplit, shown[0], shown[1], neutral=shown[0], neutrals=shown[0], local=False)
    assert made[0].vertices == pytest.approx(shown[1], abs=1e-3)
