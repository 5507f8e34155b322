"""VRML files (``.wrl``, 1.0 and 2.0) with vertices in the order of the file.

Read: the one list ``Coordinate { point [...] }`` (``Coordinate3`` in VRML 1.0) and the one ``coordIndex [...]`` of an
``IndexedFaceSet``, polygons separated by -1. Positions are taken as they are written: transformations above the shape,
texture coordinates, normals and colors are counted in ``Mesh.ignored``. A file with several shapes is refused, for it
has no one numbering of its vertices.
"""

import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import MeshError
from meshdisent.mesh.contents import file_contents
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.polygons import fan

Number = TypeVar("Number", int, float)

_POINTS = re.compile(rb"\bCoordinate3?\s*\{\s*point\s*\[")
_CORNERS = re.compile(rb"\bcoordIndex\s*\[")
_CLOCKWISE = re.compile(rb"\bccw\s+FALSE\b|\bvertexOrdering\s+CLOCKWISE\b")
_BESIDE = re.compile(
    rb"\b(Transform|MatrixTransform|Translation|Rotation|Scale|TextureCoordinate2?|Normal|Color|Material)\s*\{"
)
_QUOTED_OR_COMMENT = re.compile(rb'"(?:[^"\\]|\\.)*+"?|#[^\n]*', re.DOTALL)  # one look at each byte
_SHOWN = 40  # characters of a faulty word in a message


@dataclass(frozen=True)
class _List:
    """What stands between the brackets of one field, and where, for messages."""

    text: bytes
    first_line: int
    source: str

    def numbers(self, convert: Callable[[bytes], Number], wanted: str) -> list[Number]:
        """Convert every word; commas count as blanks, as VRML says."""
        words = self.text.replace(b",", b" ").split()
        try:
            if b"_" not in self.text:  # Python reads 1_0 as a number; nobody else does
                return list(map(convert, words))
        except ValueError:
            pass
        for word in words:
            try:
                if b"_" not in word:
                    convert(word)
                    continue
            except ValueError:
                pass
            raise self.fault(word, wanted)
        return []

    def fault(self, word: bytes, wanted: str) -> MeshError:
        """Make the error for the first appearance of a word."""
        place = re.search(rb"(?<![^\s,])" + re.escape(word) + rb"(?![^\s,])", self.text)
        line = self.first_line + self.text.count(b"\n", 0, place.start() if place else 0)
        shown = word[:_SHOWN].decode("latin-1") + ("..." if len(word) > _SHOWN else "")
        return MeshError(
            f"{self.source}, line {line}: found {shown!r}; wanted {wanted}. Mend the line, or export the mesh again."
        )


def read_wrl(path: str | os.PathLike) -> Mesh:
    """Read a VRML file: row k of its ``point`` list is row k.

    Polygons become fans of triangles and are remembered; where the file says that they are clockwise, they are turned.
    A file without ``coordIndex`` is a point cloud.

    Raises
    ------
    MeshError : If the file is absent, no VRML, damaged, or holds several shapes; naming the line where there is one.
    """
    source = str(path)
    text = _bare(file_contents(path), source)
    points, corners = _only(_POINTS, text, source, "point lists"), _only(_CORNERS, text, source, "lists of faces")
    if points is None:
        raise MeshError(f"{source} has no vertices; wanted 'Coordinate {{ point [x y z, ...] }}'. Export it again.")
    vertices = _vertices(points)
    ignored: dict[str, int] = {}
    for name in _BESIDE.findall(text):
        ignored[name.decode()] = ignored.get(name.decode(), 0) + 1
    if corners is None:
        return Mesh(vertices, ignored=ignored)
    indices, sizes = _polygons(corners, len(vertices))
    if _CLOCKWISE.search(text):
        indices = _turned(indices, sizes)
    return Mesh(vertices, indices[fan(sizes)], polygon_sizes=None if (sizes == 3).all() else sizes, ignored=ignored)


def _bare(content: bytes, source: str) -> bytes:
    """The text without comments and quoted words; line numbers stay those of the file."""
    if content[:2] == b"\x1f\x8b":
        raise MeshError(f"{source} is compressed with gzip; wanted plain VRML. Unpack it (gunzip) first.")
    text = content.removeprefix(b"\xef\xbb\xbf")
    if not text.startswith((b"#VRML V1.0", b"#VRML V2.0")):
        found = text[:_SHOWN].partition(b"\n")[0].decode("latin-1")
        raise MeshError(
            f"{source}, line 1: found {found!r}; wanted '#VRML V2.0 utf8' or '#VRML V1.0 "
            "ascii'. The file is damaged or of another format; export it again, or correct its extension."
        )
    if b"\0" in text:
        line = text.count(b"\n", 0, text.index(b"\0")) + 1
        raise MeshError(f"{source}, line {line}: found a zero byte; wanted the text of a VRML file. Copy it again.")
    text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return _QUOTED_OR_COMMENT.sub(lambda found: b"\n" * found[0].count(b"\n"), text)


def _only(opening: re.Pattern[bytes], text: bytes, source: str, what: str) -> _List | None:
    """The one list that begins so; None if there is none."""
    found = list(opening.finditer(text))
    if not found:
        return None
    first_line = text.count(b"\n", 0, found[0].end()) + 1
    if len(found) > 1:
        raise MeshError(
            f"{source} holds {len(found)} {what}, the first in line {first_line}; wanted one shape. Export the face "
            "alone, as one shape."
        )
    closing = text.find(b"]", found[0].end())
    if closing < 0:
        raise MeshError(
            f"{source}: the list that begins in line {first_line} does not end; wanted ']'. The file was cut off; "
            "copy or export it again."
        )
    return _List(text[found[0].end() : closing], first_line, source)


def _vertices(points: _List) -> Float[np.ndarray, "vertex 3"]:
    values = np.array(points.numbers(float, "a number"), dtype=np.float64)
    if not len(values) or len(values) % 3:
        raise MeshError(
            f"{points.source}: the point list that begins in line {points.first_line} has {len(values)} numbers; "
            "wanted three for each vertex. The file is damaged; export the mesh again."
        )
    vertices = values.reshape(-1, 3)
    wrong = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(wrong):
        raise MeshError(
            f"{points.source}: vertex {wrong[0]} is {vertices[wrong[0]].tolist()} ({len(wrong)} such); wanted finite "
            "numbers. Repair the scan or leave it out."
        )
    return vertices


def _polygons(corners: _List, vertex_count: int) -> tuple[Int[np.ndarray, " corner"], Int[np.ndarray, " polygon"]]:
    """All corners one after the other, and the number of corners of each polygon."""
    wanted = f"vertex indices 0 ... {vertex_count - 1}, and -1 behind each polygon"
    values = corners.numbers(int, wanted)
    odd = next((value for value in values if not -1 <= value < vertex_count), None)
    if odd is not None:
        raise corners.fault(str(odd).encode(), wanted)
    indices = np.array(values, dtype=np.int64)
    if len(indices) and indices[-1] != -1:  # the last polygon may go without its end
        indices = np.append(indices, -1)
    ends = np.flatnonzero(indices == -1)
    sizes = np.diff(ends, prepend=-1) - 1
    few = np.flatnonzero(sizes < 3)
    if len(few):
        raise MeshError(
            f"{corners.source}: polygon {few[0]} of the list that begins in line {corners.first_line} has "
            f"{sizes[few[0]]} corners; wanted 3 or more. Take the face out, or export the mesh again."
        )
    return indices[indices >= 0], sizes


def _turned(corners: Int[np.ndarray, " corner"], sizes: Int[np.ndarray, " polygon"]) -> Int[np.ndarray, " corner"]:
    """The corners of each polygon the other way round, beginning with the same one."""
    first = np.repeat(np.cumsum(sizes) - sizes, sizes)
    place = np.arange(len(corners)) - first
    return corners[first + (-place) % np.repeat(sizes, sizes)]
