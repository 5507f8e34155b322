"""The published preprocessing: alignment with its shifted center, and the scans left out as unlikely."""

import numpy as np

from meshdisent.data.outliers import drop_unlikely, unlikeliness
from meshdisent.mesh.alignment import published_alignment, published_scale


def test_alignment_is_the_published_one(golden):
    file = golden("preprocess")
    raw_mm = file["raw_vertices_m"] * np.float32(1000)
    template_mm = file["template_vertices_m"] * 1000
    motions = [published_alignment(scan, template_mm) for scan in raw_mm]
    sizes = np.array([published_scale(scan, template_mm) for scan in raw_mm])
    aligned = np.stack([motion.apply(scan) for motion, scan in zip(motions, raw_mm, strict=True)])
    subjects, number_of = file["neutral_gt.pid"], {name: row for row, name in enumerate(file["file_names"])}
    neutrals = aligned[[number_of[name] for name in file["neutral_files"]]]
    ours = {
        "align_scale": sizes,
        "align_rotation": np.stack([motion.rotation for motion in motions]),
        "align_translation": sizes[:, None] * np.stack([motion.translation for motion in motions]),
        "test_aligned_mm": aligned[file["test_index"]],
        "neutral_gt.vertices_mm": np.stack([neutrals[file["neutral_files_pid"] == s].mean(axis=0) for s in subjects]),
        "singular_values_f32": singular_values(aligned[file["train_index"]]),
    }
    labels = file["labels_pid_eid_vid_fid"]
    ours |= {"test_pid": labels[file["test_index"], 0], "test_eid": labels[file["test_index"], 1]}
    not_ours = "alignment looks at no faces"
    chance = "with at most 101 scans all scores are 1 up to rounding, so what is dropped is chance"
    exempt = {"train_kept": chance, "train_dropped": chance, "drop_score_*": chance}
    exempt |= {"faces": not_ours, "pid_names": "names of the labels", "eid_names": "names of the labels"}
    file.check(ours, tolerance=5e-6, exempt=exempt)


def singular_values(scans):
    flat = scans.reshape(len(scans), -1)
    return np.linalg.svd(flat - flat.mean(axis=0), compute_uv=False)


def test_unlikely_scans_are_the_published_ones(golden):
    file = golden("drop_worst")
    score = unlikeliness(file["scans_flat"], components=100)
    dropped = drop_unlikely(file["scans_flat"], 0.05, components=100)
    ours = {"score_f32": score, "score_f64": score, "dropped_f32": dropped, "dropped_f64": dropped}
    file.check(ours, loose={"score_f32": 1e-4})


def test_where_the_published_scores_are_chance_nothing_is_dropped(golden):
    file = golden("preprocess")
    scans = file["raw_vertices_m"][file["train_index"]]
    assert drop_unlikely(scans, 0.05, components=100).tolist() == []
