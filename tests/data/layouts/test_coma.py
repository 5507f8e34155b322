"""The layout ``coma``: frames of sequences, FED's sides and outliers, neutrals that nobody labeled, splits."""

import pickle
import unicodedata

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import ComaLayout, Rejection
from meshdisent.data.layouts.coma import SEQUENCES, SUBJECTS
from meshdisent.data.preparation import prepare
from meshdisent.errors import DataError, MeshError, UsageError
from meshdisent.mesh.alignment import align
from meshdisent.mesh.mesh import Mesh

ANNA, BEN = SUBJECTS[:2]
METER = 1000.0


def frames(subject, sequence, *numbers):
    return [f"{subject}/{sequence}/{sequence}.{number:06d}.ply" for number in numbers]


@pytest.fixture
def small(plant):
    """Two people, two sequences, frames with a gap, in meters, below a folder of the archive."""
    for subject in (BEN, ANNA):
        for sequence, numbers in (("mouth_side", (1, 2, 10)), ("bareteeth", (1, 3, 4))):
            plant(*(f"COMA_data/{name}" for name in frames(subject, sequence, *numbers)), unit_mm=METER)
    plant.strays(f"COMA_data/{ANNA}/bareteeth", "bareteeth.000001.ply")
    return plant


def layout(plant, **options):
    return ComaLayout(raw=(plant.raw,), **options)


class TestList:
    def test_frames_are_in_the_order_of_the_published_splits(self, small, shown):
        listing = layout(small, truth="none").find()
        expected = [
            f"{subject}/{sequence}/{frame}"
            for subject in (ANNA, BEN)
            for sequence, numbers in (("bareteeth", (1, 3, 4)), ("mouth_side", (1, 2, 10)))
            for frame in numbers
        ]
        assert shown(listing) == expected
        assert listing.rejected == ()
        assert dict(listing.passed_over) == {
            "hidden or macOS side files": 4, "other files (.txt)": 1, "other files (.zip)": 1,
        }  # fmt: skip

    def test_what_the_data_set_should_have_is_said(self, small):
        remarks = layout(small).find().remarks
        assert remarks[0].startswith("10 of 12 subjects are absent: FaceTalk_170731_00024_TA, FaceTalk_170809_00138_TA")
        assert remarks[1].startswith(f"20 of 24 sequences are absent: {ANNA}/cheeks_in, {ANNA}/eyebrow")
        assert len(SEQUENCES) == len(SUBJECTS) == 12

    def test_one_subject_and_the_folder_itself(self, small, shown):
        assert len(layout(small, subjects=1).find().records) == 7
        assert layout(small, subjects=1).find().left_out == (BEN,)
        own = ComaLayout(raw=(small.raw / "COMA_data" / BEN,), truth="none").find()
        assert {record.subject for record in own.records} == {BEN}

    def test_links_that_lead_in_circles_change_nothing(self, small, shown):
        before = layout(small).find()
        (small.raw / "COMA_data" / ANNA / "again").symlink_to(small.raw)
        after = layout(small).find()
        assert shown(after) == shown(before)
        assert after.rejected == ()

    def test_twice_the_same_frame(self, small):
        small(*(f"copy/{name}" for name in frames(ANNA, "bareteeth", 3)), unit_mm=METER)
        rejected = layout(small).find().rejected
        assert [r.reason.split(": ")[1] for r in rejected] == [
            f"{ANNA}/bareteeth was taken from {small.raw}/COMA_data/{frames(ANNA, 'bareteeth', 3)[0]}"
        ]

    def test_extensions_in_upper_case_and_other_files(self, plant, shown):
        plant(f"{ANNA}/lips_up/lips_up.000007.PLY", f"{ANNA}/lips_up/notes.ply", f"{ANNA}/stray.000001.ply")
        listing = layout(plant, truth="none").find()
        assert shown(listing) == [f"{ANNA}/lips_up/7"]
        assert listing.passed_over == {"other files (.ply)": 2}

    def test_nothing_or_nonsense(self, plant):
        plant("anna/smile.ply")
        with pytest.raises(DataError, match=r"holds no scan \(1 other files \(.ply\)\); wanted FaceTalk_\.\.\._TA/SEQ"):
            layout(plant).find()
        with pytest.raises(UsageError, match="wanted at least one folder and one subject"):
            ComaLayout(raw=())


class TestSides:
    @pytest.fixture
    def moving(self, plant):
        """20 frames: one jumps far away, half of the others move the reference vertex to the left."""
        plant(*frames(ANNA, "bareteeth", *range(1, 4)), unit_mm=METER)
        shapes = []
        for k in range(20):
            shape = plant.sheet.vertices.copy()
            shape[7, 0] += (0, -3, 2, -1)[k % 4]
            shape[:, 1] += 40.0 * (k == 12) + 0.1 * k
            shapes.append(shape)
            plant(*frames(ANNA, "mouth_side", k + 1), unit_mm=METER, vertices=shape)
        return plant

    def test_sixteen_classes_and_no_outliers(self, moving, shown):
        listing = layout(moving, labels="fed", side_vertex=7, truth="none").find()
        names = shown(listing)
        assert names[:4] == [f"{ANNA}/bareteeth/{k}" for k in (1, 2, 3)] + [f"{ANNA}/mouth_side_right/1"]
        sides = {int(name.rpartition("/")[2]): name.split("/")[1] for name in names[3:]}
        assert sides == {k + 1: f"mouth_side_{'left' if k % 4 in (1, 3) else 'right'}" for k in range(20) if k != 12}
        assert [name.rpartition("/")[2] for name in names[3:]] == [str(k + 1) for k in range(20) if k != 12]
        assert [r.source for r in listing.rejected] == [str(moving.raw / frames(ANNA, "mouth_side", 13)[0])]
        assert "beyond 3 standard deviations of its sequence" in listing.rejected[0].reason

    def test_a_frame_that_cannot_be_read_is_rejected(self, moving, shown):
        path = moving.raw / frames(ANNA, "mouth_side", 5)[0]
        path.write_bytes(path.read_bytes()[:400])
        listing = layout(moving, labels="fed", side_vertex=7).find()
        assert str(path) in [r.source for r in listing.rejected]
        assert f"{ANNA}/mouth_side_right/5" not in shown(listing)

    def test_another_topology(self, moving):
        with pytest.raises(DataError, match="has 42 vertices; wanted FLAME's 5023, whose vertex 3506"):
            layout(moving, labels="fed").find()


class TestTruth:
    def test_first_frames_are_averaged_where_they_lie(self, small):
        found = layout(small).find()
        truth = next(record for record in found.records if record.is_truth)
        mesh = layout(small).read([truth], seed=0)[0]
        firsts = [small.vertices[f"COMA_data/{frames(ANNA, s, 1)[0]}"] for s in ("bareteeth", "mouth_side")]
        moved = [align(shape, mesh.vertices).apply(shape) for shape in firsts]
        assert np.abs(np.mean(moved, axis=0) - mesh.vertices).max() < 1e-3
        assert np.abs(moved[0] - firsts[0]).max() < 1e-3

    def test_frames_that_have_hardly_moved_are_averaged_as_they_are(self, plant):
        shapes = [plant.sheet.vertices + np.array([shift, 0, 0]) for shift in (0.0, 0.09, 10.0, 5.0, 0.11)]
        for k, shape in enumerate(shapes):
            plant(*frames(ANNA, "eyebrow", k + 1), unit_mm=METER, vertices=shape)
        option = layout(plant, truth="levels")
        truth = [record for record in option.find().records if record.is_truth]
        assert np.allclose(option.read(truth, 0)[0].vertices, (shapes[0] + shapes[1]) / 2, atol=1e-4)

    def test_damaged_first_frames_are_left_out(self, small):
        for sequence in ("bareteeth", "mouth_side"):
            (small.raw / "COMA_data" / frames(ANNA, sequence, 1)[0]).write_bytes(b"ply")
        option = layout(small)
        truth = [record for record in option.find().records if record.is_truth]
        found = option.read(truth, 0)
        assert isinstance(found[0], Rejection)
        assert isinstance(found[1], Mesh)


class TestDataset:
    def prepare(self, small, tmp_path, **options):
        result = prepare(layout(small), tmp_path / "coma.h5", overwrite=True, drop=0.0, **options)
        return result, ScanDataset.open(tmp_path / "coma.h5")

    def test_everything_is_in_millimeters_and_has_a_neutral(self, small, tmp_path):
        result, scans = self.prepare(small, tmp_path, split_by="interpolation", align="none")
        assert (result.scans, result.subjects, result.neutrals, result.rejected) == (12, 2, 2, ())
        row = scans.scan(f"{BEN}/mouth_side/10")
        expected = small.vertices[f"COMA_data/{frames(BEN, 'mouth_side', 10)[0]}"]
        assert np.allclose(scans.vertices(np.array([row]))[0], expected, atol=1e-4)
        assert scans.names(scans.rows("train")) == [f"{BEN}/mouth_side/2", f"{BEN}/mouth_side/10"]
        assert any("training and test; figures are not those of new people" in note for note in inspect(scans).notes)
        assert not [line for line in inspect(scans).warnings if "more than one split" in line]

    def test_one_sequence_for_the_test(self, small, tmp_path):
        _, scans = self.prepare(small, tmp_path, split_by="extrapolation:mouth_side")
        assert {name.split("/")[1] for name in scans.names(scans.rows("test"))} == {"mouth_side"}
        assert {name.split("/")[1] for name in scans.names(scans.rows("train"))} == {"bareteeth"}
        with pytest.raises(
            DataError, match=r"leaves none of the frames to the test; .* There are bareteeth, mouth_side"
        ):
            self.prepare(small, tmp_path, split_by="extrapolation:mouthside")
        with pytest.raises(UsageError, match="wanted extrapolation:SEQUENCE: one sequence of all"):
            self.prepare(small, tmp_path, split_by="extrapolation")
        with pytest.raises(UsageError, match="wanted interpolation: the first 10"):
            self.prepare(small, tmp_path, split_by="interpolation:3")
        with pytest.raises(
            DataError, match=r"extrapolation:SEQUENCE, windows, or a JSON file\. Did you mean interpolation"
        ):
            self.prepare(small, tmp_path, split_by="interpolaton")

    def test_the_template_of_flame(self, small, tmp_path, sheet):
        flame = tmp_path / "generic_model.pkl"
        flame.write_bytes(pickle.dumps({"v_template": sheet.vertices / METER, "f": sheet.faces.astype(np.uint32)}, 2))
        _, scans = self.prepare(small, tmp_path, topology=flame)
        assert np.allclose(scans.topology.template, sheet.vertices)
        flame.write_bytes(b"cos\nsystem\n(S'touch " + str(tmp_path / "made").encode() + b"'\ntR.")
        with pytest.raises(MeshError, match=r"names os\.system; wanted arrays and sparse matrices only"):
            self.prepare(small, tmp_path, topology=flame)
        assert not (tmp_path / "made").exists()

    def test_windows_need_frames(self, small, tmp_path):
        with pytest.raises(DataError, match="There are 12 frames; wanted 100 or more"):
            self.prepare(small, tmp_path, split_by="windows")

    def test_odd_files_are_rejected_with_their_reason(self, small, tmp_path, sheet):
        odd = {name: small.raw / "COMA_data" / frames(BEN, "bareteeth", k)[0] for name, k in (("mm", 5), ("order", 6))}
        sheet.write(odd["mm"])
        turned = np.random.default_rng(0).permutation(42)
        Mesh(sheet.vertices[np.argsort(turned)] / METER, turned[sheet.faces]).write(odd["order"])
        cut = small.raw / "COMA_data" / frames(ANNA, "bareteeth", 4)[0]
        cut.write_bytes(cut.read_bytes()[:-30])
        result, _ = self.prepare(small, tmp_path)
        reasons = {r.source: r.reason for r in result.rejected}
        assert "times the size of the template; wanted the same unit" in reasons[str(odd["mm"])]
        assert "other faces" in reasons[str(odd["order"])]
        assert "cut off" in reasons[str(cut)]
        assert len(reasons) == 3


def test_skin_and_eyeballs_are_regions_of_flame_s_topology_only(plant, sheet):
    assert layout(plant).regions(sheet) == {}
    regions = layout(plant).regions(Mesh(np.random.default_rng(0).normal(size=(5023, 3))))
    assert {name: (members[0], members[-1]) for name, members in regions.items()} == {
        "skin": (0, 3930),
        "eyeballs": (3931, 5022),
    }


def test_names_with_composed_letters(plant, shown):
    folder = unicodedata.normalize("NFD", "für Zoë")
    plant(f"{folder}/{frames(ANNA, 'eyebrow', 2)[0]}")
    assert shown(layout(plant, truth="none").find()) == [f"{ANNA}/eyebrow/2"]
