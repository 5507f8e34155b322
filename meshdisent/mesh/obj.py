r"""OBJ files, read and written without ever reordering a vertex.

Read: ``v`` with three numbers, four (weight) or six (color); ``vt``, ``vn``; ``f`` with every form of corner, any
number of corners and negative indices; ``o``, ``g``, ``usemtl``, ``s`` as labels of faces; ``mtllib`` as a name that is
never opened. Points, lines, curves, surfaces and display settings have no place in a mesh of faces: they are counted in
``Mesh.ignored``. Any other statement is an error, because a damaged ``v`` that is passed over would shift every later
vertex.

Common readers split vertices at texture seams and by material (26,719 vertices of a head become 28,911, 104,988 or
257,701), which destroys the correspondence between scans; that is why this one exists.
"""

import hashlib
import os
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import MeshError
from meshdisent.files import writing
from meshdisent.mesh.contents import file_contents
from meshdisent.mesh.mesh import Labels, Mesh
from meshdisent.mesh.obj_text import BLOCKS, Block, Corners, parse_corners, parse_numbers, split_blocks
from meshdisent.mesh.polygons import fan, polygon_corners

LABELS = {"o": "object", "g": "group", "usemtl": "material", "s": "smoothing"}
IGNORED = {
    "p", "l", "vp", "cstype", "deg", "bmat", "step", "curv", "curv2", "surf", "parm", "trim", "hole", "scrv", "sp",
    "end", "con", "mg", "bevel", "c_interp", "d_interp", "lod", "maplib", "usemap", "shadow_obj", "trace_obj", "ctech",
    "stech",
}  # fmt: skip
Given = TypeVar("Given")
Parsed = tuple[Any, ...]  # arrays, or None where a file has none
Statements = list[tuple[int, str, str]]  # line number, keyword, the rest of the line


def read_obj(path: str | os.PathLike) -> Mesh:
    """Read an OBJ file: vertex k of the file is row k.

    Polygons become fans of triangles and are remembered. Colors become the vertex attributes ``red``, ``green``,
    ``blue`` (NaN for a vertex without), weights ``weight`` (1 for a vertex without; positions are not divided by it).
    A label is -1 where the file gives none or an empty name; ``g a b`` is one group named ``a b``. Texture coordinates
    and normals may be NaN, positions may not.

    Raises
    ------
    MeshError : If the file is absent or no OBJ, naming the line, what was found and what was wanted.
    """
    blocks, others = split_blocks(file_contents(path), str(path))
    statements = _statements(others, str(path))
    vertices, attributes = _vertices(blocks[b"v"])
    uv, normals = _last_uv.give(blocks[b"vt"])[0], _normals(blocks[b"vn"])
    sizes, faces, face_uv, face_normals = _last_faces.give(blocks)
    ignored = [keyword for _, keyword, _ in statements if keyword in IGNORED]
    return Mesh(
        vertices,
        faces,
        polygon_sizes=None if (sizes == 3).all() else sizes,
        uv=uv,
        face_uv=None if uv is None else face_uv,
        normals=normals,
        face_normals=None if normals is None else face_normals,
        labels=_labels(statements, np.repeat(blocks[b"f"].lines, sizes - 2)),
        material_files=tuple(rest for _, keyword, rest in statements if keyword == "mtllib" and rest),
        vertex_attributes=attributes,
        ignored={keyword: ignored.count(keyword) for keyword in sorted(set(ignored))},
    )


def write_obj(path: str | os.PathLike, mesh: Mesh, overwrite: bool = False) -> None:
    """Write an OBJ file with everything that :func:`read_obj` reads; polygons come back as polygons.

    Numbers are written with as many digits as it takes to read the same float64 again, so nothing is rounded. Of the
    vertex attributes, ``red``, ``green``, ``blue`` are written as colors (integers divided by 255) or else ``weight``;
    OBJ has no place for others. All vertices come first, so a label without faces is left out.

    Raises
    ------
    MeshError : If a name cannot stand on a line of its own.
    UsageError : If the file exists and ``overwrite`` is false.
    """
    lines = [f"mtllib {_name(name)}" for name in mesh.material_files]
    lines += _number_lines("v", np.column_stack([mesh.vertices, *_extra_columns(mesh)]))
    lines += [] if mesh.uv is None else _number_lines("vt", mesh.uv)
    lines += [] if mesh.normals is None else _number_lines("vn", mesh.normals)
    lines += _face_lines(mesh)
    with writing(path, overwrite) as aside:
        aside.write_bytes("\n".join([*lines, ""]).encode())


def _statements(others: list[tuple[int, bytes]], source: str) -> Statements:
    """Take keyword and rest apart, and refuse what is no statement of OBJ."""
    statements = []
    for line, text in others:
        first, _, rest = text.partition(b" ") if b"\t" not in text else _at_blank(text)
        keyword = first.decode("latin-1")
        if keyword not in LABELS and keyword not in IGNORED and keyword != "mtllib":
            raise MeshError(
                f"{source}, line {line}: found {keyword[:60]!r}; wanted a statement of OBJ: v, vt, vn, f, o, g, s, "
                "usemtl, mtllib. The file is damaged or of another format; export it again, or correct its extension."
            )
        statements.append((line, keyword, _decode(rest.strip())))
    return statements


def _vertices(block: Block) -> tuple[Float[np.ndarray, "vertex 3"], dict[str, np.ndarray]]:
    if not len(block.lines):
        raise MeshError(f"{block.source} has no vertices; wanted lines 'v x y z'. Export the mesh again.")
    numbers, counts = parse_numbers(block, (3, 4, 6))
    wrong = np.flatnonzero(~np.isfinite(numbers[:, :3]).all(axis=1))
    if len(wrong):
        found = f"a coordinate that is not finite ({len(wrong)} such lines)"
        raise block.fault(int(wrong[0]), found, "finite numbers in float64")
    attributes = {}
    if (counts == 4).any():
        attributes["weight"] = np.where(counts == 4, numbers[:, 3], 1.0)
    if (counts == 6).any():
        colors = np.where(counts[:, None] == 6, numbers[:, 3:], np.nan)
        attributes |= {name: colors[:, channel].copy() for channel, name in enumerate(_COLORS)}
    return np.ascontiguousarray(numbers[:, :3]), attributes


def _texture_coordinates(block: Block) -> Float[np.ndarray, "texture _"] | None:
    """What a line leaves out (v or w) is 0, as the format says."""
    if not len(block.lines):
        return None
    numbers, counts = parse_numbers(block, (1, 2, 3))
    numbers = np.where(np.arange(3) < counts[:, None], numbers, 0.0)
    return np.ascontiguousarray(numbers[:, : max(2, int(counts.max()))])


class _LastParsed(Generic[Given]):
    """The parsed form of what was read last: scans of one topology repeat their faces and texture coordinates.

    What is compared is a digest of the text, so that a difference in a single character is parsed anew. Faults are not
    remembered, and whoever asks gets arrays of his own.
    """

    def __init__(self, key: Callable[[Given], tuple], parse: Callable[[Given], Parsed]):
        self._key, self._parse = key, parse
        self._last: tuple[tuple, Parsed] | None = None

    def give(self, given: Given) -> Parsed:
        """Parse, or copy what was parsed before."""
        key, last = self._key(given), self._last  # taken once: another thread may put its own there
        if last is None or last[0] != key:
            last = key, self._parse(given)
            self._last = last
        return tuple(None if array is None else array.copy() for array in last[1])


def _digest(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).digest()


def _normals(block: Block) -> Float[np.ndarray, "normal 3"] | None:
    return parse_numbers(block, (3,))[0] if len(block.lines) else None


def _resolve(corners: Corners, blocks: dict[bytes, Block]) -> Corners:
    """Turn written indices into rows: from 1 or back from the line of the face, to from 0; -1 where there is none."""
    polygon = np.repeat(np.arange(len(corners.sizes)), corners.sizes)
    rows = np.empty_like(corners.indices)
    for column, keyword in enumerate((b"v", b"vt", b"vn")):
        written, count = corners.indices[:, column], len(blocks[keyword].lines)
        rows[:, column] = written - 1
        is_negative = written < 0
        if is_negative.any():
            before = np.searchsorted(blocks[keyword].lines, blocks[b"f"].lines)[polygon]  # read so far, at that line
            rows[is_negative, column] = (before + written)[is_negative]
        wrong = np.flatnonzero((written != 0) & ((rows[:, column] < 0) | (rows[:, column] >= count)))
        if len(wrong):
            wanted = f"1 ... {count}, or negative within the lines above" if count else "no such index"
            raise blocks[b"f"].fault(
                int(polygon[wrong[0]]),
                f"index {written[wrong[0]]}",
                f"{wanted}, as there are {count} '{keyword.decode()}' lines",
            )
    return Corners(rows, corners.sizes)


def _faces_key(blocks: dict[bytes, Block]) -> tuple:
    """All that the faces depend on: their text and, for negative indices, what stands above which line."""
    faces = blocks[b"f"]
    counts = [len(blocks[keyword].lines) for keyword in (b"v", b"vt", b"vn")]
    places = [_digest(blocks[keyword].lines.tobytes()) for keyword in BLOCKS] if b"-" in faces.text else []
    return (_digest(faces.text), *counts, *places)


def _parse_faces(blocks: dict[bytes, Block]) -> Parsed:
    """Sizes of the polygons; positions, texture coordinates and normals of the triangles' corners."""
    corners = _resolve(parse_corners(blocks[b"f"]), blocks)
    triangles = fan(corners.sizes)
    return corners.sizes, *(np.ascontiguousarray(corners.indices[:, column])[triangles] for column in range(3))


_last_faces = _LastParsed(_faces_key, _parse_faces)
_last_uv: _LastParsed[Block] = _LastParsed(
    lambda block: (_digest(block.text),), lambda block: (_texture_coordinates(block),)
)


def _labels(statements: Statements, face_lines: Int[np.ndarray, " face"]) -> dict[str, Labels]:
    """What each statement says of the faces below it, up to the next of its kind."""
    labels = {}
    for keyword, kind in LABELS.items():
        said = [(line, rest) for line, found, rest in statements if found == keyword]
        if not said:
            continue
        names = tuple(dict.fromkeys(name for _, name in said if name))
        row_of = {name: row for row, name in enumerate(names)} | {"": -1}
        rows = np.array([-1] + [row_of[name] for _, name in said])
        labels[kind] = Labels(names, rows[np.searchsorted([line for line, _ in said], face_lines)])
    return labels


_COLORS = ("red", "green", "blue")


def _at_blank(text: bytes) -> tuple[bytes, bytes, bytes]:
    first, *rest = text.split(None, 1)
    return first, b" ", rest[0] if rest else b""


def _decode(name: bytes) -> str:
    """Names are UTF-8, or else Latin-1, in which every byte is a character."""
    try:
        return name.decode()
    except UnicodeDecodeError:
        return name.decode("latin-1")


def _name(name: str) -> str:
    """A name that may stand on a line of its own and is read back as it is."""
    encoded = name.encode(errors="replace")
    if not name or encoded.decode() != name or encoded.strip() != encoded or any(mark in name for mark in "\n\r\0"):
        raise MeshError(
            f"The name {name!r} cannot be written to an OBJ file; wanted one line without blanks at its ends. "
            "Rename it."
        )
    return name


def _extra_columns(mesh: Mesh) -> list[Float[np.ndarray, " vertex"]]:
    """Colors or weights, to stand behind the positions."""
    attributes = mesh.vertex_attributes
    if all(name in attributes and attributes[name].ndim == 1 for name in _COLORS):
        colors = [attributes[name] for name in _COLORS]
        return [color / 255.0 if color.dtype.kind in "iu" else color.astype(np.float64) for color in colors]
    weight = attributes.get("weight")
    return [weight.astype(np.float64)] if weight is not None and weight.ndim == 1 else []


def _number_lines(keyword: str, numbers: Float[np.ndarray, "row column"]) -> Iterator[str]:
    """One line a row, without the color of a vertex that has none."""
    colorless = np.isnan(numbers[:, 3:]).all(axis=1) if numbers.shape[1] == 6 else np.zeros(len(numbers), dtype=bool)
    for row, is_colorless in zip(numbers.tolist(), colorless.tolist(), strict=True):
        yield f"{keyword} {' '.join(map(repr, row[:3] if is_colorless else row))}"


def _face_lines(mesh: Mesh) -> Iterator[str]:
    """The polygons, each behind the labels that begin with it."""
    sizes = np.full(mesh.face_count, 3) if mesh.polygon_sizes is None else mesh.polygon_sizes
    corner_rows = [
        polygon_corners(rows, sizes) if rows is not None else np.full(int(sizes.sum()), -1)
        for rows in (mesh.faces, mesh.face_uv, mesh.face_normals)
    ]
    corners = [_corner(*rows) for rows in zip(*(rows.tolist() for rows in corner_rows), strict=True)]
    begins = _label_lines(mesh, np.cumsum(sizes - 2) - (sizes - 2))
    stop = 0
    for polygon, size in enumerate(sizes.tolist()):
        yield from begins.get(polygon, ())
        yield "f " + " ".join(corners[stop : stop + size])
        stop += size


def _corner(vertex: int, texture: int, normal: int) -> str:
    if normal >= 0:
        return f"{vertex + 1}/{texture + 1 if texture >= 0 else ''}/{normal + 1}"
    return f"{vertex + 1}/{texture + 1}" if texture >= 0 else f"{vertex + 1}"


def _label_lines(mesh: Mesh, first_triangle: Int[np.ndarray, " polygon"]) -> dict[int, list[str]]:
    """The label statements that stand before each polygon."""
    lines: dict[int, list[str]] = {}
    for keyword, kind in LABELS.items():
        if kind not in mesh.labels:
            continue
        labels = mesh.labels[kind]
        rows = labels.of_face[first_triangle]
        for polygon in np.flatnonzero(np.diff(rows, prepend=-1)).tolist():
            name = f" {_name(labels.names[rows[polygon]])}" if rows[polygon] >= 0 else ""  # alone it ends the label
            lines.setdefault(polygon, []).append(keyword + name)
    return lines
