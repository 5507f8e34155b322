"""OBJ files: what is read, what is refused and how it is said, what is written."""

import functools
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from meshdisent.errors import MeshError, UsageError
from meshdisent.mesh import obj_text
from meshdisent.mesh.mesh import Labels, Mesh
from meshdisent.mesh.obj import read_obj, write_obj

SQUARE = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
TEXTURE = "vt 0 0\nvt 1 0\nvt 1 1\n"


@pytest.fixture
def read(tmp_path):
    """Read text or bytes as an OBJ file."""

    def read_text(text: str | bytes) -> Mesh:
        path = tmp_path / "face.obj"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_obj(path)

    return read_text


def test_vertices_are_the_rows_of_the_file_with_duplicates_and_unreferenced_ones(read):
    mesh = read("v 1 2 3\nv 1 2 3\nv 4 5 6\nv 7 8 9\nv 1 2 3\nf 5 3 1\n")
    assert mesh.vertices.tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]]
    assert mesh.faces.tolist() == [[4, 2, 0]]


def test_every_form_of_number_is_read_as_python_reads_it(read):
    tokens = ["1e-3", "-.5", "+2.", "1E+10", "0.1", "123456789.123456789", "1e-320", "-0", "3"]
    mesh = read("".join(f"v {a} {b} {c}\n" for a, b, c in zip(tokens[::3], tokens[1::3], tokens[2::3], strict=True)))
    assert mesh.vertices.ravel().tolist() == [float(token) for token in tokens]
    assert np.signbit(mesh.vertices[2, 1])


@pytest.mark.parametrize(
    ("corners", "face_uv", "face_normals"),
    [
        ("1 2 3", [-1, -1, -1], [-1, -1, -1]),
        ("1/3 2/2 3/1", [2, 1, 0], [-1, -1, -1]),
        ("1//2 2//1 3//2", [-1, -1, -1], [1, 0, 1]),
        ("1/3/2 2/2/1 3/1/1", [2, 1, 0], [1, 0, 0]),
        ("1/ 2// 3/1/", [-1, -1, 0], [-1, -1, -1]),
        ("1/2 2 3//1", [1, -1, -1], [-1, -1, 0]),
        ("000000000001 2 3", [-1, -1, -1], [-1, -1, -1]),
    ],
)
def test_a_corner_may_name_texture_and_normal_in_every_form(read, corners, face_uv, face_normals):
    mesh = read(SQUARE + TEXTURE + "vn 0 0 1\nvn 0 1 0\nf " + corners)
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.face_uv.tolist() == [face_uv]
    assert mesh.face_normals.tolist() == [face_normals]
    assert mesh.uv.tolist() == [[0, 0], [1, 0], [1, 1]]
    assert mesh.normals.tolist() == [[0, 0, 1], [0, 1, 0]]


def test_seams_leave_the_vertices_alone(read):
    mesh = read(SQUARE + TEXTURE + "f 1/1 2/2 3/3\nf 1/2 3/1 4/3\n")
    assert mesh.vertex_count == 4
    assert mesh.face_uv.tolist() == [[0, 1, 2], [1, 0, 2]]


def test_negative_indices_count_back_from_the_line_of_the_face(read):
    mesh = read("v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nf -3/-1 -2/-1 -1/-1\nv 0 1 0\nvt 1 1\nf -4/-1 -2/1 -1/-2\n")
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert mesh.face_uv.tolist() == [[0, 0, 0], [1, 0, 0]]


def test_a_face_may_stand_before_its_vertices(read):
    assert read("f 1 2 3\n" + SQUARE + "f 4 2 1").faces.tolist() == [[0, 1, 2], [3, 1, 0]]


def test_polygons_become_fans_and_are_remembered(read):
    mesh = read(SQUARE + "v 0 0.5 0\n" + TEXTURE + "f 1 2 3\nf 1/1 2/2 3/3 4/2\nf 5 1 2 3 4\n")
    assert mesh.polygon_sizes.tolist() == [3, 4, 5]
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 2, 3], [4, 0, 1], [4, 1, 2], [4, 2, 3]]
    assert mesh.face_uv[1:3].tolist() == [[0, 1, 2], [0, 2, 1]]
    assert read(SQUARE + "f 1 2 3").polygon_sizes is None


def test_labels_say_which_object_group_material_and_smoothing_a_face_has(read):
    mesh = read(
        SQUARE + "f 1 2 3\no head\ng left eye\nusemtl skin # 1\nf 1 2 3 4\ns 1\nf 1 2 3\nusemtl hair\no hat\nf 2 3 4\n"
        "g\ns off\nusemtl skin # 1\nf 1 2 3\no no faces\n"
    )
    assert {kind: (labels.names, labels.of_face.tolist()) for kind, labels in mesh.labels.items()} == {
        "object": (("head", "hat", "no faces"), [-1, 0, 0, 0, 1, 1]),
        "group": (("left eye",), [-1, 0, 0, 0, 0, -1]),
        "material": (("skin # 1", "hair"), [-1, 0, 0, 0, 1, 0]),
        "smoothing": (("1", "off"), [-1, -1, -1, 0, 0, 1]),
    }


def test_several_objects_share_one_list_of_vertices(read):
    mesh = read("o a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\no b\nv 0 0 1\nv 1 0 1\nv 0 1 1\nf 4 5 6\nf -3 -2 -1\n")
    assert mesh.vertices[:, 2].tolist() == [0, 0, 0, 1, 1, 1]
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5], [3, 4, 5]]
    assert mesh.labels["object"].of_face.tolist() == [0, 1, 1]


PLAIN = "v 0 0 0\nv 1 0 0\nv 0 1 0\nvt 0 1\nusemtl skin\nf 1/1 2/1 3/1\n"


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace("\n", "\r\n"),
        PLAIN.replace("\n", "\r"),
        PLAIN.rstrip("\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\n\n\n"),
        PLAIN.replace("\n", "\n  \t"),
        "  " + PLAIN,
        PLAIN.replace(" ", "\t"),
        PLAIN.replace(" ", "   ").replace("\n", "  \n"),
        "# a comment with v 1 2 3\n" + PLAIN.replace("\nv", " # and v 4 5 6\nv").replace("3/1", "3/1 # f 1 2 3"),
        ("# J\u00fcrgen\n" + PLAIN).encode("latin-1"),
        PLAIN.replace("v 1 0 0", "v 1 \\\n0\\\n 0").replace("f 1/1", "f \\\r\n 1/1"),
        "# C:\\faces\\\n" + PLAIN.replace("usemtl skin", "g C:\\\n\tusemtl skin"),
        PLAIN.replace("v 1 0 0", "v 1 0 0 # C:\\"),
    ],
    ids=[
        "CRLF",
        "CR",
        "no last newline",
        "byte order mark",
        "blank lines",
        "indents",
        "indent at the start",
        "tabs",
        "many blanks",
        "comments",
        "Latin-1",
        "joined lines",
        "backslash after a comment or name",
        "backslash after a comment behind numbers",
    ],
)
def test_the_look_of_the_text_changes_nothing(read, text):
    mesh, plain = read(text), read(PLAIN)
    for name in ("vertices", "faces", "uv", "face_uv"):
        np.testing.assert_array_equal(getattr(mesh, name), getattr(plain, name))
    assert mesh.labels["material"].names == ("skin",)
    assert mesh.labels["material"].of_face.tolist() == [0]


def test_colors_and_weights_become_vertex_attributes(read):
    mesh = read("v 0 0 0 1 0.5 0\nv 1 0 0\nv 0 1 0 0 0 1\n")
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [0, 1, 0]]
    np.testing.assert_array_equal(mesh.vertex_attributes["red"], [1, np.nan, 0])
    np.testing.assert_array_equal(mesh.vertex_attributes["green"], [0.5, np.nan, 0])
    np.testing.assert_array_equal(mesh.vertex_attributes["blue"], [0, np.nan, 1])
    weighted = read("v 2 0 0 2\nv 1 0 0\n")
    assert weighted.vertices.tolist() == [[2, 0, 0], [1, 0, 0]]
    assert weighted.vertex_attributes["weight"].tolist() == [2, 1]


def test_texture_coordinates_have_two_or_three_numbers_and_what_is_left_out_is_zero(read):
    assert read("v 0 0 0\nvt 0.5\nvt 1 0.25\n").uv.tolist() == [[0.5, 0], [1, 0.25]]
    assert read("v 0 0 0\nvt 0.5\nvt 1 2 3\n").uv.tolist() == [[0.5, 0, 0], [1, 2, 3]]


def test_normals_and_texture_coordinates_that_are_no_numbers_do_not_spoil_a_scan(read):
    mesh = read(SQUARE + "vt nan 0\nvn nan nan nan\nf 1/1/1 2/1/1 3/1/1\n")
    np.testing.assert_array_equal(mesh.normals, [[np.nan] * 3])
    np.testing.assert_array_equal(mesh.uv, [[np.nan, 0]])


def test_what_is_no_face_is_counted(read):
    mesh = read(SQUARE + "p 1\nl 1 2\nl 2 \\\n3\ncstype bezier\ncurv 0 1 1 2 3\nend\nf 1 2 3\n")
    assert mesh.ignored == {"l": 2, "p": 1, "cstype": 1, "curv": 1, "end": 1}
    assert mesh.faces.tolist() == [[0, 1, 2]]


def test_material_files_are_names_and_never_opened(read, monkeypatch):
    opened = []
    original = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", lambda path: opened.append(path.name) or original(path))
    assert read("mtllib ../../etc/a b.mtl\nmtllib\nmtllib c.mtl\n" + SQUARE).material_files == (
        "../../etc/a b.mtl",
        "c.mtl",
    )
    assert opened == ["face.obj"]


def test_names_are_utf8_or_else_latin1(read):
    assert read((SQUARE + "usemtl J\u00fcrgen\nf 1 2 3\n").encode()).labels["material"].names == ("J\u00fcrgen",)
    assert read((SQUARE + "usemtl J\u00fcrgen\nf 1 2 3\n").encode("latin-1")).labels["material"].names == (
        "J\u00fcrgen",
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# nothing\n", ["has no vertices", "wanted lines 'v x y z'", "Export"]),
        (SQUARE + "v 1 2\n", ["line 5", "found 2 values in 'v 1 2'", "wanted 3 or 4 or 6 numbers"]),
        (SQUARE + "v\n", ["line 5", "found 0 values"]),
        (SQUARE + "v 1 2 3 4 5\n", ["line 5", "found 5 values"]),
        (SQUARE + "v 1 2 3v 4 5 6\n", ["line 5", "'3v'"]),
        (SQUARE + "v 1 2 v 3\n", ["line 5", "found 'v' in 'v 1 2 v 3'", "numbers"]),
        (SQUARE + "v 1 two 3\n", ["line 5", "found 'two'", "wanted 3 or 4 or 6 numbers"]),
        (SQUARE + "v 1 2_0 3\n", ["line 5", "found '2_0'"]),
        (SQUARE + "v 1,5 2 3\n", ["line 5", "found '1,5'"]),
        (SQUARE + "v 1 nan 3\nv 1 2 inf\n", ["line 5", "not finite (2 such lines)", "'v 1 nan 3'", "finite numbers"]),
        (SQUARE + "v 1 1e999 3\n", ["line 5", "not finite (1 such lines)"]),
        (SQUARE + "vt\n", ["line 5", "found 0 values in 'vt'", "wanted 1 or 2 or 3 numbers"]),
        (SQUARE + "vn 0 1\n", ["line 5", "found 2 values in 'vn 0 1'", "wanted 3 numbers"]),
        (SQUARE + "\n# x\nf 1 2 5\n", ["line 7", "found index 5 in 'f 1 2 5'", "wanted 1 ... 4", "4 'v' lines"]),
        (SQUARE + "f 1 2 -5\n", ["line 5", "found index -5"]),
        ("v 0 0 0\nf 1 1 -2\n" + SQUARE, ["line 2", "found index -2", "negative within the lines above"]),
        (SQUARE + "f 1 2 3\nf 1 2 0\n", ["line 6", "found '0' in 'f 1 2 0'", "whole numbers that are not 0"]),
        (SQUARE + TEXTURE + "f 1/1 2/2 3/4\n", ["line 8", "found index 4", "3 'vt' lines"]),
        (SQUARE + "f 1//1 2//1 3//1\n", ["line 5", "found index 1", "wanted no such index", "0 'vn' lines"]),
        (SQUARE + "f 1 2 3\nf 1 2 99999999999999999999\n", ["line 6", "found index 1000000000000000000"]),
        (SQUARE + "f 1 2\n", ["line 5", "found 2 corners in 'f 1 2'", "wanted 3 or more"]),
        (SQUARE + "f\n", ["line 5", "found 0 corners in 'f'"]),
        (SQUARE + "f 1 2 3.0\n", ["line 5", "found '3.0'", "wanted corners a, a/b, a//c or a/b/c"]),
        (SQUARE + "f 1 2 +3\n", ["line 5", "found '+3'"]),
        (SQUARE + "f 1 2-3 3\n", ["line 5", "found '2-3'"]),
        (SQUARE + "f 1 2 1234567\n", ["line 5", "found index 1234567"]),
        (SQUARE + "f 1 2 --3\n", ["line 5", "found '--3'"]),
        (SQUARE + "f 1 2 3-\n", ["line 5", "found '3-'"]),
        (SQUARE + "f 1/1/1/1 2 3\n", ["line 5", "found '1/1/1/1'"]),
        (SQUARE + "f 1 /2 3\n", ["line 5", "found '/2'"]),
        (SQUARE + "f 1 2 3 f 1 2 3\n", ["line 5", "found 'f'"]),
        (SQUARE + "f 1 2 \\", ["line 5", "found '\\\\'"]),
        (SQUARE + "fo 1 2 3\n", ["line 5", "found 'fo'", "wanted a statement of OBJ"]),
        (SQUARE + "vv 1 2 3\n", ["line 5", "found 'vv'"]),
        (SQUARE + "v1 2 3\n", ["line 5", "found 'v1'"]),
        ("ply\nformat ascii 1.0\n", ["line 1", "found 'ply'", "of another format"]),
        (SQUARE.encode() + b"\x00\x01", ["line 5", "zero byte", "no text at all"]),
        (SQUARE.encode("utf-16"), ["line 1", "zero byte", "UTF-16 text; save it as UTF-8"]),
        (b"\x89PNG\r\n\x1a\n", ["line 1", "wanted a statement of OBJ"]),
        (SQUARE + "f " + "1 2 3 " * 100 + "x", ["line 5", "...", "found 'x'"]),
    ],
)
def test_what_is_no_obj_is_refused_with_line_and_what_was_found_and_wanted(read, tmp_path, text, words):
    with pytest.raises(MeshError) as caught:
        read(text)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "face.obj"))
    assert [word for word in words if word not in message] == []
    assert len(message) < len(str(tmp_path)) + 350


def test_line_numbers_survive_joined_lines_and_other_line_ends(read):
    with pytest.raises(MeshError, match="line 8: found 2 values"):
        read("v 1 \\\r\n 2 \\\r\n 3\r\n\r\n# x\r\nv 1 2 3\r\n\r\nv 1 2\r\n")


def full_mesh() -> Mesh:
    return Mesh(
        np.array([[0.0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 0.1, -1e-30], [2, 0, 0]]),
        np.array([[0, 1, 2], [0, 2, 3], [1, 4, 2]]),
        polygon_sizes=np.array([4, 3]),
        uv=np.array([[0.0, 0], [1, 0], [1, 1], [0, 1]]),
        face_uv=np.array([[0, 1, 2], [0, 2, 3], [-1, 2, -1]]),
        normals=np.array([[0.0, 0, 1]]),
        face_normals=np.array([[0, 0, 0], [0, 0, 0], [0, -1, -1]]),
        labels={
            "object": Labels(("a b",), np.array([0, 0, -1])),
            "material": Labels(("skin", "J\u00fcrgen"), np.array([-1, -1, 1])),
        },
        material_files=("head.mtl",),
        vertex_attributes={name: np.array([1.0, 0.5, np.nan, 0, 0]) for name in ("red", "green", "blue")},
    )


def test_everything_is_written_where_a_reader_looks_for_it(tmp_path):
    write_obj(tmp_path / "face.obj", full_mesh())
    assert (tmp_path / "face.obj").read_text(encoding="utf-8") == (
        "mtllib head.mtl\n"
        "v 0.0 0.0 0.0 1.0 1.0 1.0\nv 1.0 0.0 0.0 0.5 0.5 0.5\nv 1.0 1.0 0.0\nv 0.0 0.1 -1e-30 0.0 0.0 0.0\n"
        "v 2.0 0.0 0.0 0.0 0.0 0.0\n"
        "vt 0.0 0.0\nvt 1.0 0.0\nvt 1.0 1.0\nvt 0.0 1.0\nvn 0.0 0.0 1.0\n"
        "o a b\nf 1/1/1 2/2/1 3/3/1 4/4/1\no\nusemtl J\u00fcrgen\nf 2//1 5/3 3\n"
    )


def test_float32_positions_are_read_back_bit_for_bit(tmp_path):
    vertices = np.random.default_rng(3).normal(0, 100, (500, 3)).astype(np.float32)
    write_obj(tmp_path / "face.obj", Mesh(vertices))
    np.testing.assert_array_equal(read_obj(tmp_path / "face.obj").vertices, vertices.astype(np.float64))


def test_integer_colors_are_written_as_parts_of_255(tmp_path):
    colors = {name: np.array([255, 51], dtype=np.uint8) for name in ("red", "green", "blue")}
    write_obj(tmp_path / "face.obj", Mesh(np.zeros((2, 3)), vertex_attributes=colors))
    assert read_obj(tmp_path / "face.obj").vertex_attributes["green"].tolist() == [1.0, 0.2]


def test_weights_are_written_behind_the_positions(tmp_path):
    write_obj(tmp_path / "face.obj", Mesh(np.zeros((2, 3)), vertex_attributes={"weight": np.array([1.0, 2.5])}))
    assert read_obj(tmp_path / "face.obj").vertex_attributes["weight"].tolist() == [1.0, 2.5]


@pytest.mark.parametrize("name", ["", "two\nlines", " blank", "blank\t", "zero\0", "cr\rcr", "\ud800"])
def test_a_name_that_would_break_the_file_is_refused_and_nothing_is_written(tmp_path, name):
    mesh = Mesh(np.eye(3), np.array([[0, 1, 2]]), labels={"group": Labels((name,), np.array([0]))})
    with pytest.raises(MeshError, match="cannot be written to an OBJ file; wanted one line"):
        write_obj(tmp_path / "face.obj", mesh)
    with pytest.raises(MeshError, match="cannot be written to an OBJ file"):
        write_obj(tmp_path / "face.obj", Mesh(np.eye(3), material_files=(name,)))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "face.obj").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_obj(tmp_path / "face.obj", Mesh(np.eye(3)))
    assert (tmp_path / "face.obj").read_text() == "mine"


@pytest.fixture(scope="module")
def unpack(shared: Path) -> ModuleType:
    """The script that unpacks the ICT face model."""
    spec = importlib.util.spec_from_file_location("unpack", shared / "data" / "ict-facekit" / "unpack.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.shapes = functools.cache(module.shapes)  # takes a second
    return module


@pytest.fixture(scope="module")
def ict_folder(unpack: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ict")
    unpack.main(folder, ["generic_neutral_mesh", "jawOpen"])
    return folder / "FaceXModel"


def test_the_ict_mesh_keeps_its_26719_vertices_in_order(ict_folder, unpack):
    neutral, deltas = unpack.shapes()
    mesh = read_obj(ict_folder / "generic_neutral_mesh.obj")
    assert mesh.vertices.shape == (26719, 3)
    np.testing.assert_array_equal(mesh.vertices, np.round(neutral, 5))
    open_jaw = read_obj(ict_folder / "jawOpen.obj").vertices
    np.testing.assert_allclose(open_jaw, neutral + deltas["jawOpen"], rtol=0, atol=6e-6)  # stored in steps of 1e-5
    assert np.abs(open_jaw - mesh.vertices).max() > 1  # cm: the jaw has moved


def test_the_ict_mesh_keeps_its_polygons_texture_and_materials(unpack, tmp_path):
    (tmp_path / "face.obj").write_text(unpack.template_text())
    mesh = read_obj(tmp_path / "face.obj")
    assert np.bincount(mesh.polygon_sizes).tolist() == [0, 0, 0, 548, 25836]
    assert mesh.faces.shape == (2 * 25836 + 548, 3)
    assert mesh.uv.shape == (28911, 2)
    assert mesh.faces[:2].tolist() == [[873, 11, 870], [873, 870, 872]]  # f 874/1 12/2 871/3 873/4
    assert mesh.face_uv[:2].tolist() == [[0, 1, 2], [0, 2, 3]]
    assert len(mesh.labels["material"].names) == 12
    assert np.unique(mesh.labels["material"].of_face).tolist() == list(range(12))
    assert mesh.labels["material"].names[0] == "M_Face"
    assert mesh.material_files == ("ICTFaceModelMaterial.mtl",)
    write_obj(tmp_path / "again.obj", mesh)
    statements = [line for line in unpack.template_text().splitlines() if line and not line.startswith("#")]
    written = (tmp_path / "again.obj").read_text().splitlines()
    assert [line for line in written if line[0] in "fum"] == [line.rstrip() for line in statements if line[0] in "fum"]
    np.testing.assert_array_equal(read_obj(tmp_path / "again.obj").vertices, mesh.vertices)


def test_the_ict_mesh_is_never_read_line_by_line(ict_folder, monkeypatch):
    monkeypatch.setattr(obj_text, "_parse_uneven_numbers", None)
    assert read_obj(ict_folder / "generic_neutral_mesh.obj").vertex_count == 26719


def test_scans_read_in_turn_keep_their_own_faces_though_equal_ones_are_parsed_once(tmp_path):
    corners = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nvt 0 0\nvt 1 1\n"
    faces = {"a": "f 1/1 2/2 3/1 4/2\n", "b": "f 1/1 2/2 3/1\n", "c": "f -4/1 -3/2 -2/1\n", "d": "f 1/1 2/2 3/1 4/2\n"}
    for name, text in faces.items():
        (tmp_path / f"{name}.obj").write_text(corners + text)
    found = {name: read_obj(tmp_path / f"{name}.obj").faces.tolist() for name in "adbcabd"}
    assert found == {"a": [[0, 1, 2], [0, 2, 3]], "b": [[0, 1, 2]], "c": [[0, 1, 2]], "d": [[0, 1, 2], [0, 2, 3]]}


def test_negative_indices_count_from_their_own_line_even_if_the_face_lines_are_the_same(tmp_path):
    (tmp_path / "late.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf -3 -2 -1\n")
    (tmp_path / "early.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nf -3 -2 -1\nv 0 1 0\n")
    assert read_obj(tmp_path / "late.obj").faces.tolist() == [[1, 2, 3]]
    assert read_obj(tmp_path / "early.obj").faces.tolist() == [[0, 1, 2]]


def test_what_a_caller_does_to_his_arrays_does_not_reach_the_next_scan(tmp_path):
    (tmp_path / "a.obj").write_text("v 0 0 0\nv 1 0 0\nv 1 1 0\nvt 0 0\nf 1/1 2/1 3/1\n")
    first = read_obj(tmp_path / "a.obj")
    for array in (first.faces, first.uv):
        if array.flags.writeable:
            array[:] = 7
    second = read_obj(tmp_path / "a.obj")
    assert second.faces.tolist() == [[0, 1, 2]]
    assert second.uv.tolist() == [[0.0, 0.0]]
