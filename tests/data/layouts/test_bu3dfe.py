"""The layout ``bu3dfe``: names say everything, VRML and registered variants, FED's split and two-step alignment."""

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import Bu3dfeLayout
from meshdisent.data.layouts.bu3dfe import EXPRESSIONS, FED_STABLE, SUBJECTS
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.alignment import align
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def small(plant):
    """Two women and a man as VRML, a neutral and three expressions each, beside what lies in such folders."""
    for subject, group in (("F0011", "WH"), ("M0001", "AE"), ("F0002", "BL")):
        plant(*(f"{subject}/{subject}_{code}{group}_F3D.wrl" for code in ("NE00", "AN01", "AN04", "SU02")))
    (plant.raw / "F0011" / "F0011_AN01WH_F2D.bmp").write_bytes(b"BM")
    (plant.raw / "F0011" / "F0011_AN01WH_RAW.wrl").write_text("#VRML V2.0 utf8\n")
    plant.strays("F0011", "F0011_AN01WH_F3D.wrl")
    return plant


def layout(plant, **options):
    return Bu3dfeLayout(raw=(plant.raw,), **options)


def test_names_say_who_and_what(small, shown):
    listing = layout(small).find()
    expressions = ("neutral", "anger_1", "anger_4", "surprise_2")
    assert shown(listing) == [f"{subject}/{name}" for subject in ("F0002", "F0011", "M0001") for name in expressions]
    assert listing.passed_over["scans of another kind (RAW)"] == 1
    assert listing.passed_over["other files (.bmp)"] == 1
    assert listing.remarks[0].startswith("97 of 100 subjects are absent: F0001, F0003")
    assert listing.remarks[1].startswith("63 scans of subjects that are there are absent: F0002/anger_2")
    assert (len(SUBJECTS), len(EXPRESSIONS)) == (100, 25)


def test_registered_variants_in_one_folder(plant, shown):
    plant("F0001_HA03IN.obj", "M0044_ne00la_F3D.PLY", "F0001_NE00IN_F3D.wrl", "F0001_HA03IN_F3D.ply")
    listing = layout(plant).find()
    assert shown(listing) == ["F0001/neutral", "F0001/happiness_3", "M0044/neutral"]
    assert [r.reason.split(" was")[0] for r in listing.rejected] == ["duplicate name: F0001/happiness_3"]


@pytest.mark.parametrize("code", ["NE01", "AN00", "AN05", "XX01"])
def test_what_is_no_expression_is_rejected(small, code):
    small(f"F0002/F0002_{code}BL_F3D.wrl")
    assert [r.reason for r in layout(small).find().rejected] == [
        f"{code} is no expression of BU-3DFE; wanted NE00 or AN01 to SU04"
    ]


def test_scans_come_through_and_the_test_is_that_of_fed(small, tmp_path):
    result = prepare(layout(small), tmp_path / "faces.h5", align="none", split_by="fed")
    assert (result.scans, result.neutrals, result.rejected) == (12, 3, ())
    scans = ScanDataset.open(tmp_path / "faces.h5")
    assert scans.names(scans.rows("test")) == ["F0002/neutral", "F0002/anger_1", "F0002/anger_4", "F0002/surprise_2"]
    expected = small.vertices["F0011/F0011_AN04WH_F3D.wrl"]
    row = np.array([scans.scan("F0011/anger_4")])
    assert np.allclose(scans.vertices(row)[0], expected, atol=1e-4)


def test_truncated_text_and_another_topology_are_rejected(small, tmp_path, sheet):
    cut = small.raw / "F0002" / "F0002_AN04BL_F3D.wrl"
    cut.write_text(cut.read_text()[:-200])
    Mesh(sheet.vertices, sheet.faces[:-1]).write(small.raw / "M0001" / "M0001_SU03AE_F3D.ply")
    reasons = {r.source.rpartition("/")[2]: r.reason for r in prepare(layout(small), tmp_path / "f.h5").rejected}
    assert reasons["F0002_AN04BL_F3D.wrl"].startswith("the list that begins in line 2 does not end")
    assert "other faces" in reasons["M0001_SU03AE_F3D.ply"]


class TestNeutralFirst:
    @pytest.fixture
    def turned(self, plant, sheet):
        """Everyone's head is turned and shifted in each scan; expressions move all but the last 12 vertices."""
        rng = np.random.default_rng(4)
        for subject in ("F0001", "F0020", "M0003"):
            shape = sheet.vertices + rng.normal(size=sheet.vertices.shape)
            for code in ("NE00", "AN02", "FE03"):
                moved = shape.copy()
                if code != "NE00":
                    moved[:30] += rng.normal(0, 8, (30, 3))
                turn = np.linalg.qr(np.eye(3) + 0.2 * rng.normal(size=(3, 3)))[0]
                turn *= np.sign(np.diag(turn))
                scan = moved @ turn + rng.normal(0, 20, 3)
                plant(f"{subject}_{code}WH_F3D.wrl", vertices=scan)
        return plant

    def test_stable_vertices_lie_where_those_of_the_neutral_lie(self, turned, tmp_path):
        (tmp_path / "stable.txt").write_text("\n".join(map(str, range(30, 42))))
        options = {"align": "neutral-first", "stable": tmp_path / "stable.txt", "split_by": "fed"}
        prepare(layout(turned), tmp_path / "faces.h5", **options)
        scans = ScanDataset.open(tmp_path / "faces.h5")
        vertices = scans.vertices().reshape(3, 3, 42, 3)
        assert np.abs(vertices[:, 1:, 30:] - vertices[:, :1, 30:]).max() < 1e-3
        assert np.linalg.norm(vertices[:, 1:, :30] - vertices[:, :1, :30], axis=3).mean() > 5
        raw = np.stack([turned.vertices[f"{name}_NE00WH_F3D.wrl"] for name in ("F0020", "M0003")])
        for k, name in enumerate(("F0001", "F0020", "M0003")):
            neutral = turned.vertices[f"{name}_NE00WH_F3D.wrl"]
            expected = align(neutral, raw.mean(axis=0)).apply(neutral)
            assert np.abs(vertices[k, 0] - expected).max() < 1e-3
        back = scans.original_vertices(np.arange(9))
        assert np.abs(back[4] - turned.vertices["F0020_AN02WH_F3D.wrl"]).max() < 1e-3

    def test_decimated_scans_are_moved_as_whole_ones(self, turned, tmp_path):
        (tmp_path / "stable.txt").write_text("\n".join(map(str, range(30, 42))))
        options = {"align": "neutral-first", "stable": tmp_path / "stable.txt", "split_by": "fed"}
        prepare(layout(turned), tmp_path / "small.h5", vertices=30, **options)
        small = ScanDataset.open(tmp_path / "small.h5")
        full = small.full_resolution()
        raw = turned.vertices["M0003_FE03WH_F3D.wrl"]
        row = np.array([small.scan("M0003/fear_3")])
        assert np.abs(small.original_vertices(row)[0] - full.map @ raw).max() < 1e-3
        neutral = small.vertices(np.array([small.scan("M0003/neutral")]))[0].astype(float)
        moved = align(full.map @ turned.vertices["M0003_NE00WH_F3D.wrl"], neutral)
        anchors = moved.apply(turned.vertices["M0003_NE00WH_F3D.wrl"][30:])
        expected = align(raw[30:], anchors).apply(full.map @ raw)
        assert np.abs(small.vertices(row)[0] - expected).max() < 1e-3

    def test_everyone_needs_a_neutral(self, turned, tmp_path):
        path = turned.raw / "F0020_NE00WH_F3D.wrl"
        kept = path.read_text()
        path.write_text(kept[:-100])
        message = "1 of 3 subjects have no scan called 'neutral', the first F0020; wanted one of each"
        with pytest.raises(DataError, match=message):
            prepare(layout(turned), tmp_path / "f.h5", align="neutral-first")
        path.unlink()
        with pytest.raises(DataError, match=message):
            prepare(layout(turned), tmp_path / "f.h5", align="neutral-first")
        path.write_text(kept)
        (tmp_path / "split.json").write_text('{"test": ["F0001", "F0020", "M0003"]}')
        with pytest.raises(DataError, match="No subject of the training split has a neutral scan"):
            prepare(layout(turned), tmp_path / "f.h5", align="neutral-first", split_by=tmp_path / "split.json")
        assert not (tmp_path / "f.h5").exists()


def test_the_stable_vertices_are_a_region_of_fed_s_topology_only(plant, sheet):
    assert layout(plant).regions(sheet) == {}
    template = Mesh(np.random.default_rng(0).normal(size=(5996, 3)))
    assert layout(plant).regions(template) == {"fed_stable": FED_STABLE}
    assert len(set(FED_STABLE)) == 13


def test_options(plant):
    with pytest.raises(UsageError, match="wanted at least one of each"):
        Bu3dfeLayout(raw=(), subjects=1)
