"""PLY files, text and both byte orders, with vertices in the order of the file.

Read: ``x y z`` and every other number of a vertex as a vertex attribute (colors, normals, quality, ...; a list too if
it is as long for every vertex), faces of any size under ``vertex_indices`` or ``vertex_index``. Other face properties,
ragged vertex lists and other elements have no place in a :class:`Mesh`: they are counted in ``Mesh.ignored``.
"""

import os
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float, Int, Integer, Shaped, UInt8

from meshdisent.errors import MeshError
from meshdisent.files import writing
from meshdisent.mesh.contents import file_contents
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.ply_body import Lists, Table, parse_tables
from meshdisent.mesh.ply_header import Element, parse_header
from meshdisent.mesh.polygons import fan, polygon_corners

CORNER_LISTS = ("vertex_indices", "vertex_index")
TYPE_NAMES = {
    "i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float",
    "f8": "double",
}  # fmt: skip


def read_ply(path: str | os.PathLike) -> Mesh:
    """Read a PLY file: row k of the element ``vertex`` is row k.

    Polygons become fans of triangles and are remembered. A file without faces is a point cloud.

    Raises
    ------
    MeshError : If the file is absent or no PLY, naming the element and row (or byte, or header line).
    """
    source = str(path)
    order, elements, body = parse_header(file_contents(path), source)
    named = {element.name: element for element in elements}
    if "tristrips" in named:
        raise MeshError(f"{source} holds triangle strips; wanted an element 'face'. Export it with plain faces.")
    tables = parse_tables(order, elements, body, source)
    vertices, attributes, ragged = _vertices(named.get("vertex"), tables, source)
    corners, sizes = _polygons(named.get("face"), tables, len(vertices), source)
    ignored = {f"vertex.{name}": len(vertices) for name in ragged}
    beside = [name for name in tables.get("face", {}) if name not in CORNER_LISTS]
    ignored |= {f"face.{name}": len(sizes) for name in beside if len(sizes)}
    ignored |= {each.name: each.count for each in elements if each.name not in ("vertex", "face") and each.count}
    return Mesh(
        vertices,
        corners[fan(sizes)],
        polygon_sizes=None if (sizes == 3).all() else sizes,
        vertex_attributes=attributes,
        ignored=ignored,
    )


def write_ply(path: str | os.PathLike, mesh: Mesh, overwrite: bool = False, ascii: bool = False) -> None:
    """Write a PLY file: binary little endian, or text.

    Positions are ``float`` if all of them are float32 numbers and ``double`` if not, so nothing is rounded. Polygons
    come back as polygons; vertex attributes keep their types (64-bit integers and booleans get one that holds them).
    Texture coordinates, normals of corners, labels and material names are left out: PLY has no common form for them,
    OBJ has.

    Raises
    ------
    MeshError : If a vertex attribute has a name or values that PLY cannot hold.
    UsageError : If the file exists and ``overwrite`` is false.
    """
    columns = {name: mesh.vertices[:, axis] for axis, name in enumerate("xyz")}
    kind = np.float32 if np.array_equal(_as_float32(mesh.vertices), mesh.vertices) else np.float64
    columns = {name: values.astype(kind) for name, values in columns.items()}
    for name, values in mesh.vertex_attributes.items():
        columns[_attribute_name(name)] = _storable(name, values)
    sizes = np.full(mesh.face_count, 3) if mesh.polygon_sizes is None else mesh.polygon_sizes
    corners = polygon_corners(mesh.faces, sizes).astype(np.int32)
    count_kind = np.uint8 if sizes.max(initial=0) < 256 else np.int32
    header = [
        "ply",
        f"format {'ascii' if ascii else 'binary_little_endian'} 1.0",
        f"element vertex {mesh.vertex_count}",
        *(_property_line(name, values) for name, values in columns.items()),
        f"element face {len(sizes)}",
        f"property list {TYPE_NAMES[np.dtype(count_kind).str[1:]]} int vertex_indices",
        "end_header",
    ]
    with writing(path, overwrite) as aside, open(aside, "wb") as file:
        file.write("\n".join([*header, ""]).encode("ascii"))
        if ascii:
            file.writelines(_text_rows(columns))
            file.writelines(_text_polygons(corners, sizes))
        else:
            file.write(_binary_rows(columns, mesh.vertex_count))
            file.write(_binary_polygons(corners, sizes.astype(count_kind)))


def _vertices(
    element: Element | None, tables: dict[str, Table], source: str
) -> tuple[Float[np.ndarray, "vertex 3"], dict[str, np.ndarray], list[str]]:
    """Positions, attributes, and the names of the lists that are too ragged for one."""
    if element is None or not element.count:
        raise MeshError(f"{source} has no vertices; wanted an element 'vertex' with rows. Export the mesh again.")
    columns = dict(tables.get("vertex", {}))
    axes = [axis for axis in (columns.pop(name, None) for name in "xyz") if isinstance(axis, np.ndarray)]
    if len(axes) < 3:
        found = ", ".join(each.name for each in element.properties)
        raise MeshError(f"{source}, element vertex: found the properties {found}; wanted x, y and z. Export it again.")
    with np.errstate(invalid="ignore"):  # a signaling NaN says so when it is converted; all NaN are refused below
        vertices = np.stack(axes, axis=1).astype(np.float64)
    wrong = np.flatnonzero(~np.isfinite(vertices).all(axis=1))
    if len(wrong):
        raise MeshError(
            f"{source}, element vertex, row {wrong[0]}: found {vertices[wrong[0]].tolist()} ({len(wrong)} such rows); "
            "wanted finite numbers. Repair the scan or leave it out."
        )
    attributes, ragged = {}, []
    for name, values in columns.items():
        if not isinstance(values, Lists):
            attributes[name] = values
        elif (values.lengths == values.lengths[0]).all():
            attributes[name] = values.values.reshape(len(vertices), -1)
        else:
            ragged.append(name)
    return vertices, attributes, ragged


def _polygons(
    element: Element | None, tables: dict[str, Table], vertex_count: int, source: str
) -> tuple[Int[np.ndarray, " corner"], Int[np.ndarray, " polygon"]]:
    """All corners one after the other, and the number of corners of each polygon."""
    if element is None or not element.count:
        return np.empty(0, dtype=np.int64), np.empty(0, dtype=np.int64)
    table = tables.get("face", {})
    lists = next((table[name] for name in CORNER_LISTS if name in table), None)
    if not isinstance(lists, Lists) or lists.values.dtype.kind not in "iu":
        found = ", ".join(f"{each.name} ({each.type})" for each in element.properties) or "none"
        raise MeshError(
            f"{source}, element face: found the properties {found}; wanted a list of integers named vertex_indices. "
            "Export the mesh again."
        )
    corners, sizes = lists.values.astype(np.int64), lists.lengths
    few = np.flatnonzero(sizes < 3)
    if len(few):
        raise MeshError(
            f"{source}, element face, row {few[0]}: found {sizes[few[0]]} corners; wanted 3 or more. Take the face "
            "out, or export the mesh again."
        )
    wrong = np.flatnonzero((corners < 0) | (corners >= vertex_count))
    if len(wrong):
        row = int(np.searchsorted(np.cumsum(sizes), wrong[0], side="right"))
        raise MeshError(
            f"{source}, element face, row {row}: found the vertex index {corners[wrong[0]]}; wanted 0 ... "
            f"{vertex_count - 1}. The file is damaged; export the mesh again."
        )
    return corners, sizes


def _as_float32(values: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    with np.errstate(over="ignore"):  # too large becomes infinite, which differs from the value
        return values.astype(np.float32)


def _attribute_name(name: str) -> str:
    if not name.isascii() or name.split() != [name] or name in ("x", "y", "z"):
        raise MeshError(
            f"The vertex attribute {name!r} cannot be written to a PLY file; wanted one word of ASCII other than x, "
            "y, z. Rename it."
        )
    return name


def _storable(name: str, values: Shaped[np.ndarray, "vertex ..."]) -> Shaped[np.ndarray, "vertex ..."]:
    """The values in a type that PLY knows, without changing any of them."""
    kind = values.dtype
    if kind.kind == "b":
        return values.astype(np.uint8)
    if kind == np.float16:
        return values.astype(np.float32)
    if kind.newbyteorder("=").str[1:] in TYPE_NAMES:
        return values.astype(kind.newbyteorder("="))
    for smaller in (np.int32, np.uint32):
        limits = np.iinfo(smaller)
        if kind.kind in "iu" and (not values.size or (limits.min <= values.min() and values.max() <= limits.max)):
            return values.astype(smaller)
    raise MeshError(
        f"The vertex attribute {name!r} is {kind} and cannot be written to a PLY file; wanted integers of 32 bits or "
        "float64. Convert it."
    )


def _property_line(name: str, values: Shaped[np.ndarray, "vertex ..."]) -> str:
    kind = TYPE_NAMES[values.dtype.str[1:]]
    return f"property {kind} {name}" if values.ndim == 1 else f"property list int {kind} {name}"


def _binary_rows(columns: dict[str, np.ndarray], count: int) -> bytes:
    fields: list[tuple] = []
    for column, values in enumerate(columns.values()):
        kind = values.dtype.newbyteorder("<")
        fields += [] if values.ndim == 1 else [(f"n{column}", "<i4")]
        fields += [(f"c{column}", kind, values.shape[1:])]
    rows = np.empty(count, dtype=fields)
    for column, values in enumerate(columns.values()):
        rows[f"c{column}"] = values
        if values.ndim == 2:
            rows[f"n{column}"] = values.shape[1]
    return rows.tobytes()


def _binary_polygons(corners: Int[np.ndarray, " corner"], sizes: Integer[np.ndarray, " polygon"]) -> bytes:
    """Each polygon as its size and then its corners, four bytes a corner."""
    width = sizes.dtype.itemsize
    lengths = sizes.astype(np.int64)
    size_at = np.cumsum(lengths * 4 + width) - (lengths * 4 + width)
    corner_at = np.arange(len(corners)) * 4 + np.repeat(np.arange(1, len(sizes) + 1) * width, lengths)
    content = np.empty(len(corners) * 4 + len(sizes) * width, dtype=np.uint8)
    content[size_at[:, None] + np.arange(width)] = _bytes_of(sizes)
    content[corner_at[:, None] + np.arange(4)] = _bytes_of(corners)
    return content.tobytes()


def _bytes_of(values: Integer[np.ndarray, " value"]) -> UInt8[np.ndarray, "value byte"]:
    return values.astype(values.dtype.newbyteorder("<")).view(np.uint8).reshape(len(values), values.itemsize)


def _text_rows(columns: dict[str, np.ndarray]) -> Iterator[bytes]:
    texts: list[Iterator[str]] = []
    for values in columns.values():
        # Nine digits name a float32 exactly, repr a float64; 32-bit integers are printed as they are.
        write = "{:.9g}".format if values.dtype == np.float32 else repr
        if values.ndim == 1:
            texts.append(map(write, values.tolist()))
        else:
            texts.append(" ".join([str(len(row)), *map(write, row)]) for row in values.tolist())
    for row in zip(*texts, strict=True):
        yield f"{' '.join(row)}\n".encode("ascii")


def _text_polygons(corners: Int[np.ndarray, " corner"], sizes: Int[np.ndarray, " polygon"]) -> Iterator[bytes]:
    texts = list(map(str, corners.tolist()))
    stop = 0
    for size in sizes.tolist():
        yield f"{' '.join([str(size), *texts[stop : stop + size]])}\n".encode("ascii")
        stop += size
