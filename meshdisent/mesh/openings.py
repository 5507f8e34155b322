"""Eyes and mouth, where the mesh of a face is open and the white of the paper would shine through.

Models of faces have no eyeballs and nothing behind the lips. A picture gets something there, so that people look like
people: a plain eyeball that lies behind the lids, and the dark of a mouth. The mesh stays as it is.
"""

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

Points = Float[np.ndarray, "point 3"]

WHITE, IRIS, DARK = (0.91, 0.90, 0.88), (0.40, 0.31, 0.25), (0.20, 0.09, 0.085)
#: Openings are less wide and high than this share of the mesh.
SMALL = 0.4
#: How far a mouth alone may be from halfway, as a share of the width of the mesh.
ASIDE = 0.1
#: Radius of the iris as a share of the width of the eye: 5.8 mm of 23.
IRIS_SHARE = 0.25
#: How far eyes stand out and the mouth goes in, as a share of area over width, which is about 0.7 of the height.
EYE_BULGE, MOUTH_DEPTH = 0.45, -1.2
#: Points along an opening and from its rim to its middle.
AROUND, INWARD = 48, 12


class Openings(NamedTuple):
    """Vertices along the rim of each opening, in the order of the border's half-edges."""

    left_eye: Int[np.ndarray, " left"]
    right_eye: Int[np.ndarray, " right"]
    mouth: Int[np.ndarray, " mouth"]


class Painted(NamedTuple):
    """A mesh with a color, 0 to 1, at each vertex."""

    vertices: Float[np.ndarray, "vertex 3"]
    faces: Int[np.ndarray, "face 3"]
    colors: Float[np.ndarray, "vertex 3"]


def fill_openings(face: Painted) -> Painted:
    """Put eyeballs and the dark of a mouth behind the openings, or the latter alone; other meshes stay as they are."""
    found, mouth = find_openings(face.vertices, face.faces), find_mouth_alone(face.vertices, face.faces)
    if mouth is not None:
        return joined([face, mouth_behind(face.vertices[mouth])])
    return face if found is None else joined([face, *behind(face.vertices, found)])


def behind(vertices: Float[np.ndarray, "vertex 3"], openings: Openings) -> list[Painted]:
    """Two eyeballs and the dark of a mouth; as many vertices for every face with these openings."""
    return [*(eyeball_behind(vertices[rim]) for rim in openings[:2]), mouth_behind(vertices[openings.mouth])]


def joined(parts: Sequence[Painted]) -> Painted:
    """Several meshes as one."""
    starts = np.cumsum([0, *(len(part.vertices) for part in parts[:-1])])
    return Painted(
        np.concatenate([part.vertices for part in parts]),
        np.concatenate([part.faces + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate([part.colors for part in parts]),
    )


def find_openings(vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]) -> Openings | None:
    """Find two eyes and a mouth among the borders of a face (y up); None if its borders are others.

    A large border is the rim of the mesh. Exactly three small ones are wanted: two of equal height, and one below and
    between them. So a scan with holes stays one.
    """
    loops, inner = border_loops(faces.tobytes(), faces.dtype.str), small_borders(vertices, faces)
    if len(inner) != 3 or len(loops) > 4:
        return None
    centers = np.array([vertices[loop].mean(axis=0) for loop in inner])
    mouth = int(centers[:, 1].argmin())
    right, left = sorted({0, 1, 2} - {mouth}, key=lambda k: centers[k, 0])
    apart = centers[left] - centers[right]
    is_level = abs(apart[1]) < 0.3 * apart[0]
    is_below = centers[mouth, 1] < centers[[left, right], 1].min() - 0.3 * apart[0]
    is_between = centers[right, 0] < centers[mouth, 0] < centers[left, 0]
    return Openings(inner[left], inner[right], inner[mouth]) if is_level and is_below and is_between else None


def find_mouth_alone(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> Int[np.ndarray, " mouth"] | None:
    """The rim of the mouth of a face that is open there alone, as the synthetic heads are; None if it is not.

    Its only small border lies below the middle of the face (y up) and halfway between left and right.
    """
    loops, inner = border_loops(faces.tobytes(), faces.dtype.str), small_borders(vertices, faces)
    if len(inner) != 1 or len(loops) > 2:
        return None
    low, high = vertices.min(axis=0), vertices.max(axis=0)
    apart = vertices[inner[0]].mean(axis=0) - (low + high) / 2
    is_mouth = apart[1] < 0 and abs(apart[0]) < ASIDE * (high - low)[0]
    return inner[0] if is_mouth else None


def small_borders(
    vertices: Float[np.ndarray, "vertex 3"], faces: Int[np.ndarray, "face 3"]
) -> list[Int[np.ndarray, " loop"]]:
    """Borders that are openings in a face, not the rim of its mesh."""
    largest = SMALL * np.ptp(vertices, axis=0).max()
    loops = border_loops(faces.tobytes(), faces.dtype.str)
    return [loop for loop in loops if np.ptp(vertices[loop], axis=0).max() < largest]


@lru_cache(maxsize=8)
def border_loops(faces: bytes, kind: str) -> tuple[Int[np.ndarray, " loop"], ...]:
    """Closed borders of a mesh (the bytes and the dtype of its faces); none if two meet in a vertex.

    Vertices stand in the order of the half-edges that faces have at the border.
    """
    corners = np.frombuffer(faces, kind).reshape(-1, 3)
    half = np.concatenate([corners[:, [0, 1]], corners[:, [1, 2]], corners[:, [2, 0]]]).astype(np.int64)
    count = int(half.max()) + 1
    border = half[~np.isin(half[:, 0] * count + half[:, 1], half[:, 1] * count + half[:, 0])]
    following = dict(border.tolist())
    if len(following) != len(border):
        return ()
    loops = []
    while following:
        loop = [next(iter(following))]
        while (after := following.pop(loop[-1], None)) is not None:
            loop.append(after)
        if loop[0] != loop[-1]:
            return ()
        loops.append(np.array(loop[:-1]))
    return tuple(loops)


def eyeball_behind(rim: Points) -> Painted:
    """An eyeball behind lids; as many vertices for every rim."""
    points, faces = _dome(rim, EYE_BULGE)
    distance = np.linalg.norm(points[:, :2] - points[-1, :2], axis=1)
    inside = np.clip((IRIS_SHARE * _width(rim) - distance) / (0.03 * _width(rim)) + 0.5, 0, 1)[:, None]
    return Painted(points, faces, np.asarray(WHITE) * (1 - inside) + np.asarray(IRIS) * inside)


def mouth_behind(rim: Points) -> Painted:
    """The dark of a mouth behind lips; as many vertices for every rim."""
    points, faces = _dome(rim, MOUTH_DEPTH)
    return Painted(points, faces, np.tile(DARK, (len(points), 1)))


class Eye(NamedTuple):
    """An eyeball in two meshes, for pictures whose meshes have one color each."""

    white: Painted
    iris: Painted


def eye_in_parts(rim: Points) -> Eye:
    """White and iris of an eyeball behind lids, parted along a clean circle; as many vertices for every rim."""
    reach = np.linalg.norm((_resampled(rim) - rim.mean(axis=0))[:, :2], axis=1)
    edge = np.minimum(IRIS_SHARE * _width(rim) / np.maximum(reach, 1e-9), 1.0)  # where the iris ends on each spoke
    points, faces = _dome(rim, EYE_BULGE, edge)
    white, around = _dome(rim, EYE_BULGE, np.ones_like(edge), edge)
    ring = around[: -AROUND if len(around) > AROUND else None]  # without the tip, which the iris covers
    return Eye(
        Painted(white[:-1], ring, np.tile(WHITE, (len(white) - 1, 1))),
        Painted(points, faces, np.tile(IRIS, (len(points), 1))),
    )


def _dome(
    rim: Points, height: float, outer: np.ndarray | float = 1.0, inner: np.ndarray | float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    """A surface from a rim to its middle, the last point: flat where the rim is closed, round where it is open.

    ``outer`` and ``inner`` say from where to where on each spoke rings lie, as shares of the way to the rim.
    """
    rim = _resampled(rim)
    middle = rim.mean(axis=0)
    spokes = rim - middle
    # The border's half-edges run clockwise seen from outside.
    area = -0.5 * np.cross(spokes, np.roll(spokes, -1, axis=0)).sum(axis=0)
    outer, inner = np.broadcast_to(outer, len(rim)), np.broadcast_to(inner, len(rim))
    # Of the way from the middle to the rim, the innermost ring beside the middle or, of a ring, on its inner border.
    steps = np.linspace(0.0, 1.0, INWARD, endpoint=bool(inner.any()))[:, None]
    share = (outer + steps * (inner - outer))[:, :, None]  # (INWARD, AROUND, 1)
    rings = middle + share * spokes + (1 - share**2) * (height * area / _width(rim))
    points = np.concatenate([rings.reshape(-1, 3), [middle + height * area / _width(rim)]])
    here = (np.arange(INWARD - 1)[:, None] * AROUND + np.arange(AROUND)).ravel()
    beside = (np.arange(INWARD - 1)[:, None] * AROUND + (np.arange(AROUND) + 1) % AROUND).ravel()
    last = np.arange(AROUND) + (INWARD - 1) * AROUND
    tip = np.stack([(last - last[0] + 1) % AROUND + last[0], last, np.full(AROUND, len(points) - 1)], axis=1)
    sides = [
        np.stack([beside, here, here + AROUND], axis=1),
        np.stack([beside, here + AROUND, beside + AROUND], axis=1),
    ]
    return points, np.concatenate([*sides, tip])


def _resampled(rim: Points) -> Float[np.ndarray, "around 3"]:
    """The same closed line with ``AROUND`` points, equally spaced between each two of its own."""
    closed = np.concatenate([rim, rim[:1]])
    at = np.linspace(0, len(rim), AROUND, endpoint=False)
    return np.stack([np.interp(at, np.arange(len(closed)), closed[:, k]) for k in range(3)], axis=1)


def _width(rim: Points) -> float:
    return max(float(np.ptp(rim[:, 0])), 1e-6)
