"""Meshes of other libraries, taken as scans and given back."""

import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import pyvista
import torch
import trimesh

from meshdisent.errors import MeshError
from meshdisent.mesh.exchange import as_mesh, to_psbody, to_pyvista, to_trimesh
from meshdisent.mesh.mesh import Mesh

# Two vertices at one place, one without a face: what a careless conversion would merge or drop.
VERTICES = np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [0, 0, 0], [5, 5, 5]])
FACES = np.array([[0, 1, 2], [4, 2, 3]])


@pytest.fixture
def mesh() -> Mesh:
    return Mesh(VERTICES, FACES)


@pytest.mark.parametrize(
    "scan",
    [
        (VERTICES, FACES),
        (VERTICES.astype(np.float32), FACES.astype(np.uint32)),
        (VERTICES.tolist(), FACES.tolist()),
        (torch.tensor(VERTICES), torch.tensor(FACES)),
        SimpleNamespace(v=VERTICES, f=FACES.astype(np.uint32)),
        trimesh.Trimesh(VERTICES, FACES, process=False),
        pyvista.PolyData(VERTICES, np.insert(FACES, 0, 3, axis=1).ravel()),
    ],
    ids=["arrays", "float32 and uint32", "lists", "torch", "psbody", "trimesh", "pyvista"],
)
def test_a_mesh_of_any_library_keeps_its_vertices_in_order(scan):
    mesh = as_mesh(scan)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)
    assert mesh.polygon_sizes is None


@pytest.mark.parametrize(
    "scan",
    [
        VERTICES,
        torch.tensor(VERTICES),
        (VERTICES, None),
        (VERTICES, []),
        SimpleNamespace(v=VERTICES),
        SimpleNamespace(v=VERTICES, f=None),
        SimpleNamespace(v=VERTICES, f=np.empty((0, 3))),
        pyvista.PolyData(VERTICES),
    ],
    ids=["array", "torch", "None", "empty list", "no f", "f is None", "f is empty", "pyvista points"],
)
def test_a_scan_without_faces_is_a_point_cloud(scan):
    mesh = as_mesh(scan)
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    assert mesh.faces.shape == (0, 3)


def test_a_mesh_is_itself_and_a_path_is_read(mesh, tmp_path):
    assert as_mesh(mesh) is mesh
    mesh.write(tmp_path / "face.ply")
    for path in (tmp_path / "face.ply", str(tmp_path / "face.ply")):
        np.testing.assert_array_equal(as_mesh(path).vertices, VERTICES)


def test_arrays_are_copied():
    vertices, faces = VERTICES.copy(), FACES.copy()
    mesh = as_mesh(SimpleNamespace(v=vertices, f=faces))
    vertices[:], faces[:] = 9, 0
    np.testing.assert_array_equal(mesh.vertices, VERTICES)
    np.testing.assert_array_equal(mesh.faces, FACES)


@pytest.mark.parametrize("sizes", [[4, 4], [3, 4, 5, 3]])
def test_polygons_of_pyvista_are_remembered(sizes):
    corners = np.arange(sum(sizes))
    vertices = np.random.default_rng(1).normal(size=(len(corners), 3))
    flat, stop = [], 0
    for size in sizes:
        flat += [size, *corners[stop : stop + size]]
        stop += size
    mesh = as_mesh(pyvista.PolyData(vertices, flat))
    np.testing.assert_array_equal(mesh.vertices, vertices)
    assert mesh.polygon_sizes.tolist() == sizes
    assert mesh.face_count == sum(sizes) - 2 * len(sizes)
    assert to_pyvista(mesh).faces.tolist() == flat


def test_a_polygon_of_pyvista_becomes_a_fan():
    assert as_mesh(pyvista.PolyData(VERTICES, [4, 3, 0, 1, 2])).faces.tolist() == [[3, 0, 1], [3, 1, 2]]


@pytest.mark.parametrize(
    ("scan", "words"),
    [
        (None, ["A scan is a NoneType, no mesh", "wanted a Mesh, the path of a mesh file", "v and f as psbody has"]),
        (7, ["A scan is a int, no mesh"]),
        ([VERTICES, FACES], ["A scan is a list, no mesh", "a tuple (vertices, faces)"]),
        (trimesh.Scene(), ["trimesh.scene.scene.Scene, a scene", "scene.to_mesh() first"]),
        ((VERTICES, FACES, FACES), ["A scan is a tuple, no mesh"]),
        ((VERTICES, FACES + 9), ["A scan is a tuple that is no mesh", "faces, row 0, is [9, 10, 11]; wanted 0 ... 5"]),
        ((VERTICES[:, :2], FACES), ["vertices is float64 of shape (6, 2)"]),
        ((VERTICES, FACES / 2), ["faces is float64", "wanted integers"]),
        (([[0, 0, 0], [1]], FACES), ["A scan is a tuple that cannot be read", "inhomogeneous", "wanted a Mesh"]),
        ((torch.tensor(VERTICES, requires_grad=True), FACES), ["cannot be read", "requires grad"]),
        (VERTICES[0], ["A scan is a numpy.ndarray that is no mesh", "shape (3,)"]),
        (SimpleNamespace(v=VERTICES * np.nan), ["types.SimpleNamespace that is no mesh", "wanted finite numbers"]),
        (pyvista.PolyData(VERTICES, [2, 0, 1]), ["pyvista.PolyData has a face of 2 corners (face 0)", "clean()"]),
        (pyvista.PolyData(VERTICES, strips=[4, 0, 1, 3, 2]), ["has 1 triangle strips", "triangulate() first"]),
    ],
)  # fmt: skip
def test_what_is_no_scan_is_refused_with_what_was_found_and_wanted(scan, words):
    with pytest.raises(MeshError) as caught:
        as_mesh(scan)
    message = str(caught.value).replace("Wanted a Mesh", "wanted a Mesh")
    assert [word for word in words if word not in message] == []


def test_a_path_that_is_no_mesh_file_says_so(tmp_path):
    with pytest.raises(MeshError, match="does not exist"):
        as_mesh(str(tmp_path / "absent.obj"))


def test_every_library_gets_all_vertices_in_order(mesh):
    given = {
        "trimesh": (to_trimesh(mesh).vertices, to_trimesh(mesh).faces),
        "pyvista": (to_pyvista(mesh).points, to_pyvista(mesh).regular_faces),
        "psbody": (to_psbody(mesh).v, to_psbody(mesh).f),
    }
    for vertices, faces in given.values():
        np.testing.assert_array_equal(vertices, VERTICES)
        np.testing.assert_array_equal(faces, FACES)
    assert isinstance(to_trimesh(mesh), trimesh.Trimesh)
    assert isinstance(to_pyvista(mesh), pyvista.PolyData)
    assert (to_psbody(mesh).v.dtype, to_psbody(mesh).f.dtype) == (np.float64, np.uint32)


def test_point_clouds_are_given_as_such():
    cloud = Mesh(VERTICES)
    np.testing.assert_array_equal(to_trimesh(cloud).vertices, VERTICES)
    assert to_trimesh(cloud).faces.shape == (0, 3)
    assert (to_pyvista(cloud).n_points, to_pyvista(cloud).n_faces) == (6, 0)
    assert to_psbody(cloud).f.shape == (0, 3)


def test_what_is_given_shares_no_memory_with_the_mesh(mesh):
    to_psbody(mesh).v[:] = 9
    to_trimesh(mesh).vertices[:] = 9
    to_pyvista(mesh).points[:] = 9
    np.testing.assert_array_equal(mesh.vertices, VERTICES)


def test_what_is_given_is_taken_back_unchanged(mesh):
    for give in (to_trimesh, to_pyvista, to_psbody):
        again = as_mesh(give(mesh))
        np.testing.assert_array_equal(again.vertices, VERTICES)
        np.testing.assert_array_equal(again.faces, FACES)


def test_reading_and_writing_import_no_heavy_library():
    program = (
        "import sys, meshdisent.mesh.exchange, meshdisent.mesh.formats; "
        "print([name for name in ('torch', 'trimesh', 'pyvista', 'vtk', 'h5py', 'scipy') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
