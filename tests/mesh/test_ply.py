"""PLY files: what is read in text and both byte orders, what is refused and how it is said, what is written."""

import struct
from itertools import pairwise

import numpy as np
import pytest

from meshdisent.errors import MeshError, UsageError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.ply import read_ply, write_ply

XYZ = "property float x\nproperty float y\nproperty float z\n"
FACE = "property list uchar int vertex_indices\n"
SQUARE = "0 0 0\n1 0 0\n1 1 0\n0 1 0\n"
SIZES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}
ORDERS = {"binary_little_endian": "<", "binary_big_endian": ">"}


def header(vertex: str = XYZ, face: str = FACE, counts: tuple[int, int] = (4, 1), encoding: str = "ascii") -> str:
    return (
        f"ply\nformat {encoding} 1.0\nelement vertex {counts[0]}\n{vertex}element face {counts[1]}\n{face}end_header\n"
    )


@pytest.fixture
def read(tmp_path):
    """Read text or bytes as a PLY file."""

    def read_content(content: str | bytes) -> Mesh:
        path = tmp_path / "face.ply"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_ply(path)

    return read_content


def test_vertices_are_the_rows_of_the_file_with_duplicates_and_unreferenced_ones(read):
    mesh = read(header(counts=(5, 1)) + "1 2 3\n1 2 3\n4 5 6\n7 8 9\n1 2 3\n3 4 2 0\n")
    assert mesh.vertices.tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]]
    assert mesh.faces.tolist() == [[4, 2, 0]]
    assert mesh.polygon_sizes is None


@pytest.mark.parametrize("name", ["vertex_indices", "vertex_index"])
@pytest.mark.parametrize("encoding", ["ascii", *ORDERS])
@pytest.mark.parametrize("polygons", [[[0, 1, 2, 3], [0, 1, 2], [3, 1, 2]], [[3, 1, 2], [0, 1, 2, 3], [0, 1, 2]]])
def test_polygons_of_any_size_become_fans_and_are_remembered(read, name, encoding, polygons):
    head = header(face=f"property list uchar int {name}\n", counts=(4, 3), encoding=encoding).encode()
    if encoding == "ascii":
        body = (SQUARE + "".join(f"{len(p)} {' '.join(map(str, p))}\n" for p in polygons)).encode()
    else:
        order = ORDERS[encoding]
        body = struct.pack(f"{order}12f", *map(float, SQUARE.split()))
        body += b"".join(struct.pack(f"{order}B{len(p)}i", len(p), *p) for p in polygons)
    mesh = read(head + body)
    assert mesh.vertices.tolist() == [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[p[0], *pair] for p in polygons for pair in pairwise(p[1:])]
    assert mesh.polygon_sizes.tolist() == [len(polygon) for polygon in polygons]


@pytest.mark.parametrize("encoding", ["ascii", *ORDERS])
@pytest.mark.parametrize(
    ("alias", "name", "values"),
    [
        ("int8", "char", [-128, 127]),
        ("uint8", "uchar", [0, 255]),
        ("int16", "short", [-32768, 32767]),
        ("uint16", "ushort", [0, 65535]),
        ("int32", "int", [-(2**31), 2**31 - 1]),
        ("uint32", "uint", [0, 2**32 - 1]),
        ("float32", "float", [0.1, np.nan]),
        ("float64", "double", [0.1, -1e300]),
    ],
)
def test_every_type_is_read_under_both_names_and_kept(read, encoding, alias, name, values):
    expected = np.array(values, dtype=alias)
    for spelled in (alias, name):
        head = header(XYZ + f"property {spelled} quality\n", counts=(2, 0), encoding=encoding).encode()
        if encoding == "ascii":
            body = "".join(f"0 0 0 {value}\n" for value in values).encode()
        else:
            body = b"".join(struct.pack(f"{ORDERS[encoding]}3f{SIZES[name]}", 0, 0, 0, value) for value in values)
        found = read(head + body).vertex_attributes["quality"]
        assert found.dtype == np.dtype(alias)
        np.testing.assert_array_equal(found, expected)


def test_coordinates_may_have_any_type_and_place(read):
    mesh = read(
        header("property uchar red\nproperty double z\nproperty int x\nproperty float y\n", counts=(1, 0)) + "9 3 1 2\n"
    )
    assert mesh.vertices.tolist() == [[1, 2, 3]]
    assert mesh.vertex_attributes["red"].tolist() == [9]


def test_colors_and_normals_are_vertex_attributes(read):
    extra = "property float nx\nproperty float ny\nproperty float nz\nproperty uchar red\n"
    mesh = read(header(XYZ + extra, counts=(2, 0)) + "0 0 0 0 0 1 255\n1 1 1 0 1 0 3\n")
    assert {name: values.tolist() for name, values in mesh.vertex_attributes.items()} == {
        "nx": [0, 0],
        "ny": [0, 1],
        "nz": [1, 0],
        "red": [255, 3],
    }


@pytest.mark.parametrize("encoding", ["ascii", *ORDERS])
def test_a_vertex_list_is_kept_if_even_and_counted_if_ragged(read, encoding):
    vertex = XYZ + "property list uchar short even\nproperty list ushort double ragged\n"
    rows = [(0, 1, 2, [3, 4], [5.5]), (6, 7, 8, [-9, 10], [])]
    head = header(vertex, counts=(2, 0), encoding=encoding).encode()
    if encoding == "ascii":
        body = "".join(
            f"{x} {y} {z} 2 {a[0]} {a[1]} {len(b)} {' '.join(map(str, b))}\n" for x, y, z, a, b in rows
        ).encode()
    else:
        body = b"".join(
            struct.pack(f"{ORDERS[encoding]}3fB2hH{len(b)}d", x, y, z, 2, *a, len(b), *b) for x, y, z, a, b in rows
        )
    mesh = read(head + body)
    assert mesh.vertices.tolist() == [[0, 1, 2], [6, 7, 8]]
    assert {name: values.tolist() for name, values in mesh.vertex_attributes.items()} == {"even": [[3, 4], [-9, 10]]}
    assert mesh.ignored == {"vertex.ragged": 2}


def test_other_elements_and_face_properties_are_read_over_and_counted(read):
    text = (
        "ply\nformat ascii 1.0\ncomment x\nobj_info y\nelement camera 1\nproperty float focal\nelement empty 0\n"
        "property int a\nelement nothing 7\nelement face 1\nproperty list uchar int vertex_indices\n"
        "property list uchar float texcoord\nproperty uchar flags\nelement edge 2\nproperty int a\nproperty int b\n"
        f"element vertex 4\n{XYZ}end_header\n35.5\n3 0 1 2 6 0 0 1 0 1 1 7\n0 1\n1 2\n{SQUARE}"
    )
    mesh = read(text)
    assert mesh.faces.tolist() == [[0, 1, 2]]
    assert mesh.vertices[2].tolist() == [1, 1, 0]
    assert mesh.ignored == {"face.texcoord": 1, "face.flags": 1, "camera": 1, "nothing": 7, "edge": 2}


def test_a_file_without_faces_is_a_point_cloud(read):
    head = f"ply\nformat ascii 1.0\nelement vertex 4\n{XYZ}end_header\n"
    assert read(head + SQUARE).faces.shape == (0, 3)
    assert read(header(counts=(4, 0)) + SQUARE).faces.shape == (0, 3)


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_text_may_have_any_line_ends_and_blank_lines(read, newline):
    text = header() + "\n" + SQUARE.replace("1 1 0", "  1\t1  0 \n") + "3 0 1 2"
    mesh = read(text.replace("\n", newline))
    assert mesh.vertices[2:].tolist() == [[1, 1, 0], [0, 1, 0]]
    assert mesh.faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_a_binary_body_begins_right_behind_the_header_whatever_its_first_byte(read, newline):
    vertex = "property uchar first\n" + XYZ
    head = header(vertex, counts=(1, 0), encoding="binary_little_endian").replace("\n", newline).encode("latin-1")
    mesh = read(head + struct.pack("<B3f", 10, 1, 2, 3))  # 10 is a newline
    assert mesh.vertices.tolist() == [[1, 2, 3]]
    assert mesh.vertex_attributes["first"].tolist() == [10]


def test_a_float_property_of_a_text_file_is_rounded_to_float32(read):
    assert read(header(counts=(1, 0)) + "0.1 0 0\n").vertices[0, 0] == np.float64(np.float32(0.1))


BODY = struct.pack("<12f", *map(float, SQUARE.split()))
BINARY = header(encoding="binary_little_endian").encode() + BODY
MIXED = header(counts=(4, 2), encoding="binary_little_endian").encode() + BODY


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("plyx\n", ["byte 0: found b'plyx", "wanted the line 'ply'"]),
        (b"\x89PNG\r\n", ["byte 0: found b'\\x89PNG"]),
        ("ply\nformat ascii 1.0\n", ["found no line 'end_header'", "Copy or export it again"]),
        ("ply\nend_header\n", ["found no line 'format'", "ascii, binary_little_endian, binary_big_endian"]),
        ("ply\nformat ascii 2.0\nend_header\n", ["line 2: found 'format ascii 2.0'", "and 1.0"]),
        ("ply\nformat binary 1.0\nend_header\n", ["line 2", "one of ascii"]),
        ("ply\nformat ascii 1.0\nformat ascii 1.0\nend_header\n", ["line 3", "format (once)"]),
        ("ply\nformat ascii 1.0\nproperty int x\nend_header\n", ["line 3", "property (behind an element)"]),
        ("ply\nformat ascii 1.0\nhello\nend_header\n", ["line 3: found 'hello'", "element, property"]),
        ("ply\nformat ascii 1.0\nelement vertex\nend_header\n", ["line 3", "element, a name and a count"]),
        ("ply\nformat ascii 1.0\nelement vertex -1\nend_header\n", ["line 3", "a name and a count"]),
        (header(counts=(10**30, 1)), ["line 3", "a name and a count"]),
        (header(XYZ + "property\n"), ["line 7: found 'property'", "and a name"]),
        (header(XYZ + "property long q\n"), ["line 7", "wanted property, one of char, uchar", "double"]),
        (header(XYZ + "property list float int q\n"), ["line 7", "a list counted by integers"]),
        (header(XYZ + "property list int q\n"), ["line 7", "(or list and two of them)"]),
        (header(XYZ + "property int x\n"), ["line 7", "each property once"]),
        (header(face=FACE + "element vertex 1\nproperty int x\n"), ["line 9", "each element once"]),
        (
            header(counts=(10**9, 1)) + SQUARE,
            ["element vertex: found 24 bytes", "wanted 1000000000 rows of at least 6 bytes"],
        ),
        (
            BINARY.replace(b"vertex 4", b"vertex 999999999"),
            ["found 48 bytes", "wanted 999999999 rows of at least 12 bytes"],
        ),
        (header(counts=(4, 10**9)) + SQUARE + "3 0 1 2\n", ["element face", "wanted 1000000000 rows"]),
        (header(counts=(0, 0)), ["has no vertices; wanted an element 'vertex' with rows"]),
        ("ply\nformat ascii 1.0\nend_header\n", ["has no vertices"]),
        (
            header("property float x\nproperty float y\n", counts=(1, 0)) + "1 2\n",
            ["properties x, y; wanted x, y and z"],
        ),
        (header("", counts=(1, 0)), ["element vertex: found the properties ; wanted x, y and z"]),
        (header(XYZ.replace("float z", "list uchar float z"), counts=(1, 0)) + "1 2 1 3\n", ["wanted x, y and z"]),
        (
            header(face="property int a\n") + SQUARE + "1\n",
            ["element face", "a (i4)", "list of integers named vertex_in"],
        ),
        (
            header(face="property list uchar float vertex_index\n") + SQUARE + "3 0 1 2\n",
            ["vertex_index (f4)", "integers"],
        ),
        (header(face=""), ["element vertex: found 0 bytes", "4 rows of at least 6 bytes"]),
        (header(face="") + SQUARE, ["element face: found the properties none"]),
        (header() + SQUARE, ["element face: found 0 lines; wanted 1", "cut off"]),
        (
            header() + SQUARE.replace("1 1 0", "1 1") + "3 0 1 2\n",
            ["element vertex, row 2: found '1 1'", "a value for z"],
        ),
        (header() + SQUARE.replace("1 1 0", "1 1 0 0") + "3 0 1 2\n", ["row 2: found '1 1 0 0'", "nothing behind z"]),
        (header() + SQUARE.replace("1 1 0", "1 one 0") + "3 0 1 2\n", ["row 2: found '1 one 0'", "numbers alone"]),
        (header() + SQUARE.replace("1 1 0", "1 1_0 0") + "3 0 1 2\n", ["row 2: found '1 1_0 0'", "numbers alone"]),
        (
            header() + SQUARE.replace("1 1 0", "1 nan 0") + "3 0 1 2\n",
            ["vertex, row 2: found [1.0, nan", "finite numbers"],
        ),
        (header() + SQUARE.replace("1 1 0", "1 1e39 0") + "3 0 1 2\n", ["row 2: found [1.0, inf", "(1 such rows)"]),
        (header() + SQUARE + "3 0 1 4\n", ["face, row 0: found the vertex index 4", "wanted 0 ... 3"]),
        (header(counts=(4, 2)) + SQUARE + "3 0 1 2\n3 9 1 2\n", ["face, row 1: found the vertex index 9"]),
        (header() + SQUARE + "3 0 1 -1\n", ["found the vertex index -1"]),
        (header() + SQUARE + "2 0 1\n", ["face, row 0: found 2 corners; wanted 3 or more"]),
        (header() + SQUARE + "4 0 1 2\n", ["row 0: found '4 0 1 2'", "as many values as the list vertex_indices says"]),
        (header() + SQUARE + "3 0 1 2 3\n", ["row 0: found '3 0 1 2 3'", "nothing behind vertex_indices"]),
        (header() + SQUARE + "-3 0 1 2\n", ["as many values as the list"]),
        (header() + SQUARE + "2.5 0 1 2\n", ["as many values as the list"]),
        (header() + SQUARE + "inf 0 1 2\n", ["as many values as the list"]),
        (header() + SQUARE + "3 0 1 1.5\n", ["row 0: found '3 0 1 1.5'", "an integer from -2147483648 to 2147483647"]),
        (header() + SQUARE + "3 0 1 nan\n", ["an integer from"]),
        (header() + SQUARE + "3 0 1 9999999999\n", ["an integer from"]),
        (
            header(XYZ + "property uchar red\n", counts=(1, 0)) + "0 0 0 256\n",
            ["row 0", "an integer from 0 to 255 for red"],
        ),
        (header() + SQUARE + "3 0 1 2\n3 0 1 2\n", ["found 1 lines behind the last element; wanted none"]),
        (BINARY, ["element face, row 0: found the end of the file (byte 48"]),
        (BINARY[:-1], ["element vertex, row 3: found the end of the file (byte 47", "wanted 4 rows"]),
        (BINARY + b"\x03", ["element face, row 0: found the end of the file (byte 49", "wanted 1 rows"]),
        (BINARY + struct.pack("<B3i", 3, 0, 1, 4), ["face, row 0: found the vertex index 4"]),
        (BINARY + struct.pack("<B3iB", 3, 0, 1, 2, 65), ["found 1 bytes behind the last element (from byte 61"]),
        (BINARY[:-4] + b"\x01\x00\xa0\x7f" + b"\x03" * 13, ["vertex, row 3: found [0.0, 1.0, nan]"]),  # a signaling NaN
        (MIXED + struct.pack("<B4iB2i", 4, 0, 1, 2, 3, 3, 0, 1), ["element face, row 1: found the end of the file"]),
        (MIXED + struct.pack("<B4iB2i", 4, 0, 1, 2, 3, 2, 0, 1), ["element face, row 1: found 2 corners"]),
        (MIXED + struct.pack("<B4iB3i", 4, 0, 1, 2, 3, 3, 0, 1, -7), ["face, row 1: found the vertex index -7"]),
        (
            MIXED.replace(b"list uchar", b"list char") + struct.pack("<b4ib9s", 4, 0, 1, 2, 3, -3, b""),
            ["a list of -3 values"],
        ),
        (
            header().replace("element face", "element tristrips") + SQUARE,
            ["holds triangle strips; wanted an element 'face'"],
        ),
    ],
)
def test_what_is_no_ply_is_refused_with_place_and_what_was_found_and_wanted(read, tmp_path, content, words):
    with pytest.raises(MeshError) as caught:
        read(content)
    message = str(caught.value)
    assert message.startswith(str(tmp_path / "face.ply"))
    assert [word for word in words if word not in message] == []
    assert len(message) < len(str(tmp_path)) + 350


def full_mesh() -> Mesh:
    return Mesh(
        np.array([[0.5, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]),
        np.array([[0, 1, 2], [0, 2, 3], [1, 3, 2]]),
        polygon_sizes=np.array([4, 3]),
        vertex_attributes={
            "red": np.array([0, 1, 2, 255], dtype=np.uint8),
            "curvature": np.array([0.1, 1e300, 0, np.nan]),
            "pair": np.array([[1, 2], [3, 4], [5, 6], [7, 8]], dtype=np.int16),
        },
    )


HEADER = (
    "element vertex 4\nproperty float x\nproperty float y\nproperty float z\nproperty uchar red\n"
    "property double curvature\nproperty list int short pair\nelement face 2\nproperty list uchar int vertex_indices\n"
    "end_header\n"
)


def test_text_is_written_as_the_format_says(tmp_path):
    write_ply(tmp_path / "face.ply", full_mesh(), ascii=True)
    assert (tmp_path / "face.ply").read_text() == (
        f"ply\nformat ascii 1.0\n{HEADER}"
        "0.5 0 0 0 0.1 2 1 2\n1 0 0 1 1e+300 2 3 4\n1 1 0 2 0.0 2 5 6\n0 1 0 255 nan 2 7 8\n4 0 1 2 3\n3 1 3 2\n"
    )


def test_binary_is_written_as_the_format_says(tmp_path):
    write_ply(tmp_path / "face.ply", full_mesh())
    vertices = [
        (0.5, 0, 0, 0, 0.1, 1, 2),
        (1, 0, 0, 1, 1e300, 3, 4),
        (1, 1, 0, 2, 0, 5, 6),
        (0, 1, 0, 255, np.nan, 7, 8),
    ]
    assert (tmp_path / "face.ply").read_bytes() == (
        f"ply\nformat binary_little_endian 1.0\n{HEADER}".encode()
        + b"".join(struct.pack("<3fBdi2h", *row[:5], 2, *row[5:]) for row in vertices)
        + struct.pack("<B4iB3i", 4, 0, 1, 2, 3, 3, 1, 3, 2)
    )


@pytest.mark.parametrize("ascii", [False, True])
@pytest.mark.parametrize(("kind", "name"), [(np.float32, "float"), (np.float64, "double")])
def test_positions_are_read_back_bit_for_bit_in_the_smallest_type_that_holds_them(tmp_path, ascii, kind, name):
    vertices = np.random.default_rng(5).normal(0, 100, (300, 3)).astype(kind)
    write_ply(tmp_path / "face.ply", Mesh(vertices), ascii=ascii)
    assert f"property {name} x".encode() in (tmp_path / "face.ply").read_bytes()
    np.testing.assert_array_equal(read_ply(tmp_path / "face.ply").vertices, vertices.astype(np.float64))


def test_positions_too_large_for_float32_are_written_as_doubles(tmp_path):
    write_ply(tmp_path / "face.ply", Mesh(np.full((1, 3), 1e300)))
    assert read_ply(tmp_path / "face.ply").vertices.tolist() == [[1e300] * 3]


@pytest.mark.parametrize("ascii", [False, True])
def test_a_polygon_of_more_than_255_corners_is_written_and_read(tmp_path, ascii):
    angle = np.linspace(0, 6, 300)
    faces = np.stack([np.zeros(298, int), np.arange(1, 299), np.arange(2, 300)], axis=1)
    mesh = Mesh(np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1), faces, polygon_sizes=np.array([300]))
    write_ply(tmp_path / "face.ply", mesh, ascii=ascii)
    again = read_ply(tmp_path / "face.ply")
    assert again.polygon_sizes.tolist() == [300]
    np.testing.assert_array_equal(again.faces, faces)


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([True, False]), "u1"),
        (np.array([0.5, 2], dtype=np.float16), "f4"),
        (np.array([1, -5], dtype=np.int64), "i4"),
        (np.array([1, 2**32 - 1], dtype=np.int64), "u4"),
        (np.array([1, 2], dtype=">i2"), "i2"),
    ],
)
def test_an_attribute_of_a_type_that_ply_lacks_is_written_in_one_that_holds_it(tmp_path, values, kind):
    write_ply(tmp_path / "face.ply", Mesh(np.zeros((2, 3)), vertex_attributes={"a": values}))
    found = read_ply(tmp_path / "face.ply").vertex_attributes["a"]
    assert found.dtype == np.dtype(kind)
    assert found.tolist() == values.tolist()


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("a", np.array([2**40, 0])),
        ("a", np.array([2**32, -1])),
        ("two words", np.zeros(2)),
        ("", np.zeros(2)),
        ("x", np.zeros(2)),
        ("h\u00f6he", np.zeros(2)),
    ],
)
def test_an_attribute_that_ply_cannot_hold_is_refused_and_nothing_is_written(tmp_path, name, values):
    with pytest.raises(MeshError, match="cannot be written to a PLY file; wanted"):
        write_ply(tmp_path / "face.ply", Mesh(np.zeros((2, 3)), vertex_attributes={name: values}))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_is_kept(tmp_path):
    (tmp_path / "face.ply").write_text("mine")
    with pytest.raises(UsageError, match="exists already"):
        write_ply(tmp_path / "face.ply", Mesh(np.eye(3)))
    assert (tmp_path / "face.ply").read_text() == "mine"
