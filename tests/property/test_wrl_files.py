"""Generated and damaged VRML files: what was written is read, and damage is read or refused and nothing else."""

import random
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from meshdisent.errors import MeshError
from meshdisent.mesh.mesh import Mesh

SETTINGS = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
COORDINATE = st.floats(-1e6, 1e6) | st.floats(allow_nan=False, allow_infinity=False) | st.integers(-99, 99).map(float)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("generated")


@st.composite
def shapes(draw) -> tuple[list[list[float]], list[list[int]]]:
    """Points, and polygons of three to six corners."""
    points = draw(st.lists(st.lists(COORDINATE, min_size=3, max_size=3), min_size=1, max_size=8))
    corner = st.integers(0, len(points) - 1)
    return points, draw(st.lists(st.lists(corner, min_size=3, max_size=6), max_size=6))


def spell(points: list[list[float]], polygons: list[list[int]], chance: random.Random, version: int) -> str:
    """Write a shape with the blanks, commas, comments and line ends of one exporter or another."""

    def join(words: list[str]) -> str:
        return "".join(word + chance.choice([" ", ", ", " ,\n", "\t", "\n# a [comment]\n"]) for word in words)

    numbers = join([chance.choice([repr, "{:.17g}".format, "{:+.17e}".format])(x) for row in points for x in row])
    corners = join([str(k) for polygon in polygons for k in (*polygon, -1)])
    if version == 1:
        body = f"Separator {{ Coordinate3 {{ point [{numbers}] }} IndexedFaceSet {{ coordIndex [{corners}] }} }}"
        text = f"#VRML V1.0 ascii\n{body}"
    else:
        fields = [f"coord DEF a Coordinate {{\npoint [\n{numbers}] }}", f"coordIndex [{corners}]", "solid TRUE"]
        chance.shuffle(fields)
        text = '#VRML V2.0 utf8\nWorldInfo { title "a \\" ] # b" }\nShape { geometry IndexedFaceSet {\n'
        text += "\n".join([*fields, "} }", ""])
    return text.replace("\n", chance.choice(["\n", "\r\n", "\r"]))


@SETTINGS
@given(shape=shapes(), chance=st.randoms(use_true_random=False), version=st.sampled_from([1, 2]))
def test_what_was_written_is_read(folder, shape, chance, version):
    points, polygons = shape
    (folder / "shape.wrl").write_bytes(spell(points, polygons, chance, version).encode())
    mesh = Mesh.read(folder / "shape.wrl")
    np.testing.assert_array_equal(mesh.vertices, points)
    assert mesh.faces.tolist() == [[p[0], *pair] for p in polygons for pair in pairwise(p[1:])]
    sizes = [3] * mesh.face_count if mesh.polygon_sizes is None else mesh.polygon_sizes.tolist()
    assert sizes == [len(polygon) for polygon in polygons]


def damage(content: bytes, chance: random.Random) -> bytes:
    """Change, cut, double or insert a few bytes."""
    for _ in range(chance.randint(1, 4)):
        a, b = sorted(chance.randrange(len(content) + 1) for _ in range(2))
        b = min(b, a + chance.choice([1, 4, 400]))
        piece = chance.choice([b"", b"-", b"]", b"[", b"#", b'"', b"\\", b"{", b"99999999999999999999", b"nan", b"\0"])
        before, cut, after = content[:a], content[a:b], content[b:]
        content = chance.choice(
            [before, before + piece + after, before + piece + cut + after, before + cut * 2 + after]
        )
    return content


@settings(SETTINGS, max_examples=200)
@given(shape=shapes(), chance=st.randoms(use_true_random=False), version=st.sampled_from([1, 2]))
def test_a_damaged_file_is_read_or_refused_and_nothing_else(folder, shape, chance, version):
    check_read_or_refused(folder / "damaged.wrl", damage(spell(*shape, chance, version).encode(), chance))


@settings(SETTINGS, max_examples=100)
@given(content=st.binary(max_size=200))
def test_any_bytes_are_read_or_refused_and_nothing_else(folder, content):
    check_read_or_refused(folder / "bytes.wrl", content)
    check_read_or_refused(folder / "bytes.wrl", b"#VRML V2.0 utf8\nCoordinate { point [0 0 0]} coordIndex [" + content)


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
    assert "\n" not in message
