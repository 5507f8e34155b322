r"""The text of an OBJ file, taken apart: one block of bytes for each kind of line, and the numbers in a block.

Nearly all lines of a mesh are ``v``, ``vt``, ``vn`` and ``f``. Each kind is gathered into one block, whatever lies
between its lines, and parsed in one go; only names and rare statements are looked at line by line.

Line ends may be LF, CRLF or CR; a byte order mark, indented lines and comments in any encoding are fine. A ``\`` at the
end of a line of numbers joins the next line to it; after a name or in a comment it does not, or a vertex could vanish
there.
"""

import re
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
from jaxtyping import Float, Int, UInt8

from meshdisent.errors import MeshError

BLOCKS = (b"v", b"vt", b"vn", b"f")
_CONTINUED = re.compile(rb"^(?!mtllib\b|usemtl\b|[gos]\b)((?:[^\n#]*\\\n)+)([^\n]*)", re.MULTILINE)
_SHOWN = 60  # characters of a faulty line in a message


@dataclass(frozen=True)
class Block:
    """All lines of one keyword in file order.

    Parameters
    ----------
    keyword : What each line begins with.
    text : The lines without comments, each ended by a newline.
    lines : (row,) Number in the file of each line, from 1, ascending.
    source : The file's name for messages.
    """

    keyword: bytes
    text: bytes
    lines: Int[np.ndarray, " row"]
    source: str

    def fault(self, row: int, found: str, wanted: str) -> MeshError:
        """Make the error for one line of the block."""
        line = self.text.split(b"\n")[row].decode("latin-1").strip()
        return MeshError(
            f"{self.source}, line {self.lines[row]}: found {found} in {_shorten(line)!r}; wanted {wanted}. "
            "Mend the line, or export the mesh again."
        )


@dataclass(frozen=True)
class Corners:
    """The corners of all polygons as they are written: from 1, negative from the end, 0 where there is no index.

    Parameters
    ----------
    indices : (corner, 3) Position, texture coordinate, normal.
    sizes : (polygon,) Corners of each polygon, one line each.
    """

    indices: Int[np.ndarray, "corner 3"]
    sizes: Int[np.ndarray, " polygon"]


def split_blocks(content: bytes, source: str) -> tuple[dict[bytes, Block], list[tuple[int, bytes]]]:
    """Gather the lines of each keyword of :data:`BLOCKS`, and list all other statements with their line numbers.

    Raises
    ------
    MeshError : If the content is no text.
    """
    text = _tidy(content, source)
    chars = np.frombuffer(text + b"\0\0", dtype=np.uint8)  # two more, so that each line has three characters to look at
    ends = np.flatnonzero(chars == ord("\n")) + 1
    starts = np.concatenate([[0], ends[:-1]])
    kinds = _kinds(chars[starts], chars[starts + 1], chars[starts + 2])
    blocks = {}
    for kind, keyword in enumerate(BLOCKS):
        chosen = np.concatenate([[False], kinds == kind, [False]])
        turns = np.flatnonzero(chosen[1:] != chosen[:-1])  # runs of lines: begin, end, begin, end, ...
        pieces = [text[starts[a] : ends[b - 1]] for a, b in zip(turns[::2].tolist(), turns[1::2].tolist(), strict=True)]
        lines = b"".join(pieces)
        if b"#" in lines:
            lines = re.sub(rb"#[^\n]*", b"", lines)
        blocks[keyword] = Block(keyword, lines, np.flatnonzero(kinds == kind) + 1, source)
    others = np.flatnonzero(kinds == _OTHER).tolist()
    return blocks, [(line + 1, text[starts[line] : ends[line]].strip()) for line in others]


def parse_numbers(
    block: Block, counts: tuple[int, ...]
) -> tuple[Float[np.ndarray, "row column"], Int[np.ndarray, " row"]]:
    """Give the numbers of each line, padded with NaN to the largest of ``counts``, and how many each line has.

    Parameters
    ----------
    block : Lines of one keyword.
    counts : How many numbers a line may have, ascending.

    Raises
    ------
    MeshError : If something is no number, or a line has another count of them.
    """
    rows = len(block.lines)
    tokens = block.text.split()
    width = len(tokens) // max(rows, 1)
    # A keyword is no number, so keywords at equal distances prove that every line has the same count.
    regular = len(tokens) == rows * width and width - 1 in counts and tokens[::width].count(block.keyword) == rows
    if not regular or b"_" in block.text:  # Python reads 1_0 as a number; nobody else does
        return _parse_uneven_numbers(block, counts)
    del tokens[::width]
    try:
        values = np.array(list(map(float, tokens))).reshape(rows, width - 1)
    except ValueError:
        return _parse_uneven_numbers(block, counts)
    padding = np.full((rows, counts[-1] - values.shape[1]), np.nan)
    return np.hstack([values, padding]), np.full(rows, width - 1)


def parse_corners(block: Block) -> Corners:
    """Parse the faces: ``a``, ``a/b``, ``a//c`` and ``a/b/c`` for each corner, in any mixture.

    Depends on nothing but the block.

    Raises
    ------
    MeshError : If a line is not made of such corners, has fewer than three, or an index is 0.
    """
    if not len(block.lines):
        return Corners(np.empty((0, 3), dtype=np.int64), np.empty(0, dtype=np.int64))
    kind = np.frombuffer(block.text.translate(_KIND_OF_CHARACTER), dtype=np.uint8)
    newlines = np.flatnonzero(kind == _NEWLINE)
    wrong = ~_MAY_FOLLOW.take(kind[:-1] * np.uint8(len(_MAY_FOLLOW)) + kind[1:])
    if wrong.any():
        _refuse_face(block, int(np.searchsorted(newlines, np.argmax(wrong) + 1)))
    is_digit = kind == _DIGIT
    first = np.flatnonzero(is_digit[1:] & ~is_digit[:-1]) + 1
    stop = np.flatnonzero(is_digit[:-1] & ~is_digit[1:]) + 1
    is_negative = kind[first - 1] == _MINUS
    opens = kind[first - is_negative - 1] == _SPACE  # this number is the first of its corner
    slashes = np.cumsum(kind == _SLASH, dtype=np.int32)
    corner_first, corner_slashes = first[opens], slashes[first[opens]]
    many = np.diff(corner_slashes, append=slashes[-1]) > 2
    sizes = np.diff(np.searchsorted(corner_first, newlines), prepend=0)
    values = _integers(np.frombuffer(block.text, dtype=np.uint8), first, stop)
    if many.any() or (values == 0).any():
        place = corner_first[np.argmax(many)] if many.any() else first[np.argmax(values == 0)]
        _refuse_face(block, int(np.searchsorted(newlines, place)))
    if sizes.min() < 3:
        row = int(np.argmin(sizes))
        raise block.fault(row, f"{sizes[row]} corners", "3 or more")
    indices = np.zeros((len(corner_first), 3), dtype=np.int64)
    corner = np.cumsum(opens) - 1
    indices[corner, slashes[first] - corner_slashes[corner]] = np.where(is_negative, -values, values)
    return Corners(indices, sizes)


_OTHER, _NOTHING = len(BLOCKS), len(BLOCKS) + 1

# Characters of a face line by kind, and which kind may follow which: the grammar of face lines, but for the two slashes
# that a corner may have at most.
_DIGIT, _SLASH, _MINUS, _SPACE, _NEWLINE, _F, _STRANGE = range(7)
_KIND_OF_CHARACTER = bytes(
    {ord("/"): _SLASH, ord("-"): _MINUS, ord(" "): _SPACE, ord("\t"): _SPACE, ord("\n"): _NEWLINE, ord("f"): _F}.get(
        character, _DIGIT if chr(character) in "0123456789" else _STRANGE
    )
    for character in range(256)
)
_MAY_FOLLOW = np.zeros((7, 7), dtype=bool)
_MAY_FOLLOW[_F, [_SPACE, _NEWLINE]] = True
_MAY_FOLLOW[_SPACE, [_SPACE, _DIGIT, _MINUS, _NEWLINE]] = True
_MAY_FOLLOW[_DIGIT, [_DIGIT, _SLASH, _SPACE, _NEWLINE]] = True
_MAY_FOLLOW[_SLASH, [_SLASH, _DIGIT, _MINUS, _SPACE, _NEWLINE]] = True
_MAY_FOLLOW[_MINUS, _DIGIT] = True
_MAY_FOLLOW[_NEWLINE, _F] = True


def _tidy(content: bytes, source: str) -> bytes:
    """The text with plain newlines, no indents and joined lines; line numbers stay those of the file."""
    if b"\0" in content:
        hint = "UTF-16 text; save it as UTF-8" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "no text at all"
        line = content.count(b"\n", 0, content.index(b"\0")) + 1
        raise MeshError(f"{source}, line {line}: found a zero byte; wanted the text of an OBJ file. This is {hint}.")
    text = content.removeprefix(b"\xef\xbb\xbf")
    if b"\r" in text:
        text = text.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    if not text.endswith(b"\n"):
        text += b"\n"
    if _is_indented(text):
        text = re.sub(rb"\n[ \t]+", b"\n", b"\n" + text)[1:]
    if b"\\" in text:
        text = _CONTINUED.sub(_join, text)
    return text


def _join(lines: re.Match[bytes]) -> bytes:
    """One line of the joined ones, and as many empty lines behind it as there were."""
    if lines.end() == len(lines.string):  # the line that should follow was cut off: the backslash stays, as an error
        return lines[0]
    return lines[1].replace(b"\\\n", b" ") + lines[2] + b"\n" * lines[1].count(b"\n")


def _is_indented(text: bytes) -> bool:
    chars = np.frombuffer(b"\n" + text, dtype=np.uint8)  # looking for two bytes at once takes ten times as long
    return bool(np.isin(chars[np.flatnonzero(chars[:-1] == ord("\n")) + 1], _BLANK[:2]).any())


def _kinds(
    first: UInt8[np.ndarray, " line"], second: UInt8[np.ndarray, " line"], third: UInt8[np.ndarray, " line"]
) -> Int[np.ndarray, " line"]:
    """The row of :data:`BLOCKS` that each line belongs to by its first three characters, or other, or nothing."""
    kinds = np.full(len(first), _OTHER, dtype=np.int8)
    is_v, ends_second, ends_third = first == ord("v"), np.isin(second, _BLANK), np.isin(third, _BLANK)
    kinds[is_v & ends_second] = 0
    kinds[is_v & (second == ord("t")) & ends_third] = 1
    kinds[is_v & (second == ord("n")) & ends_third] = 2
    kinds[(first == ord("f")) & ends_second] = 3
    kinds[(first == ord("\n")) | (first == ord("#"))] = _NOTHING
    return kinds


_BLANK = np.frombuffer(b" \t\n", dtype=np.uint8)


def _parse_uneven_numbers(
    block: Block, counts: tuple[int, ...]
) -> tuple[Float[np.ndarray, "row column"], Int[np.ndarray, " row"]]:
    """The slow way, line by line: for counts that differ, and to find the line at fault."""
    values = np.full((len(block.lines), counts[-1]), np.nan)
    found = np.zeros(len(block.lines), dtype=np.int64)
    wanted = " or ".join(map(str, counts)) + " numbers"
    for row, line in enumerate(block.text.split(b"\n")[:-1]):
        tokens = line.split()[1:]
        if len(tokens) not in counts:
            raise block.fault(row, f"{len(tokens)} values", wanted)
        for column, token in enumerate(tokens):
            values[row, column] = _number(block, row, token, wanted)
        found[row] = len(tokens)
    return values, found


def _number(block: Block, row: int, token: bytes, wanted: str) -> float:
    try:
        if b"_" not in token:
            return float(token)
    except ValueError:
        pass
    raise block.fault(row, repr(_shorten(token.decode("latin-1"))), wanted)


def _integers(
    characters: UInt8[np.ndarray, " character"], first: Int[np.ndarray, " number"], stop: Int[np.ndarray, " number"]
) -> Int[np.ndarray, " number"]:
    """The numbers whose digits lie at ``first`` ... ``stop - 1``; what is too long for 64 bits becomes 10 ** 18."""
    lengths = stop - first
    values = np.zeros(len(first), dtype=np.int64)
    for place in range(min(int(lengths.max(initial=0)), 18)):
        digit = characters.take(stop - 1 - place, mode="wrap") - np.int64(ord("0"))
        values += np.where(lengths > place, digit, 0) * 10**place
    return np.where(lengths > 18, 10**18, values)


def _refuse_face(block: Block, row: int) -> NoReturn:
    line = block.text.split(b"\n")[row].decode("latin-1")
    odd = next((token for token in line.split()[1:] if not _CORNER.fullmatch(token)), line)
    raise block.fault(row, repr(_shorten(odd)), "corners a, a/b, a//c or a/b/c of whole numbers that are not 0")


_CORNER = re.compile(r"-?0*[1-9][0-9]*(/(-?0*[1-9][0-9]*)?){0,2}")


def _shorten(text: str) -> str:
    return text if len(text) <= _SHOWN else text[:_SHOWN] + "..."
