"""Each thing that can be wrong with a dataset is found and named, and a good one raises no alarm."""

import json

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect

EXPRESSIONS = ("neutral", "smile", "frown", "blink", "grin", "jaw")


@pytest.fixture
def parts(sheet) -> dict:
    """Arguments of a good dataset: 30 subjects x 6 expressions, 18 to train, 3 to choose, 9 to test."""
    rng = np.random.default_rng(1)
    moves = {name: (name != "neutral") * rng.normal(size=sheet.vertices.shape) * 2 for name in EXPRESSIONS}
    vertices, subjects, expressions, split = [], [], [], []
    for k in range(30):
        shape = sheet.vertices + rng.normal(size=sheet.vertices.shape)
        for name in EXPRESSIONS:
            noise = 0.05 * rng.normal(size=sheet.vertices.shape)
            vertices.append(shape + moves[name] * rng.uniform(0.8, 1.2) + noise)
            subjects.append(f"p{k}")
            expressions.append(name)
            split.append("train" if k < 18 else "val" if k < 21 else "test")
    return {
        "vertices": np.array(vertices),
        "faces": sheet.faces,
        "subject_names": subjects,
        "expression_names": expressions,
        "split": split,
    }


def warnings(parts: dict, **changes) -> tuple[str, ...]:
    return inspect(ScanDataset.from_arrays(**parts | changes)).warnings


def test_a_good_dataset_raises_no_alarm(parts, tmp_path):
    scans = ScanDataset.from_arrays(**parts)
    found = inspect(scans)
    assert found.warnings == ()
    assert found.notes == ()
    assert (found.scans, found.subjects, found.expressions, found.frames) == (180, 30, 6, 0)
    assert found.splits["train"] == {"scans": 108, "subjects": 18}
    assert (found.vertices, found.faces, found.border_vertices, found.components) == (42, 60, 22, 1)
    assert found.cells == {"all": 180, "seen": 180}
    assert found.neutrals["subjects_with_scan"] == 30
    assert found.neutrals["neutral_to_middle_mm"] < 0.5 * found.neutrals["others_to_middle_mm"]
    assert np.allclose(found.box_mm, [scans.vertices().min(axis=(0, 1)), scans.vertices().max(axis=(0, 1))])
    assert found.copies == []
    scans.save(tmp_path / "faces.h5")
    again = inspect(ScanDataset.open(tmp_path / "faces.h5")).to_json()
    assert json.loads(json.dumps(again)) == json.loads(json.dumps(again))
    assert {k: v for k, v in again.items() if k not in ("path", "attributes")} == {
        k: v for k, v in found.to_json().items() if k not in ("path", "attributes")
    }


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (0.001, "it looks like meters, prepare again with --unit m"),
        (0.1, "it looks like centimeters, prepare again with --unit cm"),
        (10.0, "a unit below mm"),
    ],
)
def test_the_wrong_unit(parts, factor, message):
    found = warnings(parts, vertices=parts["vertices"] * factor)
    assert any("faces are 80 to 450 mm" in line and message in line for line in found)


def test_one_scan_in_another_unit(parts):
    parts["vertices"][7] *= 3
    assert any("1 scans are of another size than the others: p1/smile (3 times)" in line for line in warnings(parts))


def test_a_neutral_that_is_not_neutral(parts):
    parts["expression_names"][12:14] = ["smile", "neutral"]
    found = warnings(parts)
    assert len(found) == 1
    assert found[0].startswith("1 subjects have a neutral that is not neutral: p2 (")


def test_a_neutral_far_from_the_truth(parts):
    truth = {"p0": parts["vertices"][0], "p1": parts["vertices"][6] + 2.0}
    assert warnings(parts, truth=truth) == ("1 subjects have a neutral scan far from their true neutral: p1 (3.5 mm)",)


def test_subjects_without_a_neutral(parts):
    parts["expression_names"][6] = "rest"
    assert "1 subjects have no neutral: p1" in warnings(parts)
    assert any("no subject has a neutral" in line for line in warnings(parts, neutral="calm"))


def test_missing_labels_and_cells(parts):
    parts["expression_names"][9] = None
    found = warnings(parts)
    assert "1 scans have no expression label" in found
    assert "1 subjects and expressions have no scan: p1/blink" in found


def test_a_table_that_is_mostly_empty_is_a_note(parts):
    parts["expression_names"] = [f"{name} {k}" if k % 6 else name for k, name in enumerate(parts["expression_names"])]
    found = inspect(ScanDataset.from_arrays(**parts))
    assert not any("subjects and expressions have no scan" in line for line in found.warnings)
    assert any("of 4530 subjects and expressions have no scan" in line for line in found.notes)


def test_a_subject_with_one_scan(parts):
    parts["subject_names"][179] = "alone"
    assert any(line.startswith("1 subjects have one scan only") and "alone" in line for line in warnings(parts))


def test_a_subject_in_two_splits(parts):
    parts["split"][4] = "test"
    parts["split"][130] = "val"
    found = warnings(parts)
    assert found == ("2 subjects are in more than one split, so the test knows who they are: p0, p21",)


def test_subjects_shared_on_purpose_are_a_note(parts):
    parts["split"][4] = "test"
    found = inspect(ScanDataset.from_arrays(**parts, attributes={"settings": json.dumps({"split_by": "frames"})}))
    assert found.warnings == ()
    assert found.notes == ("split by frames: 1 subjects are in training and test; figures are not those of new people",)


def test_an_empty_split(parts):
    assert "no scan is in the split 'train'" in warnings(parts, split=["test"] * 180)
    assert "no scan is in the split 'test'" in warnings(parts, split=["train"] * 180)


@pytest.mark.parametrize("rounding", [0.0, 0.002])
def test_copies(parts, rounding):
    parts["vertices"][170] = parts["vertices"][3] + rounding * np.random.default_rng(0).normal(size=(42, 3))
    parts["vertices"][50] = parts["vertices"][51]
    found = inspect(ScanDataset.from_arrays(**parts))
    assert found.copies == [("p0/blink", "p28/frown"), ("p8/frown", "p8/blink")]
    assert any(
        line == "2 pairs of scans are copies of one another, 1 of them in two splits: p0/blink = p28/frown"
        for line in found.warnings
    )


def test_neighboring_frames_are_no_copies(parts):
    parts["vertices"][51] = parts["vertices"][50] + 0.05 * np.random.default_rng(0).normal(size=(42, 3))
    assert inspect(ScanDataset.from_arrays(**parts)).copies == []


def test_a_scan_unlike_all_others(parts):
    parts["vertices"][40] += np.random.default_rng(0).normal(size=(42, 3)) * 15
    found = inspect(ScanDataset.from_arrays(**parts))
    assert [name for name, _ in found.strangers] == ["p6/grin"]
    assert any("1 scans are unlike all others of their kind" in line and "p6/grin" in line for line in found.warnings)


def test_a_spike(parts):
    parts["vertices"][77, 20, 2] += 120
    assert [name for name, _ in inspect(ScanDataset.from_arrays(**parts)).strangers] == ["p12/jaw"]


def test_scans_that_lie_askew(parts):
    rng = np.random.default_rng(0)
    for k in range(180):
        turned = np.linalg.qr(np.eye(3) + 0.2 * rng.normal(size=(3, 3)))[0]
        turned *= np.sign(np.diag(turned))
        parts["vertices"][k] = parts["vertices"][k] @ turned + rng.normal(size=3) * 20
    assert any("the scans do not share a frame" in line and "--align rigid" in line for line in warnings(parts))


def test_a_name_that_stands_for_several_scans(parts):
    parts["expression_names"][3] = "smile"
    assert "1 names stand for several scans: p0/smile" in warnings(parts)


def test_one_scan_alone(parts):
    found = inspect(ScanDataset.from_arrays(parts["vertices"][:1], parts["faces"], ["p0"], ["neutral"]))
    assert found.scans == 1
    assert found.frame["shift_mm"] == 0
