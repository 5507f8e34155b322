"""The layout ``folder``: what counts as a scan, in which order, under which name."""

import pickle
import shutil
import unicodedata
from typing import get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from meshdisent.data.layouts import LAYOUTS, FolderLayout, Rejection
from meshdisent.data.layouts.base import Unit, natural_key
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def touch(tmp_path):
    """Make files that no one reads, and give their names as the layout lists them."""

    def touch(*names, **options):
        for name in names:
            path = tmp_path / "raw" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        return FolderLayout(raw=(tmp_path / "raw",), **options).find()

    return touch


def shown(listing) -> list[str]:
    return [f"{r.subject}/{r.expression}" + (f"/{r.frame}" if r.frame >= 0 else "") for r in listing.records]


def test_names_sort_by_number(touch):
    listing = touch("10/10_grin.ply", "10/2_smile.ply", "9/1_neutral.OBJ", "b/x.ply", "A/x.ply")
    assert shown(listing) == ["9/1_neutral", "10/2_smile", "10/10_grin", "A/x", "b/x"]


@given(st.lists(st.text(max_size=6), max_size=8))
def test_natural_order_is_one_order(names):
    backwards = names[::-1]
    assert sorted(names, key=natural_key) == sorted(backwards, key=natural_key)
    assert len({natural_key(name) for name in names}) == len(set(names))


def test_sequences_have_frame_numbers(touch):
    listing = touch(
        "a/talk/talk.000010.ply", "a/talk/talk.000002.ply", "a/neutral.ply", "a/walk/left.ply", "a/walk/right.ply"
    )
    assert shown(listing) == ["a/neutral", "a/talk/2", "a/talk/10", "a/walk/0", "a/walk/1"]


def test_repeated_frame_numbers_give_way_to_places(touch):
    assert shown(touch("a/talk/x1.ply", "a/talk/y1.ply")) == ["a/talk/0", "a/talk/1"]


def test_what_is_no_scan_is_counted(touch):
    listing = touch(
        "split.json", "top.ply", "a/smile.ply", "a/smile.jpg", "a/smile.jpg.txt", "a/._smile.ply", "a/.DS_Store",
        "__MACOSX/a/frown.ply", ".cache/a/x.ply", "a/talk/deep/1.ply", "a/notes",
    )  # fmt: skip
    assert shown(listing) == ["a/smile"]
    assert listing.rejected == ()
    assert dict(listing.passed_over) == {
        "hidden or macOS side files": 4,
        "other files (.jpg)": 1,
        "other files (.txt)": 1,
        "other files (.json)": 1,
        "other files (no extension)": 1,
        "meshes outside a subject's folder": 1,
        "meshes more than two folders deep": 1,
    }


def test_duplicate_names_are_rejected(touch, tmp_path):
    listing = touch("a/smile.obj", "a/smile.ply", "a/smile.PLY", "a/frown.ply")
    assert shown(listing) == ["a/frown", "a/smile"]
    assert [r.source for r in listing.rejected] == [str(tmp_path / "raw" / "a" / f"smile.{x}") for x in ("obj", "ply")]
    assert {r.reason for r in listing.rejected} == {
        f"duplicate name: a/smile was taken from {tmp_path / 'raw' / 'a' / 'smile.PLY'}"
    }


def test_several_folders_are_one_data_set(tmp_path):
    for name in ("one/a/smile.ply", "two/a/frown.ply", "two/b/smile.ply", "two/a/smile.ply"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listing = FolderLayout(raw=(tmp_path / "two", tmp_path / "one")).find()
    assert shown(listing) == ["a/frown", "a/smile", "b/smile"]
    assert [r.source for r in listing.rejected] == [str(tmp_path / "two/a/smile.ply")]


def test_letters_are_composed(touch):
    decomposed = unicodedata.normalize("NFD", "Zoë")
    assert shown(touch(f"{decomposed}/müde lächeln.ply")) == ["Zoë/müde lächeln"]


def test_names_that_no_file_can_hold_are_rejected(touch):
    listing = touch("a/line\nbreak.ply", "a/smile.ply")
    assert shown(listing) == ["a/smile"]
    assert "control characters" in listing.rejected[0].reason


def test_names_that_are_no_text_are_rejected(tmp_path):
    folder = tmp_path / "raw" / "a"
    folder.mkdir(parents=True)
    (folder / "smile.ply").touch()
    try:
        (folder / b"\xff\xfe.ply".decode("utf-8", "surrogateescape")).touch()
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    listing = FolderLayout(raw=(tmp_path / "raw",)).find()
    assert shown(listing) == ["a/smile"]
    assert "is no UTF-8" in listing.rejected[0].reason


def test_the_first_subjects_only(touch):
    listing = touch("10/x.ply", "2/x.ply", "1/x.ply", "1/y.ply", subjects=2)
    assert shown(listing) == ["1/x", "1/y", "2/x"]
    assert listing.left_out == ("10",)


def test_links_that_lead_in_circles_end(tmp_path, touch):
    listing = touch("a/smile.ply")
    (tmp_path / "raw" / "a" / "loop").symlink_to(tmp_path / "raw")
    assert shown(FolderLayout(raw=(tmp_path / "raw",)).find()) == shown(listing)


def test_folders_may_be_given_as_text(tmp_path):
    make = getattr(FolderLayout.__init__, "__wrapped__", FolderLayout.__init__)
    for raw in (str(tmp_path), tmp_path, [str(tmp_path)]):
        layout = object.__new__(FolderLayout)
        make(layout, raw=raw)
        assert layout.raw == (tmp_path,)


class TestNothingFound:
    def test_absent(self, tmp_path):
        with pytest.raises(DataError, match="nowhere is absent; wanted a folder with one folder a subject"):
            FolderLayout(raw=(tmp_path / "nowhere",)).find()

    def test_a_file(self, tmp_path):
        (tmp_path / "scans.zip").touch()
        with pytest.raises(DataError, match=r"scans\.zip is a file"):
            FolderLayout(raw=(tmp_path / "scans.zip",)).find()

    def test_one_level_too_deep(self, tmp_path, touch):
        touch("a/smile.ply", "a/frown.ply")
        with pytest.raises(DataError, match=r"2 meshes outside a subject's folder.*Give the folder above it"):
            FolderLayout(raw=(tmp_path / "raw" / "a",)).find()

    def test_other_files(self, touch):
        with pytest.raises(DataError, match=r"holds no scan \(1 other files \(.stl\)\).* extension .obj or .ply"):
            touch("a/smile.stl")

    def test_bad_options(self, tmp_path):
        with pytest.raises(UsageError, match="got no folder"):
            FolderLayout(raw=())
        with pytest.raises(UsageError, match="0 subjects were asked for"):
            FolderLayout(raw=(tmp_path,), subjects=0)


class TestRead:
    def test_units_become_millimeters(self, tree):
        listing = FolderLayout(raw=(tree,)).find()
        for unit, factor in (("mm", 1.0), ("cm", 10.0), ("m", 1000.0)):
            mesh = FolderLayout(raw=(tree,), unit=unit).read(listing.records[3:4], seed=0)[0]
            assert np.array_equal(mesh.vertices, Mesh.read(listing.records[3].source).vertices * factor)

    def test_what_cannot_be_read_is_rejected_in_one_line(self, tree):
        path = tree / "person 0" / "smile.ply"
        path.write_bytes(path.read_bytes()[:300])
        layout = FolderLayout(raw=(tree,))
        found = layout.read(layout.find().records[:4], seed=0)
        assert [type(mesh) for mesh in found] == [Mesh, Mesh, Mesh, Rejection]
        assert found[3].source == str(path)
        assert "\n" not in found[3].reason
        assert str(path) not in found[3].reason

    def test_a_file_that_is_gone_is_rejected(self, tree):
        layout = FolderLayout(raw=(tree,))
        records = layout.find().records
        shutil.rmtree(tree / "person 2")
        assert sum(isinstance(mesh, Rejection) for mesh in layout.read(records, seed=0)) == 4


@pytest.mark.parametrize("name", LAYOUTS)
def test_every_layout_keeps_the_contract(name, tmp_path):
    layout = LAYOUTS[name](raw=(tmp_path,))
    assert layout.name == name
    assert layout.align in ("none", "rigid", "similarity")
    assert 0 <= layout.drop < 1
    assert layout.unit in get_args(Unit)
    assert (layout.sign is None) == (name == "folder")
    assert all(split.about and callable(split.rule) for split in layout.splits.values())
    assert pickle.loads(pickle.dumps(layout)) == layout
    assert type(layout).__doc__.count("\n") == 0
