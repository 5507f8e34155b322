"""The scripts that people copy run as they stand, on a tiny model."""

import runpy
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces

from meshdisent.mesh.mesh import Mesh

SCRIPTS = Path(__file__).parents[2] / "docs" / "scripts"


@pytest.fixture(scope="module")
def job(tmp_path_factory):
    folder = tmp_path_factory.mktemp("my scans")
    torch.set_num_threads(1)
    small_faces.linear(small_faces.scans()).save(folder / "run" / "model.safetensors")
    scans = small_faces.scans()
    scans.save(folder / "faces.h5")
    heights = small_faces.PEOPLE[:, 40, 1]
    rows = [f"{name},{value:.3f}" for name, value in zip(small_faces.names(), heights, strict=True)]
    (folder / "table.csv").write_text("\n".join(["subject,value", *rows]) + "\n")
    _cropped(folder)
    for k in range(3):
        frame = small_faces.PEOPLE[13] + k / 2 * small_faces.displacement(13, 1)
        Mesh(frame, small_faces.FACES).write(folder / "frames" / f"{k}.ply")
    for person, expression, name in ((12, 0, "anna"), (13, 1, "smile"), (14, 4, "jaw")):
        vertices = small_faces.PEOPLE[person] + small_faces.displacement(person, expression)
        Mesh(vertices, small_faces.FACES).write(folder / f"{name}.ply")
    return folder


def _cropped(folder):
    """Two heads, the front of which was prepared, and a result for that front."""
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.data.faces_writer import DatasetWriter, FullResolution
    from meshdisent.mesh.cropping import crop
    from meshdisent.mesh.topology import Topology

    found = crop(Topology(small_faces.TEMPLATE, small_faces.FACES), np.flatnonzero(small_faces.TEMPLATE[:, 2] > 0))
    select = sparse.csr_array(np.eye(len(small_faces.TEMPLATE))[found.rows])
    front = small_faces.PEOPLE[:2][:, found.rows]
    labels = ScanDataset.from_arrays(front, found.part.faces, ["anna", "ben"]).labels
    with DatasetWriter(folder / "front.h5", found.part) as writer:
        writer.append(front)
        writer.finish(labels, full=FullResolution(small_faces.TEMPLATE, small_faces.FACES, select))
    Mesh(front[0], found.part.faces).write(folder / "front.ply")


CASES = {
    "transfer": (["run", "anna.ply", "out", "smile.ply", "jaw.ply"], ["jaw.ply", "smile.ply", "transfer.png"]),
    "interpolate": (["run", "anna.ply", "smile.ply", "out"], [f"{k:04d}.ply" for k in range(9)] + ["walk.gif"]),
    "neutralize": (["run", "out", "smile.ply", "jaw.ply"], ["changes.png", "jaw-neutral.ply", "smile-neutral.ply"]),
    "blend": (
        ["run", "out", "anna.ply", "smile.ply"],
        ["blend-all.ply", "blend-anna.ply", "blend-smile.ply", "blend.png"],
    ),
    "sequence": (["run", "anna.ply", "out", "frames"], ["0000.ply", "0001.ply", "0002.ply", "sequence.gif"]),
    "attribute": (
        ["run", "faces.h5", "table.csv", "out", "anna.ply"],
        [f"anna-{k}.ply" for k in range(5)] + ["attribute.png"],
    ),
    "whole_head": (["front.h5", "out", "front.ply"], ["front.ply"]),
    "sample": (["run", "out"], ["people.png"] + [f"person-{p}-{k}.ply" for p in range(3) for k in range(5)]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_script_writes_what_it_promises(job, name, tmp_path, monkeypatch):
    arguments, files = CASES[name]
    paths = [str(tmp_path / argument) if argument == "out" else str(job / argument) for argument in arguments]
    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    monkeypatch.setattr(sys, "argv", [f"{name}.py", *paths])
    runpy.run_path(str(SCRIPTS / f"{name}.py"), run_name="__main__")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == files
    meshes = [Mesh.read(path) for path in (tmp_path / "out").glob("*.ply")]
    assert all((mesh.faces == small_faces.FACES).all() and np.isfinite(mesh.vertices).all() for mesh in meshes)


def test_a_borrowed_expression_keeps_the_detail_of_the_person(job, tmp_path, monkeypatch):
    from meshdisent import load
    from meshdisent.editing import transfer

    monkeypatch.setenv("MESHDISENT_RENDERER", "software")
    paths = [str(path) for path in (job / "run", job / "anna.ply", tmp_path / "out", job / "smile.ply")]
    monkeypatch.setattr(sys, "argv", ["transfer.py", *paths])
    runpy.run_path(str(SCRIPTS / "transfer.py"), run_name="__main__")
    expected = transfer(load(job / "run"), job / "anna.ply", job / "smile.ply", keep_detail=True)[0]
    assert Mesh.read(tmp_path / "out" / "smile.ply").vertices == pytest.approx(expected.vertices, abs=1e-4)
