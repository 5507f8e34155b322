"""The body of a PLY file: one table of columns for each element, from text or from either byte order.

A column is one number a row, or one list a row. Nothing is allocated before the size of the file has been compared with
what the header promises.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import chain

import numpy as np
from jaxtyping import Float, Int, Shaped

from meshdisent.errors import MeshError
from meshdisent.mesh.ply_header import Element, Property


@dataclass(frozen=True, eq=False)
class Lists:
    """A list a row: all values one after the other, and how many each row has."""

    values: Shaped[np.ndarray, " total"]
    lengths: Int[np.ndarray, " row"]


Table = Mapping[str, np.ndarray | Lists]


def parse_tables(order: str, elements: list[Element], body: bytes, source: str) -> dict[str, Table]:
    """Read the rows of all elements.

    Raises
    ------
    MeshError : If the body is shorter or longer than the header says, or a value does not fit its type.
    """
    reader = _BinaryBody(body, order, source) if order else _TextBody(body, source)
    tables = {}
    for element in elements:
        if element.count * element.smallest_row(not order) > reader.left + 1:  # the last blank of a text may be missing
            raise MeshError(
                f"{source}, element {element.name}: found {reader.left} bytes; wanted {element.count} rows of at least "
                f"{element.smallest_row(not order)} bytes. The file is cut off or its header is damaged; copy or "
                "export it again."
            )
        if element.properties:
            tables[element.name] = reader.table(element)
    reader.finish()
    return tables


class _BinaryBody:
    """Rows as bytes, read from the front to the back."""

    def __init__(self, body: bytes, order: str, source: str):
        self.body, self.order, self.source, self.place = body, order, source, 0
        self.bytes = np.frombuffer(body, dtype=np.uint8)

    @property
    def left(self) -> int:
        """Bytes that are not read yet."""
        return len(self.body) - self.place

    def table(self, element: Element) -> Table:
        even = self._even_table(element)
        return self._uneven_table(element) if even is None else even

    def finish(self) -> None:
        rest = self.body[self.place :]
        if rest.strip():
            raise MeshError(
                f"{self.source}: found {len(rest)} bytes behind the last element (from byte {self.place} of the body); "
                "wanted none. The counts in the header are wrong; export the mesh again."
            )

    def _even_table(self, element: Element) -> Table | None:
        """The table if each list is as long in all rows as in the first one: every row has the same bytes then."""
        fields: list[tuple] = []
        place = self.place
        for column, each in enumerate(element.properties):
            kind = np.dtype(self.order + each.type)
            if each.count_type:
                count_kind = np.dtype(self.order + each.count_type)
                if not element.count or place + count_kind.itemsize > len(self.body):
                    return None
                length = int(np.frombuffer(self.body, count_kind, 1, place)[0])
                place += count_kind.itemsize
                if not 0 <= length <= len(self.body):
                    return None
                fields += [(f"n{column}", count_kind), (f"c{column}", kind, (length,))]
                place += length * kind.itemsize
            else:
                fields.append((f"c{column}", kind))
                place += kind.itemsize
        if (place - self.place) * element.count > self.left:
            return None
        rows = np.frombuffer(self.body, np.dtype(fields), element.count, self.place)
        table: dict[str, np.ndarray | Lists] = {}
        for column, each in enumerate(element.properties):
            values = rows[f"c{column}"].astype(each.type)
            if each.count_type:
                lengths = rows[f"n{column}"].astype(np.int64)
                if (lengths != values.shape[1]).any():
                    return None
                table[each.name] = Lists(values.reshape(-1), lengths)
            else:
                table[each.name] = values
        self.place += rows.nbytes
        return table

    def _uneven_table(self, element: Element) -> Table:
        places, lengths = self._walk(element)  # (property, row)
        table: dict[str, np.ndarray | Lists] = {}
        for each, begins, counts in zip(element.properties, places, lengths, strict=True):
            size = np.dtype(each.type).itemsize
            within = np.arange(int(counts.sum())) - np.repeat(np.cumsum(counts) - counts, counts)
            begins = np.repeat(begins, counts) + within * size
            values = self.bytes[begins[:, None] + np.arange(size)].view(self.order + each.type)[:, 0].astype(each.type)
            table[each.name] = Lists(values, counts) if each.count_type else values
        return table

    def _walk(self, element: Element) -> tuple[Int[np.ndarray, "property row"], Int[np.ndarray, "property row"]]:
        """Where each value or list begins, and how many values it has: each row is found behind the one before."""
        steps = [
            (
                struct.Struct(self.order + _STRUCT[each.count_type]) if each.count_type else None,
                np.dtype(each.type).itemsize,
            )
            for each in element.properties
        ]
        places, lengths, place, size_of_body = [], [], self.place, len(self.body)
        for row in range(element.count):
            for counter, size in steps:
                length = 1
                if counter:
                    if place + counter.size > size_of_body:
                        raise self._cut_off(element, row)
                    length = counter.unpack_from(self.body, place)[0]
                    place += counter.size
                if length < 0:
                    raise MeshError(
                        f"{self.source}, element {element.name}, row {row}, byte {place} of the body: found a list of "
                        f"{length} values; wanted 0 or more. The file is damaged; export it again."
                    )
                places.append(place)
                lengths.append(length)
                place += length * size
            if place > size_of_body:
                raise self._cut_off(element, row)
        self.place = place
        shape = (element.count, len(steps))
        return np.array(places, np.int64).reshape(shape).T, np.array(lengths, np.int64).reshape(shape).T

    def _cut_off(self, element: Element, row: int) -> MeshError:
        return MeshError(
            f"{self.source}, element {element.name}, row {row}: found the end of the file (byte {len(self.body)} of "
            f"the body); wanted {element.count} rows. The file is cut off or damaged; copy or export it again."
        )


class _TextBody:
    """Rows as lines of text; blank lines are passed over."""

    def __init__(self, body: bytes, source: str):
        lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
        self.lines, self.source, self.place = [line for line in lines if line.strip()], source, 0
        self.left = len(body)  # bytes, for whichever element
        self.parse = _number if b"_" in body else float  # float alone takes 1_0 for a number, and is faster

    def table(self, element: Element) -> Table:
        rows = [line.split() for line in self.lines[self.place : self.place + element.count]]
        if len(rows) < element.count:
            raise MeshError(
                f"{self.source}, element {element.name}: found {len(rows)} lines; wanted {element.count}. The file is "
                "cut off or its header is damaged; copy or export it again."
            )
        self.place += element.count
        widths = np.array([len(row) for row in rows], dtype=np.int64)
        numbers = self._numbers(element, rows)
        stops = np.cumsum(widths)
        cursor = stops - widths
        table: dict[str, np.ndarray | Lists] = {}
        for each in element.properties:
            self._check_rows(element, cursor < stops, f"a value for {each.name}")
            values = numbers[cursor]
            cursor = cursor + 1
            if each.count_type:
                is_count = (values >= 0) & (values <= stops - cursor) & (np.floor(values) == values)
                self._check_rows(element, is_count, f"as many values as the list {each.name} says")
                lengths = values.astype(np.int64)
                within = np.arange(int(lengths.sum())) - np.repeat(np.cumsum(lengths) - lengths, lengths)
                values = numbers[np.repeat(cursor, lengths) + within]
                cursor = cursor + lengths
                row_of_value = np.repeat(np.arange(len(rows)), lengths)
                table[each.name] = Lists(self._cast(element, each, values, row_of_value), lengths)
            else:
                table[each.name] = self._cast(element, each, values, np.arange(len(rows)))
        self._check_rows(element, cursor == stops, f"nothing behind {element.properties[-1].name}")
        return table

    def finish(self) -> None:
        if self.place < len(self.lines):
            raise MeshError(
                f"{self.source}: found {len(self.lines) - self.place} lines behind the last element; wanted none. "
                "The counts in the header are wrong; export the mesh again."
            )

    def _numbers(self, element: Element, rows: list[list[bytes]]) -> Float[np.ndarray, " number"]:
        tokens = list(chain.from_iterable(rows))
        try:
            return np.array(list(map(self.parse, tokens)), dtype=np.float64)
        except ValueError:
            row = next(row for row, found in enumerate(rows) if not all(map(_is_number, found)))
            raise self._fault(element, row, "numbers alone") from None

    def _cast(
        self, element: Element, each: Property, values: Float[np.ndarray, " number"], rows: Int[np.ndarray, " number"]
    ) -> Shaped[np.ndarray, " number"]:
        """Give the values in the type of the header; a float32 is rounded to one, an integer has to be one."""
        kind = np.dtype(each.type)
        if kind.kind == "f":
            with np.errstate(over="ignore"):  # becomes infinite, which is refused where it matters
                return values.astype(kind)
        limits = np.iinfo(kind)
        fits = (values >= limits.min) & (values <= limits.max) & (np.floor(values) == values)
        if not fits.all():
            row = int(rows[np.argmin(fits)])
            raise self._fault(element, row, f"an integer from {limits.min} to {limits.max} for {each.name}")
        return values.astype(kind)

    def _check_rows(self, element: Element, is_right: Shaped[np.ndarray, " row"], wanted: str) -> None:
        if not is_right.all():
            raise self._fault(element, int(np.argmin(is_right)), wanted)

    def _fault(self, element: Element, row: int, wanted: str) -> MeshError:
        line = self.lines[self.place - element.count + row].decode("latin-1").strip()
        return MeshError(
            f"{self.source}, element {element.name}, row {row}: found {line[:60]!r}; wanted {wanted}. "
            "Mend the line, or export the mesh again."
        )


_STRUCT = {"i1": "b", "u1": "B", "i2": "h", "u2": "H", "i4": "i", "u4": "I"}


def _is_number(token: bytes) -> bool:
    try:
        _number(token)
    except ValueError:
        return False
    return True


def _number(token: bytes) -> float:
    if b"_" in token:
        raise ValueError
    return float(token)
