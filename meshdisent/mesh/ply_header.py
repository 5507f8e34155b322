"""The header of a PLY file: which elements follow, how many rows each has, and what a row is made of.

Format: Greg Turk, "The PLY Polygon File Format", 1994, and the type names of later writers.
"""

from dataclasses import dataclass

import numpy as np

from meshdisent.errors import MeshError

TYPES = {
    "char": "i1", "uchar": "u1", "short": "i2", "ushort": "u2", "int": "i4", "uint": "u4", "float": "f4",
    "double": "f8", "int8": "i1", "uint8": "u1", "int16": "i2", "uint16": "u2", "int32": "i4", "uint32": "u4",
    "float32": "f4", "float64": "f8",
}  # fmt: skip
BYTE_ORDERS = {"ascii": "", "binary_little_endian": "<", "binary_big_endian": ">"}


@dataclass(frozen=True)
class Property:
    """One column: its name, numpy type, and for a list the type of the count before it."""

    name: str
    type: str
    count_type: str | None = None


@dataclass(frozen=True)
class Element:
    """One table of the file: what its rows are called, how many there are, and their columns."""

    name: str
    count: int
    properties: tuple[Property, ...]

    def smallest_row(self, is_text: bool) -> int:
        """The fewest bytes that a row can take: every list empty, every number one digit and a blank."""
        if is_text:
            return 2 * len(self.properties)
        return sum(np.dtype(each.count_type or each.type).itemsize for each in self.properties)


def parse_header(content: bytes, source: str) -> tuple[str, list[Element], bytes]:
    """Give the byte order (``""`` for text), the elements, and what follows the header.

    Raises
    ------
    MeshError : If the header is damaged or says something that PLY does not know.
    """
    newline = next((end for end in (b"\r\n", b"\n", b"\r") if content.startswith(b"ply" + end)), None)
    if newline is None:
        raise MeshError(f"{source}, byte 0: found {content[:12]!r}; wanted the line 'ply'. Check the name of the file.")
    end = content.find(newline + b"end_header" + newline)
    if end < 0:
        raise MeshError(f"{source}: found no line 'end_header'; wanted one behind the header. Copy or export it again.")
    lines = content[:end].decode("latin-1").split(newline.decode())
    order, elements = None, list[Element]()
    for number, line in enumerate(lines[1:], start=2):
        words = line.split()
        if not words or words[0] in ("comment", "obj_info"):
            continue
        try:
            if words[0] == "format" and order is None:
                order = _byte_order(words)
            elif words[0] == "element":
                elements.append(_element(words, elements))
            elif words[0] == "property" and elements:
                elements[-1] = _with_property(elements[-1], words)
            else:
                raise ValueError("format (once), element, property (behind an element), comment or obj_info")
        except ValueError as wanted:
            raise MeshError(
                f"{source}, line {number}: found {line[:60]!r} in the header; wanted {wanted}. Export the mesh again."
            ) from None
    if order is None:
        raise MeshError(f"{source}: found no line 'format'; wanted one of {', '.join(BYTE_ORDERS)}. Export it again.")
    return order, elements, content[end + len(newline) * 2 + len(b"end_header") :]


def _byte_order(words: list[str]) -> str:
    if len(words) != 3 or words[1] not in BYTE_ORDERS or words[2] != "1.0":
        raise ValueError(f"format, one of {', '.join(BYTE_ORDERS)}, and 1.0")
    return BYTE_ORDERS[words[1]]


def _element(words: list[str], elements: list[Element]) -> Element:
    if len(words) != 3 or not (words[2].isascii() and words[2].isdigit() and len(words[2]) < 19):
        raise ValueError("element, a name and a count")
    if words[1] in [element.name for element in elements]:
        raise ValueError("each element once")
    return Element(words[1], int(words[2]), ())


def _with_property(element: Element, words: list[str]) -> Element:
    kinds, name = words[1:-1], words[-1]
    if len(kinds) == 3 and kinds[0] == "list" and kinds[1] in TYPES and kinds[2] in TYPES:
        if TYPES[kinds[1]][0] == "f":
            raise ValueError("a list counted by integers")
        new = Property(name, TYPES[kinds[2]], TYPES[kinds[1]])
    elif len(kinds) == 1 and kinds[0] in TYPES:
        new = Property(name, TYPES[kinds[0]])
    else:
        raise ValueError(f"property, one of {', '.join(TYPES)} (or list and two of them), and a name")
    if name in [each.name for each in element.properties]:
        raise ValueError("each property once")
    return Element(element.name, element.count, (*element.properties, new))
