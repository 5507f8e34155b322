"""The layout ``facescape``: numbers sort as numbers, absent files are named, published splits by who is there."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import FacescapeLayout
from meshdisent.data.layouts.facescape import EXPRESSIONS
from meshdisent.data.preparation import prepare
from meshdisent.data.published_splits import FACESCAPE_PUBLISHABLE
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh


def files(subject, *numbers):
    return [f"{subject}/models_reg/{number}_{EXPRESSIONS[number - 1]}.obj" for number in numbers]


@pytest.fixture
def small(plant):
    """Three people in two unpacked parts; one has 10_dimpler, one lacks most."""
    plant(*(f"part 1/{name}" for name in (*files(2, 1, 2, 10, 20), *files(10, 1, 2))), *files(832, 1, 3))
    plant.strays("part 1/2/models_reg", "1_neutral.jpg")
    (plant.raw / "part 1" / "2" / "models_reg" / "1_neutral.obj.mtl").write_text("newmtl face\n")
    (plant.raw / "part 1" / "2" / "models_reg" / "1_neutral.jpg").write_bytes(b"\xff\xd8")
    return plant


def layout(plant, **options):
    return FacescapeLayout(raw=(plant.raw,), **options)


def test_subjects_and_expressions_sort_by_number(small, shown):
    listing = layout(small).find()
    assert shown(listing) == [
        "2/neutral", "2/smile", "2/dimpler", "2/brow_lower", "10/neutral", "10/smile", "832/neutral",
        "832/mouth_stretch",
    ]  # fmt: skip
    assert listing.passed_over["hidden or macOS side files"] == 4
    assert listing.passed_over["other files (.mtl)"] == listing.passed_over["other files (.jpg)"] == 1


def test_absent_scans_and_subjects_are_named(small):
    scans, subjects = layout(small).find().remarks
    assert scans.startswith("52 scans of subjects that are there are absent: 2/mouth_stretch, 2/anger, 2/jaw_left")
    assert subjects == "844 of 847 subjects are absent: 1, 3, 4, 5, 6 and 839 more"


def test_parts_may_be_given_one_by_one_and_numbers_may_have_zeros(small, shown):
    small("part 2/0007/models_reg/1_NEUTRAL.OBJ")
    listing = FacescapeLayout(raw=(small.raw / "part 1", small.raw / "part 2"), subjects=2).find()
    assert shown(listing) == ["2/neutral", "2/smile", "2/dimpler", "2/brow_lower", "7/neutral"]
    assert listing.left_out == ("10",)


def test_a_number_that_is_not_that_of_the_expression_is_rejected(small):
    small("3/models_reg/2_neutral.obj", "3/models_reg/21_wink.obj", "3/models_reg/1_neutral.obj")
    reasons = {r.source.rpartition("/")[2]: r.reason for r in layout(small).find().rejected}
    assert reasons == {
        "2_neutral.obj": "is no expression of FaceScape; wanted 1_neutral. Rename the file if it is that",
        "21_wink.obj": "is no expression of FaceScape; wanted 1 to 20. Rename the file if it is that",
    }


def test_texture_seams_and_quads_change_nothing(plant, tmp_path):
    for name in files(1, 1, 2):
        plant(name)
    path = plant.raw / files(1, 2)[0]
    text = path.read_text()
    seams = "\n".join(f"vt {k / 50} 0" for k in range(50))
    path.write_text(
        f"mtllib 2_smile.obj.mtl\n{text.replace('f ', seams + chr(10) + 'usemtl face' + chr(10) + 'f ', 1)}"
    )
    prepare(layout(plant), tmp_path / "faces.h5", align="none")
    scans = ScanDataset.open(tmp_path / "faces.h5")
    expected = plant.vertices[files(1, 2)[0]]
    assert np.allclose(scans.vertices(np.array([scans.scan("1/smile")]))[0], expected, atol=1e-4)


def splits(plant, tmp_path, split_by):
    prepare(layout(plant), tmp_path / "faces.h5", split_by=split_by, overwrite=True)
    scans = ScanDataset.open(tmp_path / "faces.h5")
    return {
        kind: [scans.subjects[k] for k in np.unique(scans.subject[scans.rows(kind)])]
        for kind in ("train", "test", "dropped")
    }


def test_wsdf_knows_where_everyone_belongs(small, tmp_path):
    small(*files(122, 1), *files(1, 1))
    assert splits(small, tmp_path, "wsdf") == {"train": ["1"], "test": ["2", "10", "122"], "dropped": ["832"]}
    small(*files(900, 1))
    with pytest.raises(DataError, match=r"knows nothing of the subject '900' \(1 such\); wanted 1 to 847"):
        splits(small, tmp_path, "wsdf")


def test_fed_draws_among_those_who_are_there(small, tmp_path):
    small(*(name for number in (*range(20, 26), 603, 122) for name in files(number, 1)))
    found = splits(small, tmp_path, "fed")
    assert found["dropped"] == ["603"]
    assert len(found["test"]) == int(0.3 * 10)
    assert "122" in found["test"]
    assert 122 in FACESCAPE_PUBLISHABLE


def test_outliers_by_row_need_the_files_of_the_authors(small, tmp_path):
    small(*files(603, 1, 2))
    with pytest.raises(DataError, match=r"Subject 603 is at the places 6 to 7 of 10 scans; wanted 12022 to 12041"):
        splits(small, tmp_path, "fed-rows")


def test_a_file_in_meters_and_one_of_another_reader_are_rejected(small, tmp_path, sheet):
    small(*files(10, 3), unit_mm=1000.0)
    split_at_seams = Mesh(np.concatenate([sheet.vertices, sheet.vertices[:2]]), sheet.faces)
    split_at_seams.write(small.raw / files(10, 4)[0])
    reasons = {r.source.rpartition("/")[2]: r.reason for r in prepare(layout(small), tmp_path / "f.h5").rejected}
    assert "wanted the same unit" in reasons["3_mouth_stretch.obj"]
    assert "has 44 vertices" in reasons["4_anger.obj"]


def test_options(plant):
    with pytest.raises(UsageError, match="wanted at least one of each"):
        layout(plant, subjects=0)
