"""A preparation that was killed goes on where it was, and gives the same file."""

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from meshdisent.data.layouts import FolderLayout
from meshdisent.data.layouts.base import Rejection
from meshdisent.data.preparation import prepare
from meshdisent.data.reading_journal import ReadBatch, ReadingJournal, journal_key, journal_path
from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.mesh import Mesh

SLOW = """
import os, signal, sys
from meshdisent.cli.main import main
from meshdisent.data import preparation
append, left = preparation.ReadingJournal.append, [int(sys.argv[1])]
def counted(journal, batch):
    append(journal, batch)
    left[0] -= 1
    if not left[0]:
        os.kill(os.getpid(), getattr(signal, sys.argv[2]))
preparation.ReadingJournal.append = counted
preparation._BATCH = preparation._LARGEST_BATCH = 2
sys.exit(main(sys.argv[3:]))
"""


@pytest.fixture
def scans(shapes, tmp_path):
    """Six subjects with three scans each, one of which is not finite."""
    vertices, faces = shapes.sphere(1)
    random = np.random.default_rng(0)
    for subject in range(6):
        (tmp_path / "raw" / f"s{subject}").mkdir(parents=True)
        for name in ("neutral", "smile", "open"):
            moved = 50 * vertices + random.normal(size=vertices.shape)
            Mesh(moved, faces).write(tmp_path / "raw" / f"s{subject}" / f"{name}.ply")
    bad = tmp_path / "raw" / "s2" / "smile.obj"
    bad.write_text("v nan 0 0\nf 1 1 1\n", encoding="utf-8")
    (tmp_path / "raw" / "s2" / "smile.ply").unlink()
    return tmp_path / "raw"


def content(path):
    """Everything in a file, by name."""
    found = {}
    with h5py.File(path) as file:
        found |= dict(file.attrs)
        file.visititems(lambda name, item: found.update({name: item[()].tobytes()}) if hasattr(item, "shape") else None)
    return found


@pytest.mark.parametrize("how", ["SIGKILL", "SIGTERM"])
def test_a_preparation_that_ends_half_way_goes_on_and_gives_the_same_file(scans, tmp_path, how):
    options = ["--align", "rigid", "--drop", "0.2", "--workers", "1"]
    command = [sys.executable, "-c", SLOW, "4", how, "prepare", "folder", str(scans)]
    out = tmp_path / "out" / "faces.h5"
    died = subprocess.run([*command, *options, "--out", str(out)], capture_output=True, text=True, check=False)
    assert died.returncode == {"SIGKILL": -9, "SIGTERM": 143}[how], died.stderr
    assert not out.exists()
    assert journal_path(out).is_dir()
    command[3] = "1000"
    went_on = subprocess.run([*command, *options, "--out", str(out)], capture_output=True, text=True, check=True)
    assert "has 4 of 9 batches already; going on" in went_on.stderr
    straight = tmp_path / "straight.h5"
    prepare(FolderLayout(raw=(scans,)), straight, align="rigid", drop=0.2)
    assert content(out) == content(straight)
    for name in ("faces.h5", "straight.h5"):
        listed = (out if name == "faces.h5" else straight).with_suffix(".rejected.csv").read_text()
        assert listed.count("smile.obj") == 1
    assert sorted(entry.name for entry in out.parent.iterdir()) == ["faces.h5", "faces.rejected.csv"]


def batch(number, count=3):
    random = np.random.default_rng(number)
    arrays = random.normal(size=(2, count, 5, 3)).astype(np.float32)
    return ReadBatch(arrays[0], arrays[1][:, :2], list(range(count)), [Rejection("a.obj", f"no {number}")])


def journal(folder, key="key"):
    return ReadingJournal(folder / "faces.h5", key, vertex_count=5, anchor_count=2)


def left(folder, count):
    """A journal of some batches, as a killed process leaves it."""
    add(journal(folder), range(count), KeyboardInterrupt())


def add(to, numbers, error, expected=0):
    """Add batches, then end with an error."""
    with pytest.raises(type(error)), to as opened:  # noqa: PT012 - the journal's way out is what is tested
        assert opened.done == expected
        for number in numbers:
            opened.append(batch(number))
        raise error


def test_batches_come_back_as_they_were(tmp_path):
    left(tmp_path, 3)
    with journal(tmp_path) as again:
        assert again.done == 3
        for number, found in enumerate(again.read()):
            wanted = batch(number)
            np.testing.assert_array_equal(found.vertices, wanted.vertices)
            np.testing.assert_array_equal(found.anchors, wanted.anchors)
            assert (found.kept, found.rejected) == (wanted.kept, wanted.rejected)
    assert not (tmp_path / ".faces.h5.partial").exists(), "the work is done"


@pytest.mark.parametrize("file", ["vertices", "anchors", "batches.jsonl"])
@pytest.mark.parametrize("how", ["cut", "garbled", "longer"])
def test_what_a_crash_left_half_written_is_read_again(tmp_path, file, how):
    left(tmp_path, 3)
    path = tmp_path / ".faces.h5.partial" / file
    whole = path.read_bytes()
    path.write_bytes({"cut": whole[:-5], "garbled": whole[:-5] + b"?" + whole[-4:], "longer": whole + b"12345"}[how])
    expected = 3 if how == "longer" else 2
    if file == "batches.jsonl" and how == "garbled":
        expected = 2
    add(journal(tmp_path), range(expected, 4), KeyboardInterrupt(), expected)
    with journal(tmp_path) as again:
        assert [found.rejected[0].reason for found in again.read()] == ["no 0", "no 1", "no 2", "no 3"]


def test_other_files_or_settings_begin_anew(tmp_path):
    left(tmp_path, 2)
    with journal(tmp_path, "another") as anew:
        assert anew.done == 0
    scan = tmp_path / "a.ply"
    scan.write_bytes(b"1")
    key = journal_key({"align": "none"}, [scan])
    assert key == journal_key({"align": "none"}, [scan])
    assert key != journal_key({"align": "rigid"}, [scan])
    os.utime(scan, ns=(0, 0))
    assert key != journal_key({"align": "none"}, [scan])


def test_nothing_stays_when_the_input_is_at_fault(tmp_path):
    add(journal(tmp_path), [0], DataError("no"))
    assert list(tmp_path.iterdir()) == []


def test_two_preparations_of_one_file_the_second_is_refused(scans, tmp_path):
    layout = FolderLayout(raw=(scans,))
    with (
        ReadingJournal(tmp_path / "faces.h5", "key", 5, 2),
        pytest.raises(UsageError, match="is being written by another preparation"),
    ):
        prepare(layout, tmp_path / "faces.h5")
