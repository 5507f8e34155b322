"""A dataset on another topology: labels stay, the truth and the transforms come along."""

import json

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.resampled import save_resampled
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import TopologyError
from meshdisent.mesh.alignment import Similarity, align
from meshdisent.mesh.resampling import resampling_map
from meshdisent.mesh.topology import Topology

AWAY = np.array([0.0, 90.0, 20.0])


@pytest.fixture
def finer(sheet):
    """The sheet with a vertex in the middle of each face, somewhere else in space."""
    middles = sheet.vertices[sheet.faces].mean(axis=1)
    numbers = len(sheet.vertices) + np.arange(len(sheet.faces))
    a, b, c = sheet.faces.T
    parts = ((a, b, numbers), (b, c, numbers), (c, a, numbers))
    faces = np.concatenate([np.stack(corners, axis=1) for corners in parts])
    vertices = np.concatenate([sheet.vertices, middles])
    return Topology(vertices + AWAY, faces, {"corner": np.arange(3)})


def test_labels_stay_and_scans_are_mixed(dataset, finer, sheet, tmp_path):
    found = resampling_map(dataset.topology, finer)
    save_resampled(dataset, found, tmp_path / "finer.h5")
    scans = ScanDataset.open(tmp_path / "finer.h5")
    scans.verify()
    assert scans.topology.template_hash == finer.template_hash
    assert scans.names() == dataset.names()
    for name in ("subject", "expression", "frame", "split", "neutral_row"):
        np.testing.assert_array_equal(getattr(scans, name), getattr(dataset, name))
    wanted = np.concatenate([dataset.vertices(), dataset.vertices()[:, sheet.faces].mean(axis=2)], axis=1)
    apart = scans.vertices() - (wanted + AWAY)
    assert np.abs(apart).max() < 0.1, "up to what the search for the frame leaves"
    assert scans.topology.regions["corner"].tolist() == [0, 1, 2]
    about = json.loads(scans.attributes["resampled"])
    assert (about["from"], about["uncovered"]) == (dataset.topology.topology_hash, 0)
    assert scans.attributes["device"] == "scanner"


def test_truth_and_transforms_come_along(dataset, finer, tmp_path):
    found = resampling_map(dataset.topology, finer)
    save_resampled(dataset, found, tmp_path / "finer.h5")
    scans = ScanDataset.open(tmp_path / "finer.h5")
    assert np.isnan(scans.truth[[0, 2, 3]]).all()
    shift = np.full(3, 0.5) @ found.motion.rotation  # person 1 is at rest 0.5 mm beside its scan
    np.testing.assert_allclose(scans.truth[1], scans.vertices()[4] + shift, atol=1e-4)
    back = scans.original_vertices(np.arange(20))
    np.testing.assert_allclose(back, np.stack([found.matrix @ scan for scan in dataset.vertices()]), atol=1e-3)


def test_in_one_frame_nothing_is_moved_and_no_transform_is_stored(dataset, sheet, tmp_path):
    save_resampled(dataset, resampling_map(dataset.topology, dataset.topology), tmp_path / "same.h5")
    scans = ScanDataset.open(tmp_path / "same.h5")
    assert scans.transforms is None
    np.testing.assert_allclose(scans.vertices(), dataset.vertices(), atol=1e-4)


def test_sets_stay(sheet, people, finer, tmp_path):
    scans = ScanDataset.from_arrays(people[0][:3], sheet.faces, ["a", "b", "c"], set_names=["x", "y", "x"],
                                    template=sheet.vertices)  # fmt: skip
    save_resampled(scans, resampling_map(scans.topology, finer), tmp_path / "finer.h5")
    assert ScanDataset.open(tmp_path / "finer.h5").set_of_scan.tolist() == [0, 1, 0]


def test_scans_of_another_topology_are_refused_before_a_file_appears(dataset, finer, sheet, people, tmp_path):
    other = ScanDataset.from_arrays(people[0][:2], sheet.faces[1:], ["a", "b"])
    with pytest.raises(TopologyError, match="the map was made for"):
        save_resampled(other, resampling_map(dataset.topology, finer), tmp_path / "finer.h5")
    assert not list(tmp_path.iterdir())


def test_the_motion_is_the_best_rigid_one(dataset, finer):
    found = resampling_map(dataset.topology, finer)
    best = align(found.matrix @ dataset.topology.template, finer.template)
    np.testing.assert_allclose(found.motion.rotation, best.rotation, atol=1e-9)
    assert isinstance(found.motion, Similarity)
    assert found.motion.scale == 1.0


def test_the_synthetic_head_is_itself_on_another_mesh():
    coarse, fine = SyntheticHead(2000), SyntheticHead(3500)
    there, back = resampling_map(coarse.topology, fine.topology), resampling_map(fine.topology, coarse.topology)
    assert (there.coverage.uncovered, back.coverage.uncovered) == (0, 0)
    identity, manner = coarse.person(np.random.default_rng(4))
    scans = np.stack([coarse.face(identity, name, manner) for name in ("neutral", "mouth_stretch", "eye_closed")])
    made = np.stack([fine.face(identity, name, manner) for name in ("neutral", "mouth_stretch", "eye_closed")])
    for found, truth, mean_mm, most_mm in (
        (there.apply(scans), made, 0.3, 3.0),
        (back.apply(made), scans, 0.2, 3.0),
        (back.apply(there.apply(scans)), scans, 0.15, 2.0),
    ):
        apart = np.linalg.norm(found - truth, axis=2)
        assert apart.mean() < mean_mm
        assert apart.max() < most_mm, "no lip is taken for the other one"
