"""Files that are nearly right: bytes changed, cut, doubled, moved, and numbers that promise too much."""

import random
import re
import struct

#: Numbers that break programs which believe them.
NUMBERS = (0, -1, 1, 2**31 - 1, 2**31, 2**32 - 1, 2**63 - 1, 10**9, 10**18, 127, 255, 65535)
WORDS = (
    b"nan",
    b"inf",
    b"-inf",
    b"1e999",
    b"-0",
    b"1000000000",
    b"99999999999999999999",
    b"",
    b"\x00",
    b"../../x",
    b"'",
)
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")


def mutated(content: bytes, chance: random.Random) -> bytes:
    """A few random changes, of kinds that files meet on their way and of kinds that an attacker makes."""
    for _ in range(chance.choice((1, 1, 1, 2, 4))):
        content = chance.choice(KINDS)(content, chance)
    return content


def flip_bits(content: bytes, chance: random.Random) -> bytes:
    """Change single bits, most of them near the beginning, where headers are."""
    changed = bytearray(content)
    for _ in range(chance.choice((1, 2, 8))):
        if changed:
            changed[_place(len(changed), chance)] ^= 1 << chance.randrange(8)
    return bytes(changed)


def cut(content: bytes, chance: random.Random) -> bytes:
    """Lose the end, as a broken download does."""
    return content[: chance.randrange(len(content) + 1)]


def lose_part(content: bytes, chance: random.Random) -> bytes:
    """Lose a part in the middle."""
    start = _place(len(content), chance)
    return content[:start] + content[start + chance.choice((1, 4, 64, 4096)) :]


def double_part(content: bytes, chance: random.Random) -> bytes:
    """Repeat a part."""
    start = _place(len(content), chance)
    part = content[start : start + chance.choice((1, 8, 100))]
    return content[:start] + part * chance.choice((2, 3, 50)) + content[start + len(part) :]


def noise(content: bytes, chance: random.Random) -> bytes:
    """Random bytes somewhere."""
    start, count = _place(len(content), chance), chance.choice((1, 4, 32))
    return content[:start] + chance.randbytes(count) + content[start + count :]


def other_number(content: bytes, chance: random.Random) -> bytes:
    """Another number, written as text, where one stands."""
    found = list(_NUMBER.finditer(content[:100_000]))
    if not found:
        return noise(content, chance)
    place = chance.choice(found)
    word = chance.choice(WORDS) if chance.random() < 0.5 else str(chance.choice(NUMBERS)).encode()
    return content[: place.start()] + word + content[place.end() :]


def binary_number(content: bytes, chance: random.Random) -> bytes:
    """A large number of 4 or 8 bytes, at an even place."""
    code = chance.choice(("<i", "<q", ">i", "<f", "<d"))
    value = chance.choice(NUMBERS)
    if code[1] in "fd":
        packed = struct.pack(code, chance.choice((float("nan"), float("inf"), 1e30, -1.0)))
    else:
        size = struct.calcsize(code)
        packed = (value % 2 ** (8 * size)).to_bytes(size, "little" if code[0] == "<" else "big")
    start = _place(len(content), chance) // 4 * 4
    return content[:start] + packed + content[start + len(packed) :]


def swap_lines(content: bytes, chance: random.Random) -> bytes:
    """Lines in another order, or one of them gone."""
    lines = content.splitlines(keepends=True)
    if len(lines) < 2:
        return double_part(content, chance)
    first, second = chance.randrange(len(lines)), chance.randrange(len(lines))
    lines[first], lines[second] = lines[second], lines[first] if chance.random() < 0.7 else b""
    return b"".join(lines)


KINDS = (flip_bits, cut, lose_part, double_part, noise, other_number, binary_number, swap_lines)


def _place(length: int, chance: random.Random) -> int:
    """Somewhere in a file; half of the time in its first thousand bytes."""
    return chance.randrange(max(1, min(length, 1000) if chance.random() < 0.5 else length))
