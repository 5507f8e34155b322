"""Several datasets as one: what stays, what is kept apart, and what is refused."""

import dataclasses
import json

import h5py
import numpy as np
import pytest

from meshdisent.data.combination import combine, set_names
from meshdisent.data.dataset import DatasetWriter, FullResolution, Labels, ScanDataset, Transforms
from meshdisent.data.inspection import inspect
from meshdisent.data.subset import save_subset
from meshdisent.errors import DataError, TopologyError, UsageError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.topology import Topology


@pytest.fixture
def other(sheet, people):
    """Two of other people under names that the first dataset has too, without truth, one expression of their own."""
    vertices = people[0][:6] + 0.3 * np.random.default_rng(2).normal(size=people[0][:6].shape)
    return ScanDataset.from_arrays(
        vertices,
        sheet.faces,
        ["person 1"] * 3 + ["zoe"] * 3,
        ["neutral", "smile", "wink"] * 2,
        template=sheet.vertices + 0.1,
        regions={"chin": np.arange(3)},
        split=["train"] * 3 + ["test"] * 3,
        attributes={"device": "scanner", "rate": 60.0},
    )


@pytest.fixture
def both(dataset, other, tmp_path):
    combine({"lab": dataset, "field": other}, tmp_path / "all.h5")
    return ScanDataset.open(tmp_path / "all.h5")


def test_scans_stay_in_order_and_know_their_set(both, dataset, other):
    both.verify()
    np.testing.assert_array_equal(both.vertices(), np.concatenate([dataset.vertices(), other.vertices()]))
    assert both.sets == ("lab", "field")
    assert both.set_of_scan.tolist() == [0] * 20 + [1] * 6
    np.testing.assert_array_equal(both.split, np.concatenate([dataset.split, other.split]))
    np.testing.assert_array_equal(both.frame, np.concatenate([dataset.frame, other.frame]))


def test_subjects_of_one_name_are_two_people_and_expressions_of_one_name_are_one(both):
    assert both.subjects[:2] == ("lab-person 0", "lab-person 1")
    assert both.subjects[5:] == ("field-person 1", "field-zoe")
    assert both.expressions == ("neutral", "smile", "frown", "blink", "wink")
    assert both.names()[18:22] == ["lab-person 4/frown/7", "lab-person 4/?/8", *both.names()[20:22]]
    assert both.names()[20:] == [
        f"field-{who}/{what}" for who in ("person 1", "zoe") for what in ("neutral", "smile", "wink")
    ]
    assert both.neutral_row.tolist() == [0, 4, 8, 12, 16, 20, 23]


def test_expressions_can_be_kept_apart(dataset, other, tmp_path):
    result = combine({"lab": dataset, "field": other}, tmp_path / "all.h5", expressions="apart")
    apart = ScanDataset.open(tmp_path / "all.h5")
    assert apart.expressions[3:5] == ("lab-blink", "field-neutral")
    assert apart.names()[19].endswith("/?/8"), "unknown stays unknown"
    assert [part.known_expressions for part in result.sets] == [0, 0]
    assert (apart.neutral_row >= 0).all(), "who is at rest does not hang on a name"


def test_truth_is_kept_where_it_is_known(both, dataset):
    assert np.isnan(both.truth[[0, 2, 3, 5, 6]]).all()
    np.testing.assert_array_equal(both.truth[[1, 4]], dataset.truth[[1, 4]])


def test_template_and_regions(both, dataset):
    assert both.topology.template_hash == dataset.topology.template_hash
    assert {name: len(members) for name, members in both.topology.regions.items()} == {
        "brow": 12,
        "nose": 3,
        "chin": 3,
    }


def test_what_is_said_of_the_sets(dataset, other, tmp_path):
    result = combine({"lab": dataset, "field": other}, tmp_path / "all.h5")
    assert (result.scans, result.subjects, result.expressions) == (26, 7, 5)
    assert [(part.name, part.scans, part.subjects, part.known_expressions) for part in result.sets] == [
        ("lab", 20, 5, 0),
        ("field", 6, 2, 2),
    ]
    both = ScanDataset.open(tmp_path / "all.h5")
    assert both.attributes["device"] == "scanner", "what all say stays"
    assert "rate" not in both.attributes
    about = json.loads(both.attributes["settings"])["sets"]
    assert about["lab"] == {"data_hash": dataset.data_hash, "device": "scanner", "rate": 30.0}
    found = inspect(both)
    assert found.sets["field"] == {"scans": 6, "subjects": 2, "train": 3, "test": 3}
    assert inspect(dataset).sets == {}


def test_splits_by_frames_are_still_known_to_be(dataset, other, tmp_path):
    other.attributes["settings"] = json.dumps({"split_by": "frames"})
    combine({"lab": dataset, "field": other}, tmp_path / "all.h5")
    assert '"split_by": "frames"' in ScanDataset.open(tmp_path / "all.h5").attributes["settings"]


def test_a_combination_can_be_combined_again(both, other, sheet, people, tmp_path):
    third = ScanDataset.from_arrays(people[0][:2] + 1, sheet.faces, ["zoe", "zoe"], ["smile", "neutral"])
    combine({"all": both, "third": third}, tmp_path / "more.h5")
    more = ScanDataset.open(tmp_path / "more.h5")
    assert more.sets == ("lab", "field", "third")
    assert more.subjects[-2:] == ("field-zoe", "third-zoe")
    assert more.set_of_scan.tolist() == [0] * 20 + [1] * 6 + [2] * 2
    assert more.subjects[:7] == both.subjects
    with pytest.raises(DataError, match="Two of the sets are called 'lab'"):
        combine({"all": both, "lab": third}, tmp_path / "twice.h5")


def test_names_that_meet_by_chance_are_refused(sheet, people, tmp_path):
    first = ScanDataset.from_arrays(people[0][:1], sheet.faces, ["b-c"])
    second = ScanDataset.from_arrays(people[0][1:2], sheet.faces, ["c"])
    with pytest.raises(DataError, match="the table subjects holds 'a-b-c' twice"):
        combine({"a": first, "a-b": second}, tmp_path / "all.h5")
    assert not list(tmp_path.iterdir())


# Frames and units


def test_a_set_in_another_unit_is_refused(dataset, other, sheet, tmp_path):
    meters = ScanDataset.from_arrays(other.vertices() / 1000, sheet.faces, ["a"] * 6)
    with pytest.raises(DataError, match="The mean face of the set far, beside that of the set lab, looks like meters"):
        combine({"lab": dataset, "far": meters}, tmp_path / "all.h5")


def test_a_set_as_a_whole_is_moved_on_request_and_the_motion_is_stored(dataset, other, sheet, tmp_path):
    turn = np.array([[0.0, 1, 0], [-1, 0, 0], [0, 0, 1]])
    away = ScanDataset.from_arrays(
        other.vertices() @ turn + 400.0,
        sheet.faces,
        ["a"] * 3 + ["b"] * 3,
        ["neutral", "smile", "wink"] * 2,
        truth={"a": other.vertices()[0] @ turn + 400.0},
    )
    with pytest.raises(DataError, match=r"is turned|lies \d+ mm"):
        combine({"lab": dataset, "away": away}, tmp_path / "all.h5")
    result = combine({"lab": dataset, "away": away}, tmp_path / "all.h5", align="rigid")
    assert result.sets[0].apart_mm == 0
    assert result.sets[1].apart_mm == pytest.approx(result.sets[1].aligned_mm)
    assert result.sets[1].apart_mm < 3
    moved = ScanDataset.open(tmp_path / "all.h5")
    sizes = [np.linalg.norm(scans[:, 1:] - scans[:, :1], axis=2) for scans in (moved.vertices()[20:], away.vertices())]
    np.testing.assert_allclose(*sizes, atol=1e-3)
    rows = np.arange(26)
    np.testing.assert_allclose(moved.original_vertices(rows)[20:], away.vertices(), atol=1e-3)
    np.testing.assert_allclose(moved.original_vertices(rows)[:20], dataset.vertices(), atol=1e-5)
    np.testing.assert_allclose(moved.truth[5], moved.vertices()[20], atol=1e-4)


def test_a_shift_that_a_whole_set_shares_is_told(dataset, other, sheet, tmp_path):
    away = ScanDataset.from_arrays(other.vertices() + np.float32(6), sheet.faces, ["a"] * 6)
    result = combine({"lab": dataset, "away": away}, tmp_path / "all.h5")
    assert result.sets[1].apart_mm == pytest.approx(6 * 3**0.5, abs=1.0)
    assert result.sets[1].aligned_mm < 2.5


def test_transforms_of_alignment_follow_one_another():
    draw = np.random.default_rng(1)
    first = Transforms(np.array([2.0, 0.5]), np.linalg.qr(draw.normal(size=(2, 3, 3)))[0], draw.normal(size=(2, 3)))
    motion = Similarity(1.5, np.linalg.qr(draw.normal(size=(3, 3)))[0], draw.normal(size=3))
    points = draw.normal(size=(2, 7, 3))
    once = first.scale[:, None, None] * points @ first.rotation + first.translation[:, None]
    twice = first.followed_by(motion)
    again = twice.scale[:, None, None] * points @ twice.rotation + twice.translation[:, None]
    np.testing.assert_allclose(again, motion.apply(once), atol=1e-12)


def test_the_way_from_the_full_template_stays_if_all_agree(dataset, tmp_path):
    small = decimate(dataset.topology.template, dataset.topology.faces, 20)
    topology = Topology(small.map @ dataset.topology.template, small.faces)
    maps = (small.map, small.map, 0.5 * small.map)
    for k, found in enumerate(maps):
        full = FullResolution(dataset.topology.template, dataset.topology.faces, found)
        with DatasetWriter(tmp_path / f"{k}.h5", topology) as writer:
            writer.append(small.apply(dataset.vertices().astype(np.float64)) + k)
            writer.finish(dataset.labels, full=full)
    sets = [ScanDataset.open(tmp_path / f"{k}.h5") for k in range(3)]
    combine({"a": sets[0], "b": sets[1]}, tmp_path / "same.h5")
    combine({"a": sets[0], "b": sets[2]}, tmp_path / "other.h5")
    kept = ScanDataset.open(tmp_path / "same.h5").full_resolution()
    np.testing.assert_array_equal(kept.map.toarray(), small.map.toarray())
    assert ScanDataset.open(tmp_path / "other.h5").full_resolution() is None


# What cannot be combined


def test_other_topologies_are_refused_with_the_way_out(dataset, sheet, people, tmp_path):
    turned = ScanDataset.from_arrays(people[0][:2], sheet.faces[1:], ["a", "b"])
    turned.save(tmp_path / "turned.h5")
    with pytest.raises(TopologyError) as caught:
        combine({"lab": dataset, "b": ScanDataset.open(tmp_path / "turned.h5")}, tmp_path / "all.h5")
    said = str(caught.value)
    assert f"turned.h5 has topology {turned.topology.topology_hash} (42 vertices, 59 faces)" in said
    assert "meshdisent resample" in said
    assert "register" in said
    assert not (tmp_path / "all.h5").exists()


def test_faces_in_another_order_are_the_same_topology(dataset, sheet, people, tmp_path):
    reordered = ScanDataset.from_arrays(people[0][:2] + 1, np.roll(sheet.faces[::-1], 1, axis=1), ["a", "b"])
    combine({"lab": dataset, "b": reordered}, tmp_path / "all.h5")
    np.testing.assert_array_equal(ScanDataset.open(tmp_path / "all.h5").topology.faces, sheet.faces)


def test_the_same_scans_twice_one_set_and_an_existing_file_are_refused(dataset, other, tmp_path):
    with pytest.raises(DataError, match="the set b holds the same scans as the set a; give each dataset once"):
        combine({"a": dataset, "b": dataset}, tmp_path / "all.h5")
    with pytest.raises(UsageError, match="1 dataset given; wanted at least two"):
        combine({"a": dataset}, tmp_path / "all.h5")
    (tmp_path / "all.h5").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        combine({"a": dataset, "b": other}, tmp_path / "all.h5")
    assert (tmp_path / "all.h5").read_text() == "mine"


def test_names_of_sets_come_from_files_or_folders():
    assert set_names(["a/ict.h5", "a/heads.h5"]) == ["ict", "heads"]
    assert set_names(["x/ict/faces.h5", "heads/faces.h5"]) == ["ict", "heads"]
    assert set_names(["a/x.h5", "a/y.h5", "b/x.h5"]) == ["a-x", "a-y", "b-x"]
    with pytest.raises(UsageError, match=r"NAME=FACES\.H5"):
        set_names(["a/x/faces.h5", "b/x/faces.h5"])


# In the file


def test_a_part_keeps_its_sets(both, tmp_path):
    save_subset(both, np.array([22, 3]), tmp_path / "part.h5")
    part = ScanDataset.open(tmp_path / "part.h5")
    assert (part.sets, part.set_of_scan.tolist()) == (("lab", "field"), [1, 0])


def test_a_file_without_sets_has_one(dataset, tmp_path):
    dataset.save(tmp_path / "one.h5")
    one = ScanDataset.open(tmp_path / "one.h5")
    assert (one.sets, one.set_of_scan.tolist()) == ((), [0] * 20)
    with h5py.File(tmp_path / "one.h5") as file:
        assert "set" not in file
        assert "sets" not in file
        assert file.attrs["format_version"] == 1


def test_sets_are_part_of_the_content(both):
    alone = dataclasses.replace(both.labels, sets=(), set_of_scan=None)
    plain = ScanDataset(both.topology, alone, both.vertices(), truth=both.truth)
    assert plain.data_hash != both.data_hash
    swapped = dataclasses.replace(both.labels, set_of_scan=1 - both.set_of_scan)
    assert ScanDataset(both.topology, swapped, both.vertices(), truth=both.truth).data_hash != both.data_hash
    assert ScanDataset(both.topology, both.labels, both.vertices(), truth=both.truth).data_hash == both.data_hash


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda file: file.__delitem__("sets"), "has no array sets"),
        (lambda file: file.__delitem__("set"), "has no array set;"),
        (lambda file: file["set"].__setitem__(3, 2), r"set\[3\] is 2; wanted 0 to 1"),
        (lambda file: file["set"].__setitem__(3, -1), r"set\[3\] is -1; wanted 0 to 1"),
        (lambda file: file["sets"].__setitem__(1, "lab"), "the table sets holds 'lab' twice"),
        (lambda file: file["sets"].__setitem__(1, "a/b"), "cannot name a subject, an expression or a set"),
    ],
)
def test_sets_that_cannot_be_are_refused_when_opened(both, tmp_path, damage, message):
    with h5py.File(tmp_path / "all.h5", "r+") as file:
        damage(file)
    with pytest.raises(DataError, match=message):
        ScanDataset.open(tmp_path / "all.h5")


def test_names_of_sets_can_be_given_with_arrays(sheet, people):
    scans = ScanDataset.from_arrays(people[0][:3], sheet.faces, ["a", "b", "c"], set_names=["x", "y", "x"])
    assert (scans.sets, scans.set_of_scan.tolist()) == (("x", "y"), [0, 1, 0])
    with pytest.raises(DataError, match="2 set names were given for 3 scans"):
        Labels.from_names(["a", "b", "c"], set_names=["x", "y"])
