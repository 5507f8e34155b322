"""``meshdisent resample``: a map found, kept and replayed; what is printed and what ends it."""

import sys
from pathlib import Path

import numpy as np
import pytest

from meshdisent.cli.main import main
from meshdisent.data.dataset import ScanDataset
from meshdisent.mesh.mesh import Mesh

sys.path.insert(0, str(Path(__file__).parents[1]))
import small_faces


@pytest.fixture(scope="module")
def faces(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("resample") / "faces.h5"
    small_faces.scans().save(path)
    return path


@pytest.fixture(scope="module")
def finer(tmp_path_factory, shapes) -> Path:
    """The ball of the scans with 642 vertices, as a mesh."""
    vertices, triangles = shapes.sphere(3)
    path = tmp_path_factory.mktemp("finer") / "finer.ply"
    Mesh(80 * vertices, triangles).write(path)
    return path


def test_a_map_is_made_kept_and_replayed(faces, finer, tmp_path, capsys):
    first, second, saved = tmp_path / "first.h5", tmp_path / "second.h5", tmp_path / "map.npz"
    assert main(["resample", str(faces), "--topology", str(finer), "--save-map", str(saved), "--out", str(first)]) == 0
    said = capsys.readouterr().out
    assert f"{first}: 80 scans, 642 vertices out of 162" in said
    assert f"  map          {saved}, from {ScanDataset.open(faces).topology.topology_hash} to " in said
    assert "WARNING" not in said
    assert main(["resample", str(faces), "--map", str(saved), "--out", str(second)]) == 0
    one, other = ScanDataset.open(first), ScanDataset.open(second)
    assert one.data_hash == other.data_hash
    assert one.names() == ScanDataset.open(faces).names()
    away = np.linalg.norm(one.vertices()[:, :162] - ScanDataset.open(faces).vertices(), axis=2)
    assert away.max() < 1e-3, "the finer ball begins with the vertices of the coarser"


def test_scans_return_from_another_topology(faces, finer, tmp_path):
    there, back = tmp_path / "there.h5", tmp_path / "back.h5"
    assert main(["resample", str(faces), "--topology", str(finer), "--out", str(there)]) == 0
    assert main(["resample", str(there), "--topology", str(faces), "--out", str(back)]) == 0
    scans, again = ScanDataset.open(faces), ScanDataset.open(back)
    assert again.topology.template_hash == scans.topology.template_hash
    np.testing.assert_allclose(again.vertices(), scans.vertices(), atol=1e-3)
    small_faces.scans(0.2).save(tmp_path / "again.h5")
    assert main(["combine", str(tmp_path / "again.h5"), str(back), "--out", str(tmp_path / "both.h5")]) == 0


def test_the_topology_of_a_model_will_do(faces, finer, tmp_path):
    there = tmp_path / "there.h5"
    small_faces.linear(small_faces.scans()).save(tmp_path / "model.safetensors")
    assert main(["resample", str(faces), "--topology", str(finer), "--out", str(there)]) == 0
    given = ["--topology", str(tmp_path / "model.safetensors"), "--offset"]
    assert main(["resample", str(there), *given, "--out", str(tmp_path / "back.h5")]) == 0
    assert ScanDataset.open(tmp_path / "back.h5").topology.vertex_count == 162


def test_what_is_not_covered_is_left_out_or_told(faces, finer, tmp_path, capsys):
    mesh = Mesh.read(finer)
    is_far = mesh.vertices[:, 1] >= np.sort(mesh.vertices[:, 1])[-4]
    raised = mesh.with_vertices(mesh.vertices + 6.0 * is_far[:, None] * [0.0, 1.0, 0.0])
    raised.write(tmp_path / "raised.ply")
    given = ["resample", str(faces), "--topology", str(tmp_path / "raised.ply")]
    assert main([*given, "--out", str(tmp_path / "told.h5")]) == 0
    warning = f"WARNING: {is_far.sum()} of 642 vertices are not covered by the scans and stand on their nearest place"
    assert warning in capsys.readouterr().out
    assert main([*given, "--leave-out", "--out", str(tmp_path / "less.h5")]) == 0
    assert f"left out     {is_far.sum()} of 642 vertices that the scans do not cover" in capsys.readouterr().out
    assert ScanDataset.open(tmp_path / "less.h5").topology.vertex_count == 642 - is_far.sum()


def test_two_different_faces_need_landmarks(faces, finer, tmp_path, capsys):
    mesh = Mesh.read(finer)
    longer = mesh.vertices * [1.0, 1.5, 1.0] + 8 * np.sin(mesh.vertices[:, [1, 2, 0]] / 30)
    mesh.with_vertices(longer).write(tmp_path / "longer.ply")
    given = ["resample", str(faces), "--topology", str(tmp_path / "longer.ply"), "--out", str(tmp_path / "out.h5")]
    assert main(given) == 3
    said = capsys.readouterr().err
    assert "The templates are two different faces" in said
    assert said.count("\n") == 1
    (tmp_path / "pairs.csv").write_text("source,target\n" + "".join(f"{k},{k}\n" for k in range(162)))
    assert main([*given, "--landmarks", str(tmp_path / "pairs.csv")]) == 0
    found, scans = ScanDataset.open(tmp_path / "out.h5"), ScanDataset.open(faces)
    shape = found.vertices()[:, :162].astype(float)
    sizes = [np.linalg.norm(part[:, 1:] - part[:, :1], axis=2) for part in (shape, scans.vertices().astype(float))]
    np.testing.assert_allclose(*sizes, atol=1e-2)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        ([], 2, "Give either the topology to bring the scans to (--topology T) or a saved map (--map MAP.NPZ)."),
        (["--topology", "T", "--map", "M"], 2, "Give either the topology"),
        (["--map", "M", "--leave-out"], 2, "say how a map is made; with --map it is there already"),
        (["--map", "M", "--tolerance", "3"], 2, "say how a map is made"),
        (["--map", "none.npz"], 3, "none.npz is absent; wanted a map"),
        (["--topology", "none.ply"], 3, "none.ply"),
        (["--topology", "none.h5"], 3, "none.h5 is absent"),
        (["--topology", "wsdf-of-nobody"], 3, "wsdf-of-nobody"),
        (["--topology", "FINER", "--tolerance", "-1"], 3, "The tolerance is -1 mm; wanted more than 0"),
        (["--topology", "FINER", "--landmarks", "none.csv"], 3, "none.csv cannot be read as a table of landmarks"),
    ],
)
def test_bad_input_gets_one_line(faces, finer, tmp_path, capsys, monkeypatch, arguments, code, message):
    monkeypatch.chdir(tmp_path)
    given = [str(finer) if argument == "FINER" else argument for argument in arguments]
    assert main(["resample", str(faces), *given, "--out", "out.h5"]) == code
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_map_of_another_topology_is_refused(faces, finer, tmp_path, capsys):
    saved, there = tmp_path / "map.npz", tmp_path / "there.h5"
    assert main(["resample", str(faces), "--topology", str(finer), "--save-map", str(saved), "--out", str(there)]) == 0
    assert main(["resample", str(there), "--map", str(saved), "--out", str(tmp_path / "out.h5")]) == 3
    assert "there.h5 has topology" in capsys.readouterr().err
    assert not (tmp_path / "out.h5").exists()


def test_two_faces_that_are_known_need_no_table(tmp_path, capsys, shared):
    import lzma

    from meshdisent.data.ict_facekit import PARTS, read_generic
    from meshdisent.data.known_faces import known_landmarks
    from meshdisent.data.synthetic import synthetic_dataset

    packed = shared / "data" / "ict-facekit" / "generic_neutral_mesh.obj.xz"
    (tmp_path / "generic_neutral_mesh.obj").write_bytes(lzma.decompress(packed.read_bytes()))
    generic, count = read_generic(tmp_path), PARTS["narrow_face"][1]
    target = Mesh(generic.vertices[:count], generic.faces[(generic.faces < count).all(axis=1)])
    target.write(tmp_path / "ict.ply")
    scans = synthetic_dataset(2, vertex_count=1200, expressions=("neutral", "smile"), noise_mm=0.0)
    scans.save(tmp_path / "heads.h5")
    given = ["resample", str(tmp_path / "heads.h5"), "--topology", str(tmp_path / "ict.ply"), "--tolerance", "15"]
    assert main([*given, "--landmarks", "known", "--leave-out", "--out", str(tmp_path / "out.h5")]) == 0
    found = ScanDataset.open(tmp_path / "out.h5")
    marks, own = known_landmarks(found.topology), known_landmarks(scans.topology)
    there = marks.points(found.vertices()[1].astype(float))
    here = own.points(scans.vertices()[1].astype(float))
    # In another frame, so as shapes: distances between points of the face that smiles.
    names = ["tip of the nose", "outer corner of the left eye", "left corner of the mouth", "jaw 9", "right brow 2"]
    sizes = [[np.linalg.norm(points[a] - points[b]) for a in names for b in names] for points in (there, here)]
    np.testing.assert_allclose(*sizes, atol=4.0)
    capsys.readouterr()
    Mesh(3 * target.vertices, target.faces).write(tmp_path / "large.ply")
    given[3] = str(tmp_path / "large.ply")
    assert main([*given, "--landmarks", "known", "--out", str(tmp_path / "x.h5")]) == 3
