"""From a tree of files to a dataset: what is kept, what is rejected and why, and that workers change nothing."""

import csv
import json
import multiprocessing
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from meshdisent.data.dataset import ScanDataset
from meshdisent.data.layouts import FolderLayout
from meshdisent.data.outliers import drop_unlikely
from meshdisent.data.preparation import prepare
from meshdisent.data.workers import map_in_order
from meshdisent.errors import DataError, MeshdisentError, MeshError, UsageError
from meshdisent.mesh.alignment import generalized_procrustes
from meshdisent.mesh.decimation import decimate
from meshdisent.mesh.mesh import Mesh


@pytest.fixture
def run(tree, tmp_path):
    """Prepare the tree (or ``raw``) and open the result."""

    def run(name="faces.h5", unit="mm", neutral="neutral", subjects=None, raw=None, **options):
        layout = FolderLayout(raw=(raw or tree,), unit=unit, neutral=neutral, subjects=subjects)
        result = prepare(layout, tmp_path / name, **options)
        return result, ScanDataset.open(tmp_path / name)

    return run


def rejected(path: Path) -> dict[str, str]:
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    assert rows[0] == ["path", "reason"]
    return dict(rows[1:])


REASONS = {
    "truncated.ply": "cut off",
    "cut_header.ply": "",
    "empty.obj": "no vertices",
    "noise.ply": "",
    "text.obj": "",
    "nan.obj": "not finite",
    "infinite.obj": "not finite",
    "fewer.ply": "has 41 vertices; .* has 42",
    "other.ply": "other faces",
    "hole.ply": "other faces: 59 .* wanted 60",
    "cloud.ply": "has 42 vertices and no faces; wanted the faces of the template",
    "point.ply": "is degenerate: all its vertices lie in one point",
    "line.ply": "is degenerate: its faces have no area",
    "meters.ply": "is 0.00099. times the size of the template; wanted the same unit",
    "empty.ply": "duplicate name",
    "twice.ply": "duplicate name: bad, very/twice was taken from",
}


class TestGoodScans:
    def test_come_through_to_the_bit(self, run, tree, people):
        result, scans = run()
        assert (result.scans, result.subjects, result.neutrals, result.rejected) == (20, 5, 5, ())
        assert result.splits == {"train": 12, "val": 4, "test": 4, "dropped": 0}
        for vertices, subject, expression in zip(*people, strict=True):
            row = scans.scan(f"{subject}/{expression}")
            assert np.array_equal(scans.vertices(np.array([row]))[0], vertices.astype(np.float32))
        at_rest = Mesh.read(tree / "person 0" / "neutral.ply")
        assert np.array_equal(scans.topology.template, at_rest.vertices), "not blink, which comes first"
        assert np.array_equal(scans.topology.faces, at_rest.faces)
        assert scans.transforms is None
        assert scans.full_resolution() is None
        assert not (tree.parent / "faces.rejected.csv").exists()

    def test_settings_travel_along(self, run, tree):
        _, scans = run(split_by="frames", seed=4)
        settings = json.loads(scans.attributes["settings"])
        assert settings["raw"] == [str(tree)]
        assert (settings["split_by"], settings["seed"], settings["align"]) == ("frames", 4, "none")
        assert scans.attributes["layout"] == "folder"

    def test_units_become_millimeters(self, run):
        assert np.allclose(run(unit="m", name="m.h5")[1].vertices(), run()[1].vertices() * 1000.0)

    def test_sequences(self, run, sheet, people, tmp_path):
        for k, vertices in enumerate(people[0][:12]):
            sheet.with_vertices(vertices).write(tmp_path / "raw" / "anna" / "talk" / f"talk.{k:06d}.obj")
        result, scans = run(raw=tmp_path / "raw", split_by="frames")
        assert scans.frame.tolist() == list(range(12))
        assert scans.scan("anna/talk/000007") == 7
        assert result.splits == {"train": 2, "val": 0, "test": 10, "dropped": 0}

    def test_a_split_file(self, run, tree):
        split = {"train": ["person 0", "person 3"], "val": ["person 1"], "test": ["person 2", "person 4"]}
        (tree / "split.json").write_text(json.dumps(split))
        result, scans = run(split_by=tree / "split.json")
        assert {name: sorted({scans.subjects[k] for k in scans.subject[scans.rows(name)]}) for name in split} == split
        assert result.passed_over == {"other files (.json)": 1}

    def test_the_first_subjects_with_a_split_file_for_all(self, run, tree):
        (tree / "split.json").write_text(json.dumps({"train": [f"person {k}" for k in range(5)]}))
        assert run(split_by=tree / "split.json", subjects=2)[1].subjects == ("person 0", "person 1")

    def test_the_neutral_by_name(self, run):
        result, scans = run(neutral="smile")
        assert result.neutrals == 5
        assert scans.names(scans.neutral_row) == [f"person {k}/smile" for k in range(5)]
        assert run(name="none.h5", neutral="rest")[0].neutrals == 0


class TestBadScans:
    @pytest.fixture
    def spoiled(self, tree, sheet):
        """One bad file of each kind among the good ones."""
        folder = tree / "bad, very"
        vertices = sheet.vertices
        good = (tree / "person 0" / "smile.ply").read_bytes()
        folder.mkdir()
        (folder / "truncated.ply").write_bytes(good[:-100])
        (folder / "cut_header.ply").write_bytes(good[:60])
        (folder / "empty.ply").touch()
        (folder / "empty.obj").write_text("# nothing\n")
        (folder / "noise.ply").write_bytes(bytes(range(256)) * 20)
        (folder / "text.obj").write_text("v 1 2\nf 1 2 3\n")
        (folder / "nan.obj").write_text("".join(f"v {x} {y} nan\n" for x, y, _ in vertices) + "f 1 2 3\n")
        (folder / "infinite.obj").write_text("".join(f"v {x} {y} inf\n" for x, y, _ in vertices) + "f 1 2 3\n")
        Mesh(vertices[:-1], sheet.faces[(sheet.faces < 41).all(axis=1)]).write(folder / "fewer.ply")
        Mesh(vertices[np.random.default_rng(0).permutation(len(vertices))], sheet.faces[:, [0, 2, 1]]).write(
            folder / "other.ply"
        )
        Mesh(vertices, sheet.faces[:-1]).write(folder / "hole.ply")
        Mesh(vertices).write(folder / "cloud.ply")
        Mesh(vertices * 0 + 3, sheet.faces).write(folder / "point.ply")
        Mesh(vertices * [1.0, 0, 0], sheet.faces).write(folder / "line.ply")
        Mesh(vertices / 1000, sheet.faces).write(folder / "meters.ply")
        shutil.copy(tree / "person 0" / "smile.ply", folder / "twice.ply")
        sheet.write(folder / "twice.obj")
        return folder

    def test_are_listed_with_their_reasons(self, run, spoiled, tmp_path):
        result, scans = run()
        found = {Path(path).name: reason for path, reason in rejected(tmp_path / "faces.rejected.csv").items()}
        assert result.rejected_path == str(tmp_path / "faces.rejected.csv")
        assert set(found) == set(REASONS)
        for name, reason in REASONS.items():
            assert found[name]
            assert "\n" not in found[name]
            assert re.search(reason, found[name]), found[name]
        assert len(scans) == 21
        assert scans.scan("bad, very/twice") >= 0
        assert result.scans == 21
        assert len(result.rejected) == len(found)

    def test_one_odd_file_in_front_does_not_make_all_others_odd(self, run, tree, sheet):
        Mesh(sheet.vertices[:3], np.array([[0, 1, 2]])).write(tree / "a first" / "odd.ply")
        result, scans = run()
        assert len(result.rejected) == 1
        assert len(scans) == 20

    def test_one_file_in_another_unit_in_front_neither(self, run, tree, sheet):
        Mesh(sheet.vertices / 1000, sheet.faces).write(tree / "a first" / "odd.ply")
        result, scans = run()
        assert [r.reason[r.reason.index(" times") :][:18] for r in result.rejected] == [" times the size of"]
        assert result.rejected[0].reason.startswith("is 0.00")
        assert np.ptp(scans.topology.template[:, 0]) > 80

    def test_nothing_usable(self, tmp_path):
        (tmp_path / "raw" / "a").mkdir(parents=True)
        (tmp_path / "raw" / "a" / "x.ply").write_text("no mesh")
        with pytest.raises(DataError, match=r"None of 1 scans can be read; the first, .*x\.ply, is out because"):
            prepare(FolderLayout(raw=(tmp_path / "raw",)), tmp_path / "faces.h5")
        assert not (tmp_path / "faces.h5").exists()

    def test_nothing_of_the_given_topology(self, run, tree, sheet, tmp_path):
        Mesh(sheet.vertices[:-1], sheet.faces[(sheet.faces < 41).all(axis=1)]).write(tmp_path / "template.ply")
        with pytest.raises(
            DataError, match=r"None of 20 scans is usable; .*has 42 vertices.*faces\.rejected\.csv lists"
        ):
            run(topology=tmp_path / "template.ply")
        assert len(rejected(tmp_path / "faces.rejected.csv")) == 20
        assert not (tmp_path / "faces.h5").exists()

    def test_an_old_list_goes_away(self, run, spoiled, tmp_path):
        run()
        shutil.rmtree(spoiled)
        run(overwrite=True)
        assert not (tmp_path / "faces.rejected.csv").exists()


class TestSteps:
    def test_decimation_is_one_map(self, run, people):
        result, scans = run(vertices=20)
        assert (result.vertices, result.full_vertices) == (20, 42)
        full = scans.full_resolution()
        small = decimate(full.template, full.faces, 20)
        assert np.array_equal(full.map.toarray(), small.map.toarray())
        assert np.array_equal(scans.topology.faces, small.faces)
        assert np.array_equal(scans.topology.template, small.map @ full.template)
        row = scans.scan("person 3/smile")
        original = people[0][people[1].index("person 3") + 1].astype(np.float32)
        assert np.allclose(scans.vertices(np.array([row]))[0], small.map @ original, atol=1e-5)

    def test_more_scans_are_brought_to_the_same_topology(self, run, tree, tmp_path):
        _, first = run(vertices=20, subjects=3)
        _, second = run(name="second.h5", topology=tmp_path / "faces.h5")
        assert second.topology.template_hash == first.topology.template_hash
        assert np.array_equal(second.vertices(np.arange(12)), first.vertices())
        assert np.array_equal(second.full_resolution().map.toarray(), first.full_resolution().map.toarray())
        with pytest.raises(UsageError, match="--vertices 21 was given with a topology of 20 vertices"):
            run(name="third.h5", topology=tmp_path / "faces.h5", vertices=21)

    def test_a_template_file(self, run, sheet, tmp_path):
        sheet.write(tmp_path / "template.obj")
        assert np.array_equal(run(topology=tmp_path / "template.obj")[1].topology.template, sheet.vertices)
        with pytest.raises(MeshError, match="absent"):
            run(name="x.h5", topology=tmp_path / "absent.obj")

    @pytest.mark.parametrize("count", [3, 43])
    def test_vertex_counts_that_cannot_be(self, run, count):
        with pytest.raises(
            UsageError, match=f"--vertices {count} was asked for and the template has 42; wanted 4 to 42"
        ):
            run(vertices=count)

    @pytest.mark.parametrize("kind", ["rigid", "similarity"])
    @pytest.mark.parametrize("stable", [None, "all", "some"])
    def test_alignment(self, run, sheet, people, tmp_path, kind, stable):
        """Scans that lie askew come out as the same scans would that did not, and can be put back."""
        rng = np.random.default_rng(0)
        for k, (vertices, subject, expression) in enumerate(zip(*people, strict=True)):
            turned = np.linalg.qr(rng.normal(size=(3, 3)))[0]
            turned *= np.sign(np.linalg.det(turned)) * (1 + (kind == "similarity") * 0.01 * k)
            moved = vertices @ turned + rng.normal(size=3) * 30
            sheet.with_vertices(moved).write(tmp_path / "askew" / subject / f"{expression}.obj")
        sheet.write(tmp_path / "template.ply")
        options = {"align": kind, "topology": tmp_path / "template.ply", "vertices": 25}
        if stable:
            np.savetxt(tmp_path / "stable.txt", np.arange(42 if stable == "all" else 12), fmt="%d")
            options["stable"] = tmp_path / "stable.txt"
        _, askew = run(raw=tmp_path / "askew", **options)
        _, straight = run(name="straight.h5", **options)
        assert np.allclose(askew.vertices(), straight.vertices(), atol=1e-2)
        map_ = askew.full_resolution().map
        row = askew.scan("person 2/smile")
        file = Mesh.read(tmp_path / "askew" / "person 2" / "smile.obj")
        assert np.allclose(askew.original_vertices(np.array([row]))[0], map_ @ file.vertices, atol=1e-4)
        if kind == "rigid":
            assert np.array_equal(askew.transforms.scale, np.ones(20))
        # The scans lie where the template lies.
        assert np.abs(askew.vertices().mean(axis=(0, 1)) - askew.topology.template.mean(axis=0)).max() < 3.0

    def test_alignment_is_generalized_procrustes(self, run):
        _, before = run(split_by="frames")
        _, after = run(name="aligned.h5", align="rigid", split_by="frames")
        mean, motions = generalized_procrustes(before.vertices(before.rows("train")).astype(np.float64))
        aligned = np.stack([m.apply(x) for m, x in zip(motions, before.vertices(before.rows("train")), strict=True)])
        spread = ((aligned - mean) ** 2).sum()
        found = after.vertices(after.rows("train")).astype(np.float64)
        assert ((found - found.mean(axis=0)) ** 2).sum() == pytest.approx(spread, rel=1e-4)

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("0\n1\n", "holds 2 different vertices; wanted a list of at least 3"),
            ("0\n1\n2.5\n", "wanted a list of at least 3 whole numbers"),
            ("0\n1\n42\n", "names the vertex 42; the scans have the vertices 0 to 41"),
            ("nose\n", "cannot be read as vertex indices"),
        ],
    )
    def test_stable_vertices_that_cannot_be(self, run, tmp_path, content, message):
        (tmp_path / "stable.txt").write_text(content)
        with pytest.raises(DataError, match=message):
            run(align="rigid", stable=tmp_path / "stable.txt")

    def test_a_stable_region(self, run, dataset, tmp_path):
        dataset.save(tmp_path / "template.h5")
        _, scans = run(align="rigid", stable="brow", topology=tmp_path / "template.h5")
        np.save(tmp_path / "brow.npy", np.arange(30, 42))
        _, same = run(name="same.h5", align="rigid", stable=tmp_path / "brow.npy", topology=tmp_path / "template.h5")
        assert np.array_equal(scans.vertices(), same.vertices())
        with pytest.raises(DataError, match="no region or file chin; the template has brow, nose"):
            run(name="x.h5", align="rigid", stable="chin", topology=tmp_path / "template.h5")

    def test_unlikely_training_scans_are_set_aside(self, run):
        _, scans = run(split_by="frames", name="all.h5")
        result, fewer = run(split_by="frames", drop=0.2)
        training = scans.rows("train")
        dropped = training[drop_unlikely(scans.vertices(training), 0.2)]
        assert len(dropped) == 2
        assert np.array_equal(fewer.rows("dropped"), dropped)
        assert np.array_equal(fewer.rows("test"), scans.rows("test"))
        assert result.splits["dropped"] == 2

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"align": "rough"}, "--align is 'rough'"),
            ({"drop": 1.0}, "--drop is 1.0; wanted a share from 0 to below 1"),
            ({"drop": float("nan")}, "--drop is nan"),
            ({"stable": "nose"}, "--stable nose was given without an alignment"),
            ({"workers": 0}, "--workers is 0; wanted at least 1"),
            ({"workers": 10**6}, r"--workers is 1000000, and \d+ cores are at hand"),
        ],
    )
    def test_arguments_that_cannot_be(self, tree, tmp_path, wrong, message):
        call = getattr(prepare, "__wrapped__", prepare)  # the border must refuse without the type checks of tests
        with pytest.raises(UsageError, match=message):
            call(FolderLayout(raw=(tree,)), tmp_path / "faces.h5", **wrong)

    def test_an_output_that_exists(self, run, tree, tmp_path):
        (tmp_path / "faces.h5").write_text("precious")
        with pytest.raises(UsageError, match="exists already"):
            prepare(FolderLayout(raw=(tree,)), tmp_path / "faces.h5")
        assert (tmp_path / "faces.h5").read_text() == "precious"


class TestWorkers:
    def test_their_number_changes_nothing(self, run, tree, tmp_path):
        (tree / "person 1" / "smile.ply").write_bytes(b"ply\n")
        for k in range(6, 40):
            shutil.copytree(tree / "person 0", tree / f"person {k}")
        run(workers=1, name="one.h5", vertices=20, align="rigid")
        run(workers=min(2, os.cpu_count() or 1), name="two.h5", vertices=20, align="rigid")
        assert (tmp_path / "one.h5").read_bytes() == (tmp_path / "two.h5").read_bytes()
        assert (tmp_path / "one.rejected.csv").read_bytes() == (tmp_path / "two.rejected.csv").read_bytes()

    def test_results_come_in_order_and_errors_come_through(self):
        assert list(map_in_order(abs, range(-20, 0), 1)) == list(range(20, 0, -1))
        assert list(map_in_order(abs, range(-20, 0), 2)) == list(range(20, 0, -1))
        with pytest.raises(TypeError):
            list(map_in_order(abs, ["x"], 2))

    def test_this_process_works_too_and_does_not_wait_for_the_others_to_start(self):
        who = list(map_in_order(_process_after_a_moment, range(2000), 2))
        assert who[0] == os.getpid()
        assert len(set(who)) == 2

    def test_a_killed_worker_is_said_plainly(self):
        with pytest.raises(MeshdisentError, match=r"One of 2 worker processes was killed; .* fewer --workers"):
            list(map_in_order(_killed_where_it_is_not_alone, range(2000), 2))


def _process_after_a_moment(_):
    time.sleep(0.002)
    return os.getpid()


def _killed_where_it_is_not_alone(_):
    if multiprocessing.parent_process() is not None:
        os._exit(9)
    time.sleep(0.01)


@pytest.mark.skipif(sys.platform == "win32", reason="sends signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_stopped_preparation_leaves_nothing(tree, tmp_path, number):
    slow = (
        "import sys, time; from meshdisent.cli.main import main\n"
        "from meshdisent.data.layouts.folder import FolderLayout as F\n"
        "read = F.read\n"
        "def slowly(*given): print('reading', flush=True); time.sleep(30); return read(*given)\n"
        "F.read = slowly\n"
        "sys.exit(main(sys.argv[1:]))"
    )
    command = [sys.executable, "-c", slow, "prepare", "folder", str(tree), "--out", str(tmp_path / "out" / "faces.h5")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    time.sleep(0.1)
    process.send_signal(number)
    _, error = process.communicate(timeout=30)
    assert process.returncode == {signal.SIGINT: 130, signal.SIGTERM: 143, signal.SIGKILL: -9}[number]
    assert b"Traceback" not in error
    assert not (tmp_path / "out" / "faces.h5").exists()
    if number != signal.SIGKILL:
        assert not (tmp_path / "out").exists() or list((tmp_path / "out").iterdir()) == []
