"""FED's published metrics on small arrays: with and without the rigid fit that it does on BU-3DFE."""

import numpy as np
import pytest

from meshdisent import metrics
from meshdisent.mesh.alignment import align

CASES = {"plain": False, "rigid": True}


@pytest.fixture
def arrays(golden_fed):
    return golden_fed("metrics")


def test_metrics_and_rigid_fits_are_the_published_ones(arrays):
    subject, scale = arrays["subject"], float(arrays["scale_to_mm"])
    faces = {name: arrays[name] for name in ("full_true", "full_pred", "neutral_true", "neutral_pred")}
    # Normalized units become mm after the fit, as published; a rigid fit does not depend on the unit.
    in_mm = {name: scale * values.astype(np.float64) for name, values in faces.items()}
    ours = {}
    for case, is_rigid in CASES.items():
        full, neutral = in_mm["full_pred"], in_mm["neutral_pred"]
        if is_rigid:
            full = metrics.rigidly_aligned(full, in_mm["full_true"])
            neutral = metrics.rigidly_aligned(neutral, in_mm["neutral_true"])
        rec, neu = metrics.e_avd(full, in_mm["full_true"]), metrics.e_avd(neutral, in_mm["neutral_true"])
        order, spread = metrics.spread_a(neutral, subject)
        ours |= {
            f"{case}/per_scan_rec": rec,
            f"{case}/E_rec_mean_std_median": three(rec),
            f"{case}/per_scan_neutral": neu,
            f"{case}/AVD_neu_mean_std_median": three(neu),
            f"{case}/subject_order": order,
            f"{case}/per_subject_dis": spread,
            f"{case}/E_dis_mean_median": np.array([spread.mean(), np.median(spread)]),
        }
    motions = [align(a, b) for a, b in zip(in_mm["full_pred"], in_mm["full_true"], strict=True)]
    # Published rotations stand left of a column; ours stand right of a row.
    ours["rigid/R_full"] = np.stack([motion.rotation.T for motion in motions])
    ours["rigid/T_full"] = np.stack([motion.translation for motion in motions])
    for case in ("rt", "rt_mirrored"):
        motion = align(arrays["rt/probe"], arrays[f"{case}/model"])
        ours |= {f"{case}/R": motion.rotation.T, f"{case}/T": motion.translation}
        if case == "rt":
            ours["rt/aligned"] = metrics.rigidly_aligned(arrays["rt/probe"][None], arrays["rt/model"][None])[0]
        else:
            ours["rt_mirrored/det_R"] = np.array(np.linalg.det(motion.rotation))
    arrays.check(ours, tolerance=1e-12)


def three(values):
    summary = metrics.summary(values)
    return np.array([summary[part] for part in ("mean", "std", "median")])
