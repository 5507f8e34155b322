"""The mesh itself: what it refuses, what it computes, and how files are picked."""

from pathlib import Path

import numpy as np
import pytest

from meshdisent.errors import MeshdisentError, MeshError, UsageError
from meshdisent.mesh.mesh import Labels, Mesh

CUBE = np.array([[x, y, z] for x in (0.0, 1.0) for y in (0.0, 1.0) for z in (0.0, 1.0)])
SIDES = np.array([[0, 1, 3, 2], [4, 6, 7, 5], [0, 4, 5, 1], [2, 3, 7, 6], [0, 2, 6, 4], [1, 5, 7, 3]])
CUBE_FACES = np.concatenate([SIDES[:, [0, 1, 2]], SIDES[:, [0, 2, 3]]])
TRIANGLE = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0]])


@pytest.fixture
def cube() -> Mesh:
    return Mesh(CUBE, CUBE_FACES)


@pytest.fixture
def dressed() -> Mesh:
    """A quad and a triangle with everything that a mesh can carry."""
    return Mesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0], [2, 0, 0]]),
        np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2]]),
        polygon_sizes=np.array([4, 3]),
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        face_uv=np.array([[0, 1, 2], [0, 2, 3], [-1, -1, -1]]),
        normals=np.array([[0.0, 0, 1]]),
        face_normals=np.zeros((3, 3), dtype=np.int64),
        labels={"material": Labels(("skin", "eye"), np.array([0, 0, 1]))},
        material_files=("head.mtl",),
        vertex_attributes={"red": np.arange(5, dtype=np.uint8), "nx": np.ones(5), "nz": np.zeros(5)},
        ignored={"l": 2},
    )


def test_arrays_of_any_number_type_become_float64_and_int64():
    mesh = Mesh(np.eye(3, dtype=np.float32), np.array([[0, 1, 2]], dtype=np.uint16))
    assert (mesh.vertices.dtype, mesh.faces.dtype) == (np.float64, np.int64)
    assert (mesh.vertex_count, mesh.face_count) == (3, 1)


def test_a_mesh_without_faces_is_a_point_cloud():
    cloud = Mesh(CUBE)
    assert cloud.faces.shape == (0, 3)
    assert cloud.face_areas().shape == (0,)
    assert not cloud.vertex_normals().any()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"vertices": np.empty((0, 3))}, ["has no vertices", "wanted at least one row"]),
        ({"vertices": np.zeros((3, 2))}, ["vertices is float64 of shape (3, 2)", "wanted numbers of shape (n, 3)"]),
        ({"vertices": np.array([["a", "b", "c"]])}, ["vertices is <U1", "wanted numbers"]),
        ({"vertices": np.array([[0, 0, 0], [np.nan, 0, 0], [0, np.inf, 0]])}, ["Vertex 1 is [nan", "2 such", "finite"]),
        ({"vertices": np.full((1, 3), 0x7FA00001, np.uint32).view(np.float32)}, ["Vertex 0 is [nan, nan, nan]"]),
        ({"faces": np.array([[0, 1, 3]])}, ["faces, row 0, is [0, 1, 3]", "wanted 0 ... 2"]),
        ({"faces": np.array([[0, 1, 2], [0, -1, 2]])}, ["faces, row 1, is [0, -1, 2]"]),
        ({"faces": np.array([[0.0, 1.0, 2.0]])}, ["faces is float64", "wanted integers"]),
        ({"faces": np.array([[0, 1, 2, 0]])}, ["faces is int64 of shape (1, 4)", "(n, 3)"]),
        ({"uv": np.zeros((1, 2))}, ["one of uv and face_uv", "both or neither"]),
        ({"uv": np.zeros((1, 4)), "face_uv": np.zeros((1, 3), int)}, ["uv is float64", "(n, 2) or (n, 3)"]),
        ({"uv": np.zeros((1, 2)), "face_uv": np.full((1, 3), 1)}, ["face_uv, row 0", "wanted -1 ... 0"]),
        ({"uv": np.zeros((1, 2)), "face_uv": np.zeros((2, 3), int)}, ["face_uv has 2 rows", "wanted 1"]),
        ({"normals": np.zeros((1, 2)), "face_normals": np.zeros((1, 3), int)}, ["normals is float64 of shape (1, 2)"]),
        ({"polygon_sizes": np.array([4])}, ["polygons make 2 triangles", "wanted the 1 of the faces"]),
        ({"polygon_sizes": np.array([2, 4])}, ["Polygon 0 has 2 corners", "wanted 3 or more"]),
        ({"polygon_sizes": np.array([3.0])}, ["polygon_sizes is float64", "wanted one integer"]),
        ({"labels": {"group": Labels(("a",), np.array([0, 0]))}}, ["group labels have shape (2,)", "(1,)"]),
        ({"labels": {"group": Labels(("a",), np.array([1]))}}, ["group label is outside -1 ... 0"]),
        ({"vertex_attributes": {"red": np.zeros(2)}}, ["'red' is float64 of shape (2,)", "row for each vertex"]),
        ({"vertex_attributes": {"red": np.array(["a"] * 3)}}, ["'red' is <U1", "wanted numbers"]),
    ],
)
def test_what_is_no_mesh_is_refused_with_what_was_found_and_wanted(arguments, words):
    with pytest.raises(MeshError) as caught:
        Mesh(**{"vertices": TRIANGLE, "faces": np.array([[0, 1, 2]]), **arguments})
    assert [word for word in words if word not in str(caught.value)] == []


def test_triangles_that_are_no_fan_cannot_be_called_a_polygon():
    with pytest.raises(MeshError, match="Triangle 1 does not continue the fan"):
        Mesh(CUBE, np.array([[0, 1, 2], [1, 2, 3]]), polygon_sizes=np.array([4]))


def test_the_triangles_of_one_polygon_must_agree_on_their_label(dressed):
    with pytest.raises(MeshError, match="differ in their group label"):
        Mesh(
            dressed.vertices,
            dressed.faces,
            polygon_sizes=dressed.polygon_sizes,
            labels={"group": Labels(("a", "b"), np.array([0, 1, 1]))},
        )


def test_a_mesh_says_its_size_in_one_line(cube):
    assert repr(cube) == "Mesh(8 vertices, 12 faces)"


def test_bounds_are_the_corners_of_the_box_around_the_vertices():
    np.testing.assert_array_equal(Mesh(CUBE * [1, -2, 3]).bounds, [[0, -2, 0], [1, 0, 3]])


def test_areas_are_half_the_parallelogram(cube):
    np.testing.assert_allclose(cube.face_areas(), np.full(12, 0.5), rtol=1e-15)
    assert Mesh(TRIANGLE, np.array([[0, 1, 2]])).face_areas().tolist() == [1.0]


def test_vertex_normals_of_a_cube_point_away_from_its_middle(cube):
    normals = cube.vertex_normals()
    np.testing.assert_allclose(np.linalg.norm(normals, axis=1), 1, rtol=1e-12)
    assert ((normals * (CUBE - 0.5)).sum(axis=1) > 0.5).all()


def test_vertex_normals_are_weighted_by_area_and_zero_without_a_face():
    vertices = np.array([[0.0, 0, 0], [2, 0, 0], [0, 1, 0], [0, 0, 1], [9, 9, 9]])
    normals = Mesh(vertices, np.array([[0, 1, 2], [0, 2, 3]])).vertex_normals()  # areas 1 (along z) and 0.5 (along x)
    np.testing.assert_allclose(normals[0], np.array([1, 0, 2]) / np.sqrt(5), atol=1e-15)
    np.testing.assert_array_equal(normals[[1, 3, 4]], [[0, 0, 1], [1, 0, 0], [0, 0, 0]])


def test_vertex_normals_of_a_mesh_without_extent_are_zero():
    assert not Mesh(np.zeros((3, 3)), np.array([[0, 1, 2]])).vertex_normals().any()


def test_vertex_normals_of_enormous_coordinates_are_finite_and_the_same(cube):
    np.testing.assert_allclose(Mesh(CUBE * 1e300, CUBE_FACES).vertex_normals(), cube.vertex_normals(), atol=1e-12)


def test_other_vertices_keep_everything_but_the_normals_of_the_old_ones(dressed):
    moved = dressed.with_vertices(dressed.vertices * 10)
    np.testing.assert_array_equal(moved.vertices, dressed.vertices * 10)
    for name in ("faces", "polygon_sizes", "uv", "face_uv", "labels", "material_files", "ignored"):
        assert getattr(moved, name) is getattr(dressed, name)
    assert moved.normals is None
    assert moved.face_normals is None
    assert list(moved.vertex_attributes) == ["red"]


def test_other_vertices_must_be_as_many(dressed):
    with pytest.raises(MeshError, match=r"shape \(4, 3\); wanted \(5, 3\)"):
        dressed.with_vertices(np.zeros((4, 3)))


@pytest.mark.parametrize("name", ["head.obj", "head.OBJ", "head.ply", "new folder/head.Ply"])
def test_a_mesh_is_written_and_read_by_its_extension(tmp_path, dressed, name):
    dressed.write(tmp_path / name)
    again = Mesh.read(str(tmp_path / name))
    for field in ("vertices", "faces", "polygon_sizes"):
        np.testing.assert_array_equal(getattr(again, field), getattr(dressed, field))


def test_an_existing_file_is_replaced_only_when_asked(tmp_path, cube, dressed):
    for name in ("head.obj", "head.ply"):
        cube.write(tmp_path / name)
        before = (tmp_path / name).read_bytes()
        with pytest.raises(UsageError, match="exists already"):
            dressed.write(tmp_path / name)
        assert (tmp_path / name).read_bytes() == before
        dressed.write(tmp_path / name, overwrite=True)
        assert Mesh.read(tmp_path / name).vertex_count == dressed.vertex_count


@pytest.mark.parametrize("extension", [".obj", ".ply"])
def test_a_folder_is_never_replaced_by_a_mesh(tmp_path, cube, extension):
    (tmp_path / f"head{extension}").mkdir()
    with pytest.raises(MeshdisentError, match="It is a folder; choose another name"):
        cube.write(tmp_path / f"head{extension}", overwrite=True)
    assert [path.name for path in tmp_path.rglob("*")] == [f"head{extension}"]


@pytest.mark.parametrize("name", ["head.stl", "head", ".obj", "head.obj.gz"])
def test_an_unknown_extension_names_the_known_ones_and_writes_nothing(tmp_path, cube, name):
    for act in (Mesh.read, cube.write):
        with pytest.raises(MeshError, match=r"wanted one of \.obj, \.ply"):
            act(tmp_path / name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("extension", [".obj", ".ply"])
def test_a_path_without_a_mesh_gets_one_clear_line(tmp_path, extension):
    (tmp_path / f"folder{extension}").mkdir()
    (tmp_path / f"empty{extension}").touch()
    (tmp_path / f"loop{extension}").symlink_to(tmp_path / f"loop{extension}")
    for name, words in {
        "absent": "does not exist; wanted a mesh file",
        "folder": "is a folder; wanted one mesh file",
        "empty": "is empty .0 bytes.; wanted a mesh",
        "loop": "cannot be read: ",
        "zero\0byte": "cannot be read: ",
    }.items():
        with pytest.raises(MeshError, match=words):
            Mesh.read(tmp_path / f"{name}{extension}")


def test_a_mesh_file_under_a_wrong_extension_is_told_apart(tmp_path, cube):
    cube.write(tmp_path / "a.obj")
    cube.write(tmp_path / "a.ply")
    Path(tmp_path / "a.obj").rename(tmp_path / "b.ply")
    Path(tmp_path / "a.ply").rename(tmp_path / "b.obj")
    with pytest.raises(MeshError, match=r"b\.ply, byte 0: found b'v 0\.0.*wanted the line 'ply'"):
        Mesh.read(tmp_path / "b.ply")
    with pytest.raises(MeshError, match=r"b\.obj, line \d+: found a zero byte; wanted the text of an OBJ file"):
        Mesh.read(tmp_path / "b.obj")
