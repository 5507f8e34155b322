"""Training on two sets together: rows are made once, go on where they stopped, and are measured on each set alone."""

import dataclasses
import importlib
import json

import numpy as np
import pytest
import small_faces

from meshdisent.data.combination import combine
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.subset import save_subset
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.mesh.resampling import resampling_map
from meshdisent.mesh.template_fit import read_landmarks
from meshdisent.mesh.topology import Topology
from meshdisent.training.recipe import read_recipe


@pytest.fixture
def combined(program):
    return program("combined")


@pytest.fixture
def job(combined, zoo, tmp_path):
    """The four rows in a folder that has the three datasets already; gives the exit code."""
    out = tmp_path / "out"
    scans = small_faces.scans()
    for name, is_own in (("ict", scans.subject % 3 > 0), ("heads", scans.subject % 3 == 0)):
        save_subset(scans, np.flatnonzero(is_own), out / f"{name}.h5")
    combine({name: ScanDataset.open(out / f"{name}.h5") for name in combined.SETS}, out / "all.h5")

    def run(*arguments: str, recipe: str = "tiny") -> int:
        places = {"records": tmp_path / "records", "table": tmp_path / "table.md"}
        return combined.combined([str(tmp_path / "RAW"), str(out), "--recipe", recipe, *arguments], **places)

    run.out, run.records, run.table = out, tmp_path / "records", tmp_path / "table.md"
    return run


def record(job, slug: str) -> dict:
    return json.loads((job.records / f"{slug}.json").read_text())


def test_every_row_is_made_and_measured_on_each_set(job, combined, capsys):
    assert job() == 0
    made = {row.name: record(job, row.slug) for row in combined.ROWS}
    assert [entry["recipe"]["training"]["sampler"]["balance"] for entry in made.values()] == [0.0, 0.0, 0.0, 1.0]
    assert made["both, balanced"]["recipe"] == read_recipe("tiny", ["training.sampler.balance=1.0"]).plain()
    hashes = [entry["data_hash"] for entry in made.values()]
    names = ("ict", "heads", "all", "all")
    assert hashes == [ScanDataset.open(job.out / f"{name}.h5").data_hash for name in names]
    text = job.table.read_text()
    assert text in capsys.readouterr().out
    alone = made["ict alone"]["sets"]
    assert list(alone) == ["ict", "heads"]
    first, second = text.split("**Unseen people of synthetic heads**")
    assert f"| ict alone | {alone['ict']['E_avd']['mean']:.3f} |" in first
    assert f"| ict alone | {alone['heads']['E_avd']['mean']:.3f} |" in second
    assert str(job.out) not in json.dumps(made)


def test_what_is_done_is_not_made_again_and_what_changed_is(job, zoo, capsys):
    assert job("--only", "both", "heads alone") == 0
    before = record(job, "both")
    capsys.readouterr()
    assert job("--list") == 0
    assert [line.split("  ")[-1].split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "to",
        "done",
        "done",
        "to",
    ]
    assert job("--only", "both") == 0
    assert record(job, "both") == before
    assert "Not measured yet: ict alone; both, balanced." in job.table.read_text()
    recipe = zoo / "tiny" / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("steps: 6", "steps: 4"))
    capsys.readouterr()
    assert job("--list", "--only", "both") == 0
    assert "outdated (training.steps), to be made" in capsys.readouterr().out
    assert job("--table") == 0
    assert "| both (outdated: training.steps changed since) |" in job.table.read_text()


def test_an_unknown_row_is_refused(job, capsys):
    assert job("--only", "neither") == 2
    assert "There is no row 'neither'; the rows are ict alone; heads alone" in capsys.readouterr().err


def test_scans_of_another_topology_have_no_landmarks(combined, tmp_path):
    with pytest.raises(combined.UsageError, match="has 162 vertices; wanted ICT-300 with 1,200"):
        combined.write_landmarks(tmp_path / "pairs.csv", small_faces.scans(), 1200)


def test_landmarks_are_mirrored_on_the_head(combined, tmp_path):
    scans = small_faces.scans()
    template = np.random.default_rng(0).normal(size=(1200, 3))
    fake = dataclasses.replace(scans.topology, template=template, faces=np.arange(1200).reshape(-1, 3), regions={})
    combined.write_landmarks(tmp_path / "pairs.csv", ScanDataset(fake, scans.labels, None, path="x"), 1500)
    pairs = read_landmarks(tmp_path / "pairs.csv", fake, fake)
    assert len(pairs.source) == 25
    left, right = pairs.source[:16:2], pairs.source[1:16:2]
    np.testing.assert_allclose(left * [-1, 1, 1], right, atol=1.0)
    np.testing.assert_allclose(pairs.source[16:, 0], 0.0, atol=0.5)
    assert np.argmax(pairs.source[:, 2]) == 19, "the tip of the nose is in front"


def test_ict_and_the_heads_meet_in_the_middle_of_the_face(combined, shared, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(shared / "data" / "ict-facekit"))
    unpack = importlib.import_module("unpack")
    stored = np.load(shared / "protocol" / "ict_topology.npz")
    topology = Topology(10.0 * unpack.shapes()[0][stored["kept"]], stored["faces"].astype(np.int64))
    scans = ScanDataset.from_arrays(topology.template[None], topology.faces, ["generic"])
    combined.write_landmarks(tmp_path / "pairs.csv", scans, 2500)
    head = SyntheticHead(2500).topology
    pairs = read_landmarks(tmp_path / "pairs.csv", head, topology)
    found = resampling_map(head, topology, landmarks=pairs, tolerance_mm=5.0, leave_out=True)
    assert 500 < found.target.vertex_count < 800
    assert found.coverage.mean_mm < 2.0
    tip = np.linalg.norm(found.target.template - pairs.target[19], axis=1).argmin()
    on_head = (found.matrix @ head.template)[tip]
    assert np.linalg.norm(on_head - pairs.source[19]) < 4.0, "the tip of one nose is at the tip of the other"
