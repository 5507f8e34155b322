"""FED's published preparation: two-step alignment of BU-3DFE, motion levels and sides of CoMA."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import Bu3dfeLayout, ComaLayout
from meshdisent.data.motion_levels import distances_to_first, motion_levels, sided_names
from meshdisent.data.preparation import prepare
from meshdisent.mesh.mesh import Mesh

SEQUENCES = ("bareteeth", "mouth_side")
FACES = np.stack([np.arange(28), np.arange(1, 29), np.arange(2, 30)], axis=1)  # any faces: the files have none


@pytest.fixture(scope="module")
def aligned(golden_fed, tmp_path_factory):
    """The raw scans as files of the data set, brought through ``prepare``; in the published order."""
    file = golden_fed("preparation")
    folder = tmp_path_factory.mktemp("bu3dfe")
    names = {}
    for split in ("train", "test"):
        raw, subjects = file[f"bu3dfe/{split}_raw_mm"], file[f"bu3dfe/{split}_subject"].tolist()
        at_rest, names[split] = file[f"bu3dfe/{split}_is_neutral"], []
        for k, (vertices, short) in enumerate(zip(raw, subjects, strict=True)):
            subject = f"{short[0]}{int(short[1:]):04d}"
            level = 1 + sum(who == short for who in subjects[:k])
            Mesh(vertices, FACES).write(folder / f"{subject}_{'NE00' if at_rest[k] else f'AN{level:02d}'}WH_F3D.ply")
            names[split].append(f"{subject}/{'neutral' if at_rest[k] else f'anger_{level}'}")
    stable = folder / "stable.txt"
    stable.write_text("\n".join(map(str, file["bu3dfe/stable_vertices"].tolist())))
    out = folder / "faces.h5"
    prepare(Bu3dfeLayout(raw=(folder,)), out, align="neutral-first", stable=stable, split_by="fed")
    scans = ScanDataset.open(out)
    return {split: scans.vertices(np.array([scans.scan(name) for name in names[split]])) for split in names}


def test_alignment_levels_and_sides(golden_fed, aligned):
    file = golden_fed("preparation")
    file.under("bu3dfe/train_raw"), file.under("bu3dfe/test_raw")
    for split in ("train", "test"):
        _ = [file[f"bu3dfe/{split}_{name}"] for name in ("is_neutral", "subject")]
    assert len(file["bu3dfe/stable_vertices"]) == 8
    raw, reference = file["coma_levels/raw_metres"], int(file["coma_levels/reference_vertex"])
    kept = {"vertices": [], "level": [], "expression": []}
    for sequences in raw:
        for name, frames in zip(SEQUENCES, sequences, strict=True):
            level, is_kept = motion_levels(distances_to_first(frames))
            kept["vertices"].append(frames[is_kept])
            kept["level"].append(level[is_kept])
            kept["expression"].append(np.array(sided_names(name, frames[:, reference, 0]))[is_kept])
    found = {name: np.concatenate(parts) for name, parts in kept.items()}
    published = file["coma_levels/kept_expression"]
    is_first = (file["coma_levels/kept_level"] == 0) & (published != "bareteeth")
    assert is_first.sum() == 2, "where the published code falls on a side by rounding"
    assert np.array_equal(found["expression"][~is_first], published[~is_first])
    file.check(
        {
            "bu3dfe/train_aligned_mm": aligned["train"],
            "bu3dfe/test_aligned_mm": aligned["test"],
            "coma_levels/kept_vertices": found["vertices"],
        },
        loose={"*": 1e-6},
        exempt={"coma_levels/kept_subject": "is in the order of the folders; compared below"},
    )
    assert np.allclose(found["level"], file["coma_levels/kept_level"], atol=1e-7)


def test_the_layout_keeps_the_published_frames(golden_fed, tmp_path):
    file = golden_fed("preparation")
    subjects = list(dict.fromkeys(file["coma_levels/kept_subject"].tolist()))
    for subject, sequences in zip(subjects, file["coma_levels/raw_metres"], strict=True):
        for name, frames in zip(SEQUENCES, sequences, strict=True):
            for k, vertices in enumerate(frames):
                Mesh(vertices, FACES).write(tmp_path / subject / name / f"{name}.{k + 1:06d}.ply")
    layout = ComaLayout(raw=(tmp_path,), labels="fed", side_vertex=int(file["coma_levels/reference_vertex"]))
    listing = layout.find()
    records = [record for record in listing.records if not record.is_truth]
    assert [record.subject for record in records] == file["coma_levels/kept_subject"].tolist()
    assert len(listing.rejected) == 1
    is_first = np.array([record.frame == 1 for record in records])
    names = np.array([record.expression for record in records])
    assert np.array_equal(names[~is_first], file["coma_levels/kept_expression"][~is_first])
    found = np.stack([mesh.vertices for mesh in layout.read(records, 0)]) / 1000.0
    assert np.allclose(found, file["coma_levels/kept_vertices"], atol=1e-7)
