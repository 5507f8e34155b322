"""VRML files: what is read of both versions, what is refused and how it is said."""

import time

import numpy as np
import pytest

from meshdisent.errors import MeshError
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.wrl import read_wrl

V2 = """#VRML V2.0 utf8
# coordIndex [ 0, 0, 0, -1 ] in a comment is none
DEF face Shape {{
  appearance Appearance {{ texture ImageTexture {{ url "F0001#1 Coordinate {{ point [.bmp" }} }}
  geometry IndexedFaceSet {{
    {extra}
    coord Coordinate {{
      point [ {points} ]
    }}
    texCoord TextureCoordinate {{ point [ 0 0, 1 0, 1 1, 0 1 ] }}
    texCoordIndex [ 0, 1, 2, -1 ]
    coordIndex [
      {corners}
    ]
  }}
}}
"""
V1 = """#VRML V1.0 ascii
Separator {{
  Coordinate3 {{ point [ {points} ] }}
  IndexedFaceSet {{ coordIndex [ {corners} ] }}
}}
"""
POINTS = "0 0 0, 1 0 0,\n 1 1 0 , 0 1 0"
SQUARE = [[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]]


@pytest.fixture
def read(tmp_path):
    """Read text or bytes as a VRML file."""

    def read_content(content: str | bytes) -> Mesh:
        path = tmp_path / "F0001_AN01WH_F3D.wrl"
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_wrl(path)

    return read_content


def vrml(points: str = POINTS, corners: str = "0, 1, 2, -1", template: str = V2, extra: str = "") -> str:
    return template.format(points=points, corners=corners, extra=extra)


@pytest.mark.parametrize("template", [V1, V2])
def test_rows_are_those_of_the_point_list_with_duplicates_and_unreferenced_ones(read, template):
    mesh = read(vrml("1 2 3, 1 2 3, 4 5 6 7 8 9 1e0 +2.0 3.", "4 2 0 -1", template))
    assert mesh.vertices.tolist() == [[1, 2, 3], [1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 2, 3]]
    assert mesh.faces.tolist() == [[4, 2, 0]]
    assert mesh.polygon_sizes is None


@pytest.mark.parametrize("template", [V1, V2])
@pytest.mark.parametrize("end", ["", ", -1", ", -1,"])
def test_polygons_become_fans_and_are_remembered_with_or_without_the_last_end(read, template, end):
    mesh = read(vrml(corners=f"0, 1, 2, 3, -1, 3 1\n2{end}", template=template))
    assert mesh.vertices.tolist() == SQUARE
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 2, 3], [3, 1, 2]]
    assert mesh.polygon_sizes.tolist() == [4, 3]


def test_clockwise_polygons_are_turned_and_keep_their_first_corner(read):
    mesh = read(vrml(corners="0 1 2 3 -1 3 1 2 -1", extra="ccw FALSE"))
    assert mesh.faces.tolist() == [[0, 3, 2], [0, 2, 1], [3, 2, 1]]
    assert read(vrml(extra="ccw TRUE")).faces.tolist() == [[0, 1, 2]]


def test_what_stands_beside_the_shape_is_counted(read):
    assert read(vrml()).ignored == {"TextureCoordinate": 1}
    moved = vrml().replace("DEF face", "Transform { scale 2 2 2 children").replace("utf8", "utf8\r")
    assert read(moved).ignored == {"TextureCoordinate": 1, "Transform": 1}
    assert read(moved).vertices.tolist() == SQUARE


def test_without_faces_it_is_a_point_cloud(read):
    assert read("#VRML V2.0 utf8\nCoordinate{point[1 2 3]}").face_count == 0


def test_the_extension_in_any_case_finds_the_reader(tmp_path):
    (tmp_path / "a.WRL").write_text(vrml())
    assert Mesh.read(tmp_path / "a.WRL").faces.tolist() == [[0, 1, 2]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x1f\x8b\x08rest", r"is compressed with gzip; wanted plain VRML. Unpack it"),
        ("ply\nformat ascii 1.0\n", r"line 1: found 'ply'; wanted '#VRML V2.0 utf8' or"),
        (vrml().encode() + b"\0", r"line 18: found a zero byte"),
        ("#VRML V2.0 utf8\nShape { }", r"has no vertices; wanted 'Coordinate \{ point"),
        (vrml(points="1 2"), r"point list that begins in line 8 has 2 numbers; wanted three for each vertex"),
        (vrml(points=""), r"point list that begins in line 8 has 0 numbers"),
        (vrml(points="0 0 0\n1 x2 0"), r"line 9: found 'x2'; wanted a number"),
        (vrml(points="0 0 0\n1 1_0 0"), r"line 9: found '1_0'; wanted a number"),
        (vrml(points="0 0 0 nan 0 0"), r"vertex 1 is \[nan, 0.0, 0.0\] \(1 such\); wanted finite"),
        (vrml(points="0 0 0 1e999 0 0"), r"vertex 1 is \[inf, 0.0, 0.0\]"),
        (vrml(corners="0 1 2 -1\n0 1 4 -1"), r"line 15: found '4'; wanted vertex indices 0 \.\.\. 3"),
        (vrml(corners="0 1 2 -2"), r"line 14: found '-2'"),
        (vrml(corners="0 1 99999999999999999999 -1"), r"line 14: found '99999999999999999999'"),
        (vrml(corners="0 1 2.0 -1"), r"line 14: found '2.0'"),
        (vrml(corners="0 1 2 -1 0 1 -1"), r"polygon 1 of the list that begins in line 13 has 2 corners"),
        (vrml(corners="0 1 2 -1 -1"), r"polygon 1 .* has 0 corners; wanted 3 or more"),
        (vrml().rsplit("coordIndex [", 1)[0] + "coordIndex [ 0, 1", r"list that begins in line 13 does not end"),
        (vrml() + vrml(), r"holds 2 point lists, the first in line 8; wanted one shape"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_line(read, content, message):
    with pytest.raises(MeshError, match=message) as caught:
        read(content)
    assert "F0001_AN01WH_F3D.wrl" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "piece", [b"coordIndex [", b"Coordinate { point [", b'"\\"', b"#", b"Coordinate ", b"ccw ", b'""', b"-1 "]
)
def test_hostile_text_takes_no_longer_than_its_length(read, piece):
    started = time.process_time()
    with pytest.raises(MeshError):
        read(b"#VRML V2.0 utf8\n" + piece * (2_000_000 // len(piece)))
    assert time.process_time() - started < 5


def test_a_face_of_the_size_of_a_scan_is_read_at_once(read):
    rng = np.random.default_rng(0)
    points, corners = rng.normal(size=(5996, 3)) * 80, rng.integers(0, 5996, (11_753, 3))
    text = vrml(
        ",\n".join(" ".join(map(repr, row)) for row in points.tolist()),
        ",\n".join(", ".join([*map(str, row), "-1"]) for row in corners.tolist()),
    )
    mesh = read(text)
    assert np.array_equal(mesh.vertices, points)
    assert np.array_equal(mesh.faces, corners)
