"""A clone of ICT-FaceKit: which shapes ARKit knows, and which of its vertices a face has."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

from meshdisent.data import ict_facekit
from meshdisent.data.ict_facekit import arkit_shapes, find_rows, read_displacement, read_generic
from meshdisent.errors import DataError, TopologyError
from meshdisent.mesh.mesh import Mesh


@pytest.fixture(scope="module")
def deltas(shared):
    spec = importlib.util.spec_from_file_location("unpack", shared / "data" / "ict-facekit" / "unpack.py")
    unpack = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(unpack)
    return unpack, unpack.shapes()[1]


@pytest.fixture
def clone(deltas, tmp_path, monkeypatch) -> Path:
    """The generic face and one shape as files, the others from memory: the text of all would take long."""
    unpack, shapes = deltas
    monkeypatch.setattr(unpack, "shapes", lambda: (10 * [0], shapes))
    folder = tmp_path / "FaceXModel"
    folder.mkdir()
    (folder / "generic_neutral_mesh.obj").write_text(unpack.template_text())
    for name in shapes:
        (folder / f"{name}.obj").touch()
    monkeypatch.setattr(ict_facekit, "read_displacement", lambda path, generic: shapes[path.stem] * 10.0)
    return tmp_path


def person(clone, deltas, rows, seed):
    """A face at rest, mm, with standard normal weights and 0.05 mm of noise."""
    random = np.random.default_rng(seed)
    face = read_generic(clone).vertices[rows]
    modes = [shape for name, shape in deltas[1].items() if name.startswith("identity")]
    for weight, mode in zip(random.standard_normal(len(modes)), modes, strict=True):
        face = face + 10 * weight * mode[rows]
    return face + random.normal(0, 0.05, face.shape)


def test_arkit_has_53_of_the_shapes(clone):
    names = arkit_shapes(clone)
    assert len(names) == 53
    assert {"jawOpen", "browInnerUp_L", "mouthSmile_R"} <= set(names)
    assert not {"identity000", "generic_neutral_mesh", "PupilDilate_L", "cheekRaiser_R"} & set(names)


def test_a_shape_is_a_displacement_in_mm(clone, tmp_path):
    generic = read_generic(clone)
    assert np.ptp(generic.vertices[:9409, 1]) == pytest.approx(288.5, abs=0.1)
    Mesh(generic.vertices / 10 + [0.0, 0.2, 0.0], generic.faces).write(tmp_path / "up.obj")
    assert np.allclose(read_displacement(tmp_path / "up.obj", generic.vertices), [0, 2, 0], atol=1e-4)


@pytest.mark.parametrize("seed", [0, 1])
def test_rows_of_a_person_are_found_in_their_order(clone, deltas, shared, seed):
    rows = np.load(shared / "protocol" / "ict_topology.npz")["kept"].astype(np.int64)
    rows = np.random.default_rng(seed).permutation(rows)[:700]
    mean = np.mean([person(clone, deltas, rows, seed + 100 * k) for k in range(30)], axis=0)
    found = find_rows(mean, clone)
    assert np.array_equal(found, rows)


def test_what_is_not_on_the_topology_is_refused(clone):
    generic = read_generic(clone).vertices
    between = generic[:400] + np.array([0.0, 0, 12.0]) * (np.arange(400)[:, None] == 17)
    with pytest.raises(TopologyError, match=r"vertex 17 is \d+\.\d mm from the nearest vertex .* wanted at most 1 mm"):
        find_rows(between, clone)
    twice = generic[[5, 900, 5]]
    with pytest.raises(TopologyError, match="its vertices 0 and 2 are both nearest to vertex 5 of the head"):
        find_rows(twice, clone)


def test_a_folder_that_is_no_clone_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"has no FaceXModel/generic_neutral_mesh.obj; wanted a clone of ICT-FaceKit"):
        arkit_shapes(tmp_path)
