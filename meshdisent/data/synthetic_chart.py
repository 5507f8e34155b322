"""The flat face: a triangulated chart whose edges follow the lids and the lips.

A point of the chart is (u, v) in mm: u runs from the nose outwards along the skin, v upwards, and (0, 0) lies between
the eyes. Half a face is laid out and mirrored: rings of vertices follow each eye opening and the mouth slit, the rest
is spread by Lloyd relaxation and joined by Delaunay triangulation. Inside the openings come rings that no flat sheet
has: the lid margin, the eyeball behind it, the inside of the lips.

Only sums, products and rounded ring positions decide the triangulation, so the same vertex count gives the same
faces on every machine.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.spatial import Delaunay, cKDTree

EYE_CENTER = (31.5, 0.0)
EYE_HALF_WIDTH, UPPER_LID, LOWER_LID = 15.2, 5.3, 4.9
MOUTH_CENTER, MOUTH_HALF_WIDTH, SLIT = -65.0, 25.5, 2.2
OUTLINE_CENTER, OUTLINE_HALF_WIDTH, OUTLINE_HALF_HEIGHT = -18.0, 98.0, 108.0
IRIS = (-2.9, 0.0)  # where the gaze leaves the eyeball, in the frame of the outwards turned eye
EYE_RINGS, MOUTH_RINGS = (1.9, 4.2, 7.0), (2.5, 5.3, 8.4)  # mm outside the openings, for 2,500 vertices
INNER_LIP_ROWS = (2.5, 6.0)  # mm behind the line where the lips meet

LLOYD_ROUNDS = 100
SKIN, INNER_LIP, LID_MARGIN, EYEBALL = range(4)

Flat = Float[np.ndarray, "point 2"]
Angles = Float[np.ndarray, " point"]
Indices = Int[np.ndarray, " point"]


@dataclass(frozen=True, eq=False)
class FaceChart:
    """A triangulated flat face.

    Attributes
    ----------
    position : (V, 2) mm, (u, v) with the mouth closed. Left and right mirror each other.
    faces : (F, 3) counter-clockwise.
    mirror : (V,) the vertex on the other side of the face.
    kind : (V,) SKIN, INNER_LIP, LID_MARGIN or EYEBALL.
    side : (V,) +1 above the line where the lips meet, -1 below it.
    inward : (V,) mm behind that line, 0 for all but inner lips.
    anchor : (V,) the vertex that an inner lip or a lid margin hangs on; itself for all others.
    ball : (V, 2) mm, an eyeball vertex seen from the front, relative to the eye center; the nose is at negative x.
    lid_ring : (V,) bool, the edge of the eye opening.
    lip_ring : (V,) bool, the line where the lips meet.
    lid_distance : (V,) mm from the nearer eye opening, 0 inside it.
    """

    position: Float[np.ndarray, "vertex 2"]
    faces: Int[np.ndarray, "face 3"]
    mirror: Int[np.ndarray, " vertex"]
    kind: Int[np.ndarray, " vertex"]
    side: Int[np.ndarray, " vertex"]
    inward: Float[np.ndarray, " vertex"]
    anchor: Int[np.ndarray, " vertex"]
    ball: Float[np.ndarray, "vertex 2"]
    lid_ring: Bool[np.ndarray, " vertex"]
    lip_ring: Bool[np.ndarray, " vertex"]
    lid_distance: Float[np.ndarray, " vertex"]


def face_chart(vertex_count: int) -> FaceChart:
    """Lay out a face of exactly ``vertex_count`` vertices (see the module)."""
    half = _HalfFace(vertex_count)
    half.add_rings()
    half.fill()
    half.triangulate()
    half.add_inner_lips()
    half.add_eyeball()
    return half.mirrored()


def eye_opening(angle: Angles, offset: float = 0.0) -> Flat:
    """Give the almond of the eye opening, ``offset`` mm further out, relative to the eye center."""
    sharpness = 1.0 + 0.55 / (1.0 + offset / 2.5)
    height = np.where(np.sin(angle) > 0, UPPER_LID, LOWER_LID) + offset
    rise = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** sharpness
    return np.stack([(EYE_HALF_WIDTH + offset) * np.cos(angle), height * rise], axis=1)


def _mouth_ring(angle: Angles, offset: float = 0.0) -> Flat:
    sharpness = 1.0 + 0.3 / (1.0 + offset / 4)
    rise = np.sign(np.sin(angle)) * np.abs(np.sin(angle)) ** sharpness
    return np.stack([(MOUTH_HALF_WIDTH + 0.8 * offset) * np.cos(angle), MOUTH_CENTER + (SLIT + offset) * rise], axis=1)


_FINE_PARTS = ((31, 4, 28, 19), (2, -38, 21, 13), (8, -65, 27, 17), (0, -12, 13, 20))  # center and reach


def _edge_length(points: Flat) -> Angles:
    """Relative edge length wanted at points of the right half: fine at eyes, nose and mouth."""
    u, v = points[:, 0], points[:, 1]
    fineness = np.zeros(len(points))
    for center_u, center_v, reach_u, reach_v in _FINE_PARTS:
        square = ((u - center_u) / reach_u) ** 2 + ((v - center_v) / reach_v) ** 2
        fineness = np.maximum(fineness, 1.0 / (1.0 + square * square * square))
    return 6.6 - 4.3 * fineness


def _outline(angle: Angles) -> Flat:
    # A superellipse: rounder corners than an ellipse, so that jaw angles and temples belong to the face.
    cosine, sine = np.cos(angle), np.sin(angle)
    radius = (np.abs(cosine) ** 2.4 + np.abs(sine) ** 2.4) ** (-1 / 2.4)
    return np.stack(
        [OUTLINE_HALF_WIDTH * radius * cosine, OUTLINE_CENTER + OUTLINE_HALF_HEIGHT * radius * sine], axis=1
    )


class _HalfFace:
    """The half with u >= 0 while it grows: flat points with the mouth open, and triangles."""

    def __init__(self, vertex_count: int):
        self.vertex_count = vertex_count
        density = math.sqrt(vertex_count / 2500)
        self.spacing = 1 / density
        self.lid_count = 2 * round(14 * density)
        self.lip_count = 2 * round(12 * density) + 1
        self.points: Float[np.ndarray, "vertex 2"] = np.zeros((0, 2))
        self.faces = np.zeros((0, 3), dtype=np.int64)
        self.kind = np.zeros(0, dtype=np.int64)
        self.anchor = np.zeros(0, dtype=np.int64)
        self.inward = np.zeros(0)
        self.ball = np.zeros((0, 2))

    def add(
        self,
        points: Flat,
        kind: int = SKIN,
        anchor: Indices | None = None,
        inward: float = 0.0,
        ball: Flat | None = None,
    ) -> Indices:
        """Append points; return their indices."""
        index = np.arange(len(self.points), len(self.points) + len(points))
        self.points = np.concatenate([self.points, np.round(points, 6) + 0.0])
        self.kind = np.concatenate([self.kind, np.full(len(points), kind)])
        self.anchor = np.concatenate([self.anchor, index if anchor is None else anchor])
        self.inward = np.concatenate([self.inward, np.full(len(points), inward)])
        self.ball = np.concatenate([self.ball, np.zeros((len(points), 2)) if ball is None else ball])
        return index

    def add_rings(self) -> None:
        """Lay rings round the eye opening and the mouth slit."""
        upper = _even_angles(eye_opening, 0.0, math.pi, self.lid_count // 2)
        lower = _even_angles(eye_opening, math.pi, 2 * math.pi, self.lid_count // 2)
        angle = np.concatenate([upper[:-1], lower[:-1]])
        between = (angle + np.append(angle[1:], 2 * math.pi)) / 2
        self.lid = self.add(eye_opening(angle) + EYE_CENTER)
        for ring, offset in enumerate(EYE_RINGS):
            self.add(eye_opening(angle if ring % 2 else between, offset * self.spacing) + EYE_CENTER)
        upper = _even_angles(_mouth_ring, math.pi / 2, 0.0, self.lip_count // 2)
        angle = np.concatenate([upper, -upper[-2::-1]])
        self.lip = self.add(_exact_midline(_mouth_ring(angle, 0.0)))
        between = np.concatenate([angle[:1], (angle[1:] + angle[:-1]) / 2, angle[-1:]])
        for ring, offset in enumerate(MOUTH_RINGS):
            points = _exact_midline(_mouth_ring(angle if ring % 2 else between, offset * self.spacing))
            self.add(points)
        self.mouth_top, self.mouth_bottom = points[0, 1], points[-1, 1]

    def fill(self) -> None:
        """Put points on the outline and the midline, then spread the others over the skin."""
        structured = 2 * self._structured_count() - self._structured_on_midline()
        raster, cell = _raster(1.0, self.spacing)
        wanted = _edge_length(raster)
        cells = float(np.sum(cell / (wanted**2 * math.sqrt(3) / 2)))
        scale = math.sqrt(2 * cells / (self.vertex_count - structured))
        outline = _exact_midline(_walk_outline(scale))
        self.add(outline)
        self.add(_walk_midline(self.mouth_top, outline[0, 1], scale))
        self.add(_walk_midline(outline[-1, 1], self.mouth_bottom, scale))
        on_midline = int(np.sum(self.points[:, 0] == 0))
        total = structured + 2 * len(self.points) - on_midline
        missing = self.vertex_count - total
        if missing % 2:
            self.add(np.array([[0.0, self._widest_midline_gap()]]))
            missing -= 1
        self.add(_spread(missing // 2, self.points, raster, cell / wanted**4))

    def _structured_count(self) -> int:
        return self.lid_count * 5 + 1 + self.lip_count * len(INNER_LIP_ROWS)

    def _structured_on_midline(self) -> int:
        return 2 * len(INNER_LIP_ROWS)

    def _widest_midline_gap(self) -> float:
        v = np.sort(self.points[self.points[:, 0] == 0, 1])
        v = v[v > self.mouth_top - 1e-9]
        gap = int(np.argmax(np.diff(v)))
        return float((v[gap] + v[gap + 1]) / 2)

    def triangulate(self) -> None:
        """Join the skin points; leave the eye opening and the mouth slit open."""
        faces = Delaunay(self.points).simplices.astype(np.int64)
        for ring in (self.lid, self.lip):
            faces = faces[~np.isin(faces, ring).all(axis=1)]
        self.faces = faces

    def add_inner_lips(self) -> None:
        """Hang rows behind the line where the lips meet."""
        outer = self.lip
        for row, inward in enumerate(INNER_LIP_ROWS, start=1):
            shrink = 1 - 0.3 * row
            points = self.points[self.lip] * (shrink, 1) - (0, 0)
            points[:, 1] = MOUTH_CENTER + (points[:, 1] - MOUTH_CENTER) * shrink
            inner = self.add(points, INNER_LIP, self.lip, inward)
            self._strip(outer, inner, closed=False)
            outer = inner

    def add_eyeball(self) -> None:
        """Put the lid margin's inner edge and the eyeball behind the opening.

        The skin turns inwards at the lid, runs back between lid and eyeball, and returns as the eyeball: one surface.
        """
        angle = 2 * math.pi / self.lid_count * np.arange(self.lid_count)
        opening = self.points[self.lid] - EYE_CENTER
        circle = np.stack([np.cos(angle), np.sin(angle)], axis=1)
        hidden, iris = circle * (16.0, 10.6), circle * 5.7 + IRIS
        margin = self.add(opening * 0.9 + EYE_CENTER, LID_MARGIN, self.lid)
        self._strip(self.lid, margin)
        outer = margin
        for ball, shrink in ((hidden, 0.8), (0.52 * hidden + 0.48 * iris, 0.6), (iris, 0.4)):
            inner = self.add(opening * shrink + EYE_CENTER, EYEBALL, ball=ball)
            self._strip(outer, inner)
            outer = inner
        for radius, shrink in ((2.8, 0.25), (1.5, 0.12)):
            ring = circle[::2] * radius + IRIS
            inner = self.add((opening * shrink + EYE_CENTER)[::2], EYEBALL, ball=ring)
            (self._halving_strip if len(outer) > len(inner) else self._strip)(outer, inner)
            outer = inner
        middle = self.add(np.array([EYE_CENTER]), EYEBALL, ball=np.array([IRIS]))
        self._join(np.roll(outer, 1), outer, np.repeat(middle, len(outer)))

    def _strip(self, outer: Indices, inner: Indices, closed: bool = True) -> None:
        """Join two rows of the same length by triangles."""
        if closed:
            outer, inner = np.append(outer, outer[0]), np.append(inner, inner[0])
        self._join(outer[:-1], outer[1:], inner[:-1])
        self._join(outer[1:], inner[1:], inner[:-1])

    def _halving_strip(self, outer: Int[np.ndarray, " twice"], inner: Indices) -> None:
        """Join a closed row to one of half its length."""
        before, at, after = np.roll(outer, 1)[::2], outer[::2], outer[1::2]
        self._join(before, at, inner)
        self._join(at, after, inner)
        self._join(after, np.roll(inner, -1), inner)

    def _join(self, first: Indices, second: Indices, third: Indices) -> None:
        self.faces = np.concatenate([self.faces, np.stack([first, second, third], axis=1)])

    def mirrored(self) -> FaceChart:
        """Close the mouth, orient the triangles, and add the other half."""
        faces = self.faces.copy()
        a, b, c = (self.points[faces[:, k]] for k in range(3))
        area = (b - a)[:, 0] * (c - a)[:, 1] - (b - a)[:, 1] * (c - a)[:, 0]
        faces[area < 0] = faces[area < 0][:, ::-1]
        half_count = len(self.points)
        off = np.flatnonzero(self.points[:, 0] > 0)
        twin = np.arange(half_count)
        twin[off] = half_count + np.arange(len(off))
        both = np.concatenate([np.arange(half_count), off])
        flip = np.where(np.arange(len(both)) < half_count, 1.0, -1.0)
        mirror = np.concatenate([twin, off])
        position = close_slit(self.points)[both] * np.stack([flip, np.ones(len(both))], axis=1)
        anchor = np.concatenate([self.anchor, twin[self.anchor[off]]])
        ring = np.zeros((2, half_count), dtype=bool)
        ring[0, self.lid], ring[1, self.lip] = True, True
        return FaceChart(
            position=position + 0.0,
            faces=np.concatenate([faces, twin[faces][:, ::-1]]),
            mirror=mirror,
            kind=self.kind[both],
            side=np.where(self.points[both, 1] >= MOUTH_CENTER, 1, -1),
            inward=self.inward[both],
            anchor=anchor,
            ball=self.ball[both],
            lid_ring=ring[0, both],
            lip_ring=ring[1, both],
            lid_distance=_lid_distance(self.points)[both],
        )


def close_slit(points: Flat) -> Flat:
    """Move the points round the open slit so that upper and lower lip meet in one line."""
    u, above = np.abs(points[:, 0]), points[:, 1] - MOUTH_CENTER
    slit = SLIT * np.clip(1 - (u / MOUTH_HALF_WIDTH) ** 2, 0, 1) ** 0.65
    beyond = np.clip((np.abs(above) - slit) / 18, 0, 1)
    inside = np.abs(above) < slit
    shift = np.where(inside, np.abs(above), slit * (1 - beyond) ** 2)
    closed = points.copy()
    closed[:, 1] -= np.sign(above) * shift
    return closed


def _even_angles(ring: Callable[[Angles], Flat], start: float, stop: float, count: int) -> Angles:
    """Give ``count + 1`` angles, ends included, that cut a ring's arc into nearly even pieces.

    "Nearly": a third of the way back to even angles, which keeps the corners of eyes and mouth round.
    """
    dense = np.linspace(start, stop, 721)
    length = np.concatenate([[0.0], np.cumsum(np.sqrt(np.sum(np.diff(ring(dense), axis=0) ** 2, axis=1)))])
    even = np.interp(np.linspace(0.0, length[-1], count + 1), length, dense)
    return 0.7 * even + 0.3 * np.linspace(start, stop, count + 1)


def _lid_distance(points: Flat) -> Angles:
    offset = np.linspace(0.0, 40.0, 201)
    angle = np.linspace(0, 2 * math.pi, 721)
    rings = np.concatenate([eye_opening(angle, float(o)) for o in offset])
    _, nearest = cKDTree(rings).query(points - EYE_CENTER)
    return offset[nearest // len(angle)]


def _exact_midline(points: Flat) -> Flat:
    points = points.copy()
    points[[0, -1], 0] = 0.0
    return points


def _walk_outline(scale: float) -> Flat:
    """Space points along the outline of the right half, from the top of the forehead to below the chin."""
    dense = _outline(np.linspace(math.pi / 2, -math.pi / 2, 2001))
    return _spaced(dense, scale)


def _walk_midline(low: float, high: float, scale: float) -> Flat:
    """Space points strictly between two heights of the midline."""
    v = np.linspace(low, high, 1001)
    return _spaced(np.stack([np.zeros(1001), v], axis=1), scale)[1:-1]


def _spaced(path: Float[np.ndarray, "corner 2"], scale: float) -> Flat:
    step = np.sqrt(np.sum(np.diff(path, axis=0) ** 2, axis=1))
    edges = np.concatenate([[0.0], np.cumsum(step / (scale * _edge_length((path[1:] + path[:-1]) / 2)))])
    at = np.linspace(0.0, edges[-1], max(2, round(edges[-1])) + 1)
    return np.stack([np.interp(at, edges, path[:, 0]), np.interp(at, edges, path[:, 1])], axis=1)


def _raster(step: float, spacing: float) -> tuple[Flat, float]:
    """Grid points of the right half's skin, and the area that each stands for."""
    u, v = np.meshgrid(
        np.arange(step / 2, OUTLINE_HALF_WIDTH, step),
        np.arange(OUTLINE_CENTER - OUTLINE_HALF_HEIGHT, OUTLINE_CENTER + OUTLINE_HALF_HEIGHT, step),
    )
    points = np.stack([u.ravel(), v.ravel()], axis=1)
    x, y = points[:, 0] / OUTLINE_HALF_WIDTH, (points[:, 1] - OUTLINE_CENTER) / OUTLINE_HALF_HEIGHT
    inside = np.abs(x) ** 2.4 + np.abs(y) ** 2.4 < 1
    angle = np.linspace(0, 2 * math.pi, 181)
    # The rings have these parts for themselves.
    eye = _within(points - EYE_CENTER, eye_opening(angle, EYE_RINGS[-1] * spacing))
    mouth = _within(points - (0, MOUTH_CENTER), _mouth_ring(angle, MOUTH_RINGS[-1] * spacing) - (0, MOUTH_CENTER))
    return points[inside & ~eye & ~mouth], step * step


def _within(points: Flat, ring: Float[np.ndarray, "corner 2"]) -> Bool[np.ndarray, " point"]:
    """Say which points lie within a convex ring round the origin, or nearly so."""
    turn = np.arctan2(ring[:-1, 1], ring[:-1, 0])
    order = np.argsort(turn)
    radius = np.interp(
        np.arctan2(points[:, 1], points[:, 0]),
        turn[order],
        np.hypot(ring[:-1, 0], ring[:-1, 1])[order],
        period=2 * math.pi,
    )
    return np.hypot(points[:, 0], points[:, 1]) < radius + 0.5


def _spread(
    count: int,
    fixed: Float[np.ndarray, "held 2"],
    raster: Float[np.ndarray, "pixel 2"],
    weight: Float[np.ndarray, " pixel"],
) -> Flat:
    """Spread ``count`` points between the fixed ones by Lloyd relaxation on the raster."""
    # The start takes raster points in an order that fills the plane evenly, each with the chance that its weight gives.
    order = np.argsort((np.arange(len(raster)) * 0.6180339887498949) % 1.0, kind="stable")
    distance, _ = cKDTree(fixed).query(raster[order])
    share = np.cumsum(np.sqrt(weight[order]) * (distance > 0.5 * weight[order] ** -0.25))
    pick = np.searchsorted(share, (np.arange(count) + 0.5) / count * share[-1])
    points = raster[order][pick] + 0.01 * np.stack([np.arange(count) % 7, np.arange(count) % 5], axis=1)
    for _ in range(LLOYD_ROUNDS):
        _, nearest = cKDTree(np.concatenate([points, fixed])).query(raster)
        mass = np.bincount(nearest, weight, count + len(fixed))[:count]
        moved = np.stack([np.bincount(nearest, weight * raster[:, k], count + len(fixed))[:count] for k in range(2)], 1)
        held = mass > 0
        points[held] = moved[held] / mass[held, None]
    return points
