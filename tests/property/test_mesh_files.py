"""Generated and damaged mesh files: the fast readers against slow ones, and against chance."""

import random
import struct
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh.mesh import Labels, Mesh
from meshdisent.mesh.obj import read_obj, write_obj
from meshdisent.mesh.ply import read_ply, write_ply

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
NUMBERS = st.floats(-1e6, 1e6) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99).map(float)
WORDS = ["skin", "left eye", "a#b", "J\u00fcrgen", "v 1 2 3", "C:\\mesh", "off", "1"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


# ---------------------------------------------------------------- OBJ: a slow reader, and texts for it


def read_obj_slowly(text: str) -> SimpleNamespace:
    """Read a valid OBJ text the plain way: one line, one corner, one number at a time."""
    rows = {"v": [], "vt": [], "vn": []}
    polygons, labels, now, ignored = [], [], {}, {}
    lines = text.removeprefix("\ufeff").replace("\r\n", "\n").replace("\r", "\n").split("\n")
    while lines:
        line = lines.pop(0).strip()
        while line.endswith("\\") and line.split()[0] in ("v", "vt", "vn", "f", "l", "p"):
            line = line[:-1] + " " + lines.pop(0).strip()
        keyword, *words = line.split() or ["#"]
        if keyword in rows:
            rows[keyword].append([float(word) for word in " ".join(words).split("#")[0].split()])
        elif keyword == "f":
            corners = [[*corner.split("/"), "", ""] for corner in " ".join(words).split("#")[0].split()]
            polygons.append(
                [[count_back(rows[k], c) for k, c in zip(rows, corner, strict=False)] for corner in corners]
            )
            labels.append(dict(now))
        elif keyword in ("o", "g", "usemtl", "s"):
            now[keyword] = line[len(keyword) :].strip()
        elif keyword in ("l", "p"):
            ignored[keyword] = ignored.get(keyword, 0) + 1
    fans = [[polygon[0], *pair] for polygon in polygons for pair in pairwise(polygon[1:])]
    columns = np.array(fans, dtype=int).reshape(-1, 3, 3)
    return SimpleNamespace(
        **rows,
        faces=columns[:, :, 0],
        face_uv=columns[:, :, 1],
        face_normals=columns[:, :, 2],
        sizes=[len(polygon) for polygon in polygons],
        labels=[label for label, polygon in zip(labels, polygons, strict=True) for _ in polygon[2:]],
        ignored=ignored,
    )


def count_back(rows: list, written: str) -> int:
    if not written:
        return -1
    return int(written) - 1 if int(written) > 0 else len(rows) + int(written)


@st.composite
def obj_texts(draw) -> str:
    """A valid OBJ text in which everything that may differ between exporters does."""
    chance = draw(st.randoms(use_true_random=False))
    kinds = ["v"] * draw(st.integers(1, 8)) + ["vt"] * draw(st.integers(0, 3)) + ["vn"] * draw(st.integers(0, 3))
    kinds += ["f"] * draw(st.integers(0, 6)) + draw(
        st.lists(st.sampled_from(["o", "g", "usemtl", "s", "#", "", "l", "p"]))
    )
    chance.shuffle(kinds)
    widths = chance.choice([{"v": [3], "vt": [2]}, {"v": [3, 4, 6], "vt": [1, 2, 3]}])
    total = {kind: kinds.count(kind) for kind in ("v", "vt", "vn")}
    so_far, lines = dict.fromkeys(total, 0), []
    for kind in kinds:
        if kind in total:
            so_far[kind] += 1
            count = chance.choice(widths.get(kind, [3]))
            lines.append([kind, *(spell(chance, draw(NUMBERS)) for _ in range(count))])
        elif kind == "f":
            corners = [corner(chance, so_far, total) for _ in range(chance.choice([3, 3, 4, 5]))]
            lines.append([kind, *corners])
        elif kind in ("l", "p"):
            lines.append([kind, "1", "1"])
        else:
            lines.append([kind, chance.choice(["", *WORDS])] if kind else [""])
    return chance.choice(["", "\ufeff"]) + layout(chance, lines)


def spell(chance: random.Random, number: float) -> str:
    return chance.choice([repr, "{:e}".format, "{:.3f}".format, "{:+.17g}".format])(number)


def corner(chance: random.Random, so_far: dict[str, int], total: dict[str, int]) -> str:
    """An index, or two or three, from the front or from the back."""

    def index(kind: str) -> str:
        if so_far[kind] and chance.random() < 0.3:
            return str(-chance.randint(1, so_far[kind]))
        return str(chance.randint(1, total[kind]))

    texture = index("vt") if total["vt"] and chance.random() < 0.7 else ""
    normal = index("vn") if total["vn"] and chance.random() < 0.7 else ""
    if normal:
        return f"{index('v')}/{texture}/{normal}"
    return f"{index('v')}/{texture}" if texture else index("v") + chance.choice(["", "", "/", "//"])


def layout(chance: random.Random, lines: list[list[str]]) -> str:
    """Join the words with the blanks, comments, joined lines and line ends of one exporter or another."""
    newline = chance.choice(["\n", "\r\n", "\r"])
    is_plain, text = chance.random() < 0.3, ""
    for words in lines:
        is_numbers = words[0] in ("v", "vt", "vn", "f")
        text += "" if is_plain else chance.choice(["", "", " ", "\t"])
        for place, word in enumerate(words):
            joins = is_numbers and not is_plain and chance.random() < 0.1
            blank = chance.choice([" ", "  ", "\t", " \t "]) if is_numbers and not is_plain else " "
            text += ("" if place == 0 else (" \\" + newline if joins else blank)) + word
        text += chance.choice(["", " ", " # v 9 9 9"]) if is_numbers and not is_plain else ""
        text += newline
    return text if chance.random() < 0.8 else text.removesuffix(newline)


@SETTINGS
@given(text=obj_texts())
def test_the_fast_obj_reader_reads_what_a_slow_one_reads(folder, text):
    (folder / "text.obj").write_bytes(text.encode())
    mesh, slow = read_obj(folder / "text.obj"), read_obj_slowly(text)
    np.testing.assert_array_equal(mesh.vertices, [row[:3] for row in slow.v])
    np.testing.assert_array_equal(mesh.faces, slow.faces)
    assert (mesh.polygon_sizes.tolist() if mesh.polygon_sizes is not None else [3] * mesh.face_count) == slow.sizes
    check_seams(mesh, slow)
    check_labels(mesh, slow)
    for place, name in enumerate(("red", "green", "blue"), start=3):
        if any(len(row) == 6 for row in slow.v):
            expected = [row[place] if len(row) == 6 else np.nan for row in slow.v]
            np.testing.assert_array_equal(mesh.vertex_attributes[name], expected)
    if any(len(row) == 4 for row in slow.v):
        assert mesh.vertex_attributes["weight"].tolist() == [row[3] if len(row) == 4 else 1 for row in slow.v]
    assert mesh.ignored == slow.ignored


def check_seams(mesh: Mesh, slow: SimpleNamespace) -> None:
    if slow.vt:
        width = max(2, *map(len, slow.vt))
        np.testing.assert_array_equal(mesh.uv, [row + [0.0] * (width - len(row)) for row in slow.vt])
        np.testing.assert_array_equal(mesh.face_uv, slow.face_uv)
    if slow.vn:
        np.testing.assert_array_equal(mesh.normals, slow.vn)
        np.testing.assert_array_equal(mesh.face_normals, slow.face_normals)
    assert ((mesh.uv is None), (mesh.normals is None)) == (not slow.vt, not slow.vn)


def check_labels(mesh: Mesh, slow: SimpleNamespace) -> None:
    for keyword, kind in {"o": "object", "g": "group", "usemtl": "material", "s": "smoothing"}.items():
        labels = mesh.labels.get(kind, Labels((), np.full(mesh.face_count, -1)))
        names = [labels.names[row] if row >= 0 else "" for row in labels.of_face]
        assert names == [said.get(keyword, "") for said in slow.labels]


# ---------------------------------------------------------------- PLY: tables written by hand, in every encoding

TYPES = {"char": "b", "uchar": "B", "short": "h", "ushort": "H", "int": "i", "uint": "I", "float": "f", "double": "d"}


def values_of(kind: str) -> st.SearchStrategy:
    if kind in ("float", "double"):
        return st.floats(allow_nan=False, allow_infinity=False, width=32 if kind == "float" else 64)
    bits = struct.calcsize("=" + TYPES[kind]) * 8
    return st.integers(0, 2**bits - 1) if kind.startswith("u") else st.integers(-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)


@st.composite
def ply_tables(draw) -> list[tuple[str, list[tuple[str, str | None, str]], list[list]]]:
    """Elements: name, properties (type, count type or None, name), rows."""
    kinds = st.sampled_from(list(TYPES))
    counts = st.sampled_from(["uchar", "char", "ushort", "int", "uint"])
    axis = draw(st.sampled_from(["float", "double", "short"]))
    vertex = [(axis, None, name) for name in "xyz"]
    vertex += [(draw(kinds), draw(st.none() | counts), f"extra{i}") for i in range(draw(st.integers(0, 3)))]
    other = [(draw(kinds), draw(st.none() | counts), f"other{i}") for i in range(draw(st.integers(1, 3)))]
    corner_list = (
        draw(st.sampled_from(["int", "uint", "uchar"])),
        draw(counts),
        draw(st.sampled_from(["vertex_indices", "vertex_index"])),
    )
    face = draw(
        st.permutations([corner_list, *[("uchar", draw(st.none() | counts), "flag")][: draw(st.integers(0, 1))]])
    )
    vertex_count = draw(st.integers(1, 6))

    def row(properties: list) -> list:
        return [
            draw(st.lists(st.integers(0, vertex_count - 1), min_size=3, max_size=5))
            if name.startswith("vertex_ind")
            else draw(st.lists(values_of(kind), max_size=3) if count else values_of(kind))
            for kind, count, name in properties
        ]

    tables = [
        ("vertex", vertex, [row(vertex) for _ in range(vertex_count)]),
        ("face", face, [row(face) for _ in range(draw(st.integers(0, 4)))]),
        ("other", other, [row(other) for _ in range(draw(st.integers(0, 3)))]),
    ]
    return draw(st.permutations(tables))


def encode_ply(tables: list, encoding: str, newline: str = "\n") -> bytes:
    lines = ["ply", f"format {encoding} 1.0", "comment made by hand"]
    for name, properties, rows in tables:
        lines.append(f"element {name} {len(rows)}")
        lines += [f"property {f'list {count} ' if count else ''}{kind} {each}" for kind, count, each in properties]
    content = newline.join([*lines, "end_header", ""]).encode()
    order = {"binary_little_endian": "<", "binary_big_endian": ">"}.get(encoding)
    for _, properties, rows in tables:
        for row in rows:
            for (kind, count, _), value in zip(properties, row, strict=True):
                values = value if count else [value]
                if order is None:
                    content += " ".join([*([str(len(values))] if count else []), *map(repr, values), ""]).encode()
                else:
                    content += struct.pack(order + TYPES[count], len(values)) if count else b""
                    content += struct.pack(f"{order}{len(values)}{TYPES[kind]}", *values)
            content += newline.encode() if order is None else b""
    return content


@SETTINGS
@given(
    tables=ply_tables(),
    encoding=st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]),
    newline=st.sampled_from(["\n", "\r\n", "\r"]),
)
def test_a_ply_file_is_read_as_it_was_written_by_hand(folder, tables, encoding, newline):
    (folder / "table.ply").write_bytes(encode_ply(tables, encoding, newline))
    mesh = read_ply(folder / "table.ply")
    named = {name: (properties, rows) for name, properties, rows in tables}
    properties, rows = named["vertex"]
    np.testing.assert_array_equal(mesh.vertices, [row[:3] for row in rows])
    for place, (kind, count, name) in enumerate(properties[3:], start=3):
        values = [row[place] for row in rows]
        if count and len({len(each) for each in values}) > 1:
            assert mesh.ignored[f"vertex.{name}"] == len(rows)
        else:
            assert mesh.vertex_attributes[name].dtype == np.dtype("=" + TYPES[kind])
            np.testing.assert_array_equal(
                mesh.vertex_attributes[name],
                np.array(values).reshape(len(rows), *[-1] * bool(count))
                if rows and values != [[]] * len(rows)
                else np.empty((len(rows), 0)),
            )
    properties, rows = named["face"]
    place = [name for _, _, name in properties].index(next(n for _, _, n in properties if n.startswith("vertex_ind")))
    polygons = [row[place] for row in rows]
    assert mesh.faces.tolist() == [[p[0], *pair] for p in polygons for pair in pairwise(p[1:])]
    sizes = [3] * mesh.face_count if mesh.polygon_sizes is None else mesh.polygon_sizes.tolist()
    assert sizes == [len(polygon) for polygon in polygons]


# ---------------------------------------------------------------- writing and reading back


@st.composite
def mesh_arguments(draw) -> dict:
    """What makes a mesh with everything that OBJ and PLY carry."""
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vertex_count, polygon_count = draw(st.integers(1, 9)), draw(st.integers(0, 5))
    kind = draw(st.sampled_from([np.float32, np.float64]))
    sizes = generator.integers(3, 6, polygon_count)
    fans = [generator.integers(low, high, sizes.sum()) for low, high in ((0, vertex_count), (-1, 3), (-1, 2))]
    starts = np.repeat(np.cumsum(sizes) - sizes, sizes - 2)
    step = np.concatenate([np.arange(1, size - 1) for size in sizes] or [[]]).astype(int)
    faces, face_uv, face_normals = (f[np.stack([starts, starts + step, starts + step + 1], axis=1)] for f in fans)
    names = draw(st.lists(st.sampled_from(WORDS), min_size=1, max_size=3, unique=True))
    rows = np.repeat(generator.integers(-1, len(names), polygon_count), sizes - 2)
    has_uv, has_normals, colors = draw(st.booleans()), draw(st.booleans()), generator.random(vertex_count)
    return {
        "vertices": generator.normal(0, 10.0 ** draw(st.integers(-30, 30)), (vertex_count, 3)).astype(kind),
        "faces": faces,
        "polygon_sizes": None if (sizes == 3).all() else sizes,
        "uv": generator.random((3, draw(st.integers(2, 3)))) if has_uv else None,
        "face_uv": face_uv if has_uv else None,
        "normals": generator.normal(size=(2, 3)) if has_normals else None,
        "face_normals": face_normals if has_normals else None,
        "labels": dict.fromkeys(draw(st.sets(st.sampled_from(["object", "group", "smoothing"]))), (tuple(names), rows)),
        "material_files": tuple(draw(st.lists(st.sampled_from(WORDS), max_size=2))),
        "vertex_attributes": dict.fromkeys(draw(st.sampled_from([(), ("red", "green", "blue")])), colors),
    }


def make_mesh(arguments: dict) -> Mesh:
    """Not inside the strategy: the shape checks of the tests draw random numbers, which hypothesis forbids there."""
    labels = {kind: Labels(*names_and_rows) for kind, names_and_rows in arguments["labels"].items()}
    return Mesh(**(arguments | {"labels": labels}))


def check_same(again: Mesh, mesh: Mesh, names: tuple[str, ...]) -> None:
    for name in names:
        if getattr(mesh, name) is None:
            assert getattr(again, name) is None
        else:
            np.testing.assert_array_equal(getattr(again, name), getattr(mesh, name))
    assert set(again.vertex_attributes) == set(mesh.vertex_attributes)
    for name, values in mesh.vertex_attributes.items():
        np.testing.assert_array_equal(again.vertex_attributes[name], values)


@SETTINGS
@given(arguments=mesh_arguments())
def test_an_obj_file_gives_back_everything_that_was_written(folder, arguments):
    mesh = make_mesh(arguments)
    write_obj(folder / "mesh.obj", mesh, overwrite=True)
    again = read_obj(folder / "mesh.obj")
    check_same(again, mesh, ("vertices", "faces", "polygon_sizes", "uv", "face_uv", "normals", "face_normals"))
    assert again.material_files == mesh.material_files
    for kind, labels in mesh.labels.items():
        said = again.labels.get(kind, Labels((), np.full(mesh.face_count, -1)))
        named = [[each.names[row] if row >= 0 else None for row in each.of_face] for each in (said, labels)]
        assert named[0] == named[1]


@SETTINGS
@given(arguments=mesh_arguments(), ascii=st.booleans())
def test_a_ply_file_gives_back_geometry_and_attributes(folder, arguments, ascii):
    mesh = make_mesh(arguments)
    write_ply(folder / "mesh.ply", mesh, overwrite=True, ascii=ascii)
    check_same(read_ply(folder / "mesh.ply"), mesh, ("vertices", "faces", "polygon_sizes"))


# ---------------------------------------------------------------- damage


def damage(content: bytes, chance: random.Random) -> bytes:
    """Change, cut, double or insert a few bytes, as bad disks, broken transfers and editors do."""
    for _ in range(chance.randint(1, 4)):
        a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        b = min(b, a + chance.choice([1, 4, 400]))
        piece = chance.choice(
            [b"", b"0", b"-", b" ", b"\n", b"\\\n", b"#", b"999999999", b"nan", b"1e999", b"/", b"\xff", b"\0"]
        )
        before, cut, after = content[:a], content[a:b], content[b:]
        scrambled = chance.randbytes(b - a)
        content = chance.choice(
            [
                before,
                before + after,
                before + piece + after,
                before + piece + cut + after,
                before + cut + cut + after,
                before + scrambled + after,
            ]
        )
    return content


@settings(SETTINGS, max_examples=150)
@given(text=obj_texts(), chance=st.randoms(use_true_random=False))
def test_a_damaged_obj_file_is_read_or_refused_and_nothing_else(folder, text, chance):
    check_read_or_refused(folder / "damaged.obj", damage(text.encode(), chance))


@settings(SETTINGS, max_examples=150)
@given(
    tables=ply_tables(),
    encoding=st.sampled_from(["ascii", "binary_little_endian", "binary_big_endian"]),
    chance=st.randoms(use_true_random=False),
)
def test_a_damaged_ply_file_is_read_or_refused_and_nothing_else(folder, tables, encoding, chance):
    check_read_or_refused(folder / "damaged.ply", damage(encode_ply(tables, encoding), chance))


@pytest.mark.parametrize("extension", [".obj", ".ply"])
@settings(SETTINGS, max_examples=100)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(folder, extension, content):
    check_read_or_refused(folder / f"bytes{extension}", content)
    check_read_or_refused(folder / f"bytes{extension}", b"ply\nformat ascii 1.0\n" + content)


def check_read_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    try:
        mesh = Mesh.read(path)
    except MeshError as error:
        message = str(error)
    else:
        assert np.isfinite(mesh.vertices).all()
        return
    assert message.startswith(str(path))
    assert "wanted" in message
