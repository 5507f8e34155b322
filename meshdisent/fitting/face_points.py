"""Points of a face that a topology shows by itself: corners of its eyes, its mouth, and the tip of its nose.

Where a template is open at two eyes and a mouth, the rims say where these are. Names are those of the 68-point scheme
(:data:`~meshdisent.mesh.landmark_files.IBUG_68`); left and right are the person's own.
"""

import numpy as np
from jaxtyping import Float, Int

from meshdisent.data.synthetic_chart import face_chart
from meshdisent.errors import DataError
from meshdisent.mesh.alignment import align
from meshdisent.mesh.closest import closest_points
from meshdisent.mesh.openings import find_openings
from meshdisent.mesh.template_fit import LandmarkPairs
from meshdisent.mesh.topology import Topology

#: Places all over that chart, where the surfaces of two heads are laid on each other as they come to lie.
_AROUND = [(u, v) for u in (-75.0, -45.0, 0.0, 45.0, 75.0) for v in (-80.0, -30.0, 20.0, 60.0)] + [(0.0, -106.0)]

#: The same points on the chart of the synthetic head, mm: outwards (the left side's sign), and up.
_ON_CHART = {
    "outer corner of the left eye": (46.7, 0.0),
    "outer corner of the right eye": (-46.7, 0.0),
    "inner corner of the left eye": (16.3, 0.0),
    "inner corner of the right eye": (-16.3, 0.0),
    "inner lips 1": (-25.5, -65.0),
    "inner lips 3": (0.0, -64.8),
    "inner lips 5": (25.5, -65.0),
    "inner lips 7": (0.0, -65.2),
    "tip of the nose": (0.0, -35.0),
}


def face_points(topology: Topology) -> dict[str, int]:
    """Vertices of named points that the openings of a template tell.

    Returns
    -------
    Nine names with their vertices: corners of the eyes, corners and middles of the inner lips, the tip of the nose.

    Raises
    ------
    DataError : If the template is not open at two eyes and a mouth.
    """
    template = np.asarray(topology.template)
    found = find_openings(template, topology.faces)
    if found is None:
        raise DataError(
            "The template is not open at two eyes and a mouth, so its landmarks cannot be told from its shape; wanted "
            "a file with places or vertices of named points on the template (--template-landmarks FILE)."
        )
    left, right, mouth = found
    return {
        "outer corner of the left eye": _end(template, left, 0, 1),
        "outer corner of the right eye": _end(template, right, 0, -1),
        "inner corner of the left eye": _end(template, left, 0, -1),
        "inner corner of the right eye": _end(template, right, 0, 1),
        "inner lips 1": _end(template, mouth, 0, -1),
        "inner lips 3": _middle(template, mouth, 1),
        "inner lips 5": _end(template, mouth, 0, 1),
        "inner lips 7": _middle(template, mouth, -1),
        "tip of the nose": _nose(template, found.mouth),
    }


def pairs_with_synthetic_head(head: Topology, topology: Topology) -> LandmarkPairs:
    """Points of the synthetic head and of a topology, by which paint is carried over.

    The named points say how one head lies on the other; points around them, which keep what is far from eyes and mouth
    in place, are then the closest ones.
    """
    rows = face_points(topology)
    position, points = face_chart(head.vertex_count).position, np.asarray(head.template)

    def at(place: tuple[float, float]) -> Float[np.ndarray, "3"]:
        return points[np.linalg.norm(position - np.array(place), axis=1).argmin()]

    source = np.stack([at(_ON_CHART[name]) for name in rows])
    template = np.asarray(topology.template)
    target = template[list(rows.values())]
    around = np.stack([at(place) for place in _AROUND])
    laid = align(source, target, with_scale=True).apply(around)
    face, weights, _ = closest_points(laid, template, topology.faces)
    beside = (template[topology.faces[face]] * weights[..., None]).sum(1)
    return LandmarkPairs(np.concatenate([source, around]), np.concatenate([target, beside]))


def _end(points: Float[np.ndarray, "vertex 3"], rim: Int[np.ndarray, " rim"], axis: int, sign: int) -> int:
    return int(rim[(sign * points[rim, axis]).argmax()])


def _middle(points: Float[np.ndarray, "vertex 3"], rim: Int[np.ndarray, " rim"], side: int) -> int:
    """The vertex of the upper (1) or lower (-1) half of a rim that is nearest to its middle, sideways."""
    width = np.ptp(points[rim, 0])
    central = rim[np.abs(points[rim, 0] - points[rim, 0].mean()) < 0.25 * width]
    height = side * (points[central, 1] - points[rim, 1].mean())
    upper = central[height >= 0]
    chosen = upper if len(upper) else central
    return int(chosen[np.abs(points[chosen, 0] - points[rim, 0].mean()).argmin()])


def _nose(points: Float[np.ndarray, "vertex 3"], mouth: Int[np.ndarray, " rim"]) -> int:
    """The foremost vertex above the mouth."""
    above = np.flatnonzero(points[:, 1] > points[mouth, 1].max())
    return int(above[points[above, 2].argmax()])
