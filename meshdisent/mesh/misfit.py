"""Guesses what is wrong with a scan that does not lie as the template does: its unit, a mirror, a turn, its place.

Only what no face and no expression explains is called wrong. On 6,000 scans of ICT-FaceKit sizes are 0.85 to 1.11 times
the template's, turns at most 7 degrees, and centers at most 0.11 sizes away.
"""

import numpy as np
from jaxtyping import Float
from scipy.spatial.transform import Rotation

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity, align

#: Millimeters in one of each unit that scans are seen in, and how ``meshdisent prepare --unit`` calls it, if it does.
UNITS: dict[str, tuple[float, str | None]] = {
    "centimeters": (10.0, "cm"),
    "meters": (1000.0, "m"),
    "decimeters": (100.0, None),
    "inches": (25.4, None),
}
MOST_TURN_DEGREES = 30.0
_NEAR = 0.25  # sizes from the template nothing can be wrong; most scans are, which saves two alignments
_METRIC = ("centimeters", "decimeters", "meters")
_WORST_GUESS = 1.5  # a size so many times off from what a unit explains is explained by none
_LIKE_RIGHT_ANGLE = 10.0  # degrees
_FITS_BETTER = 0.7  # a turn is to blame only if undoing it leaves at most this share of the distance
_FITS_MUCH_BETTER = 0.5  # the same for a mirror image
_ALIGN = (
    "Align it first: prepare the scans with --align rigid --topology TEMPLATE, or in Python: "
    "meshdisent.mesh.alignment.align(vertices, model.topology.template).apply(vertices)."
)


def misfit(vertices: Float[np.ndarray, "vertex 3"], template: Float[np.ndarray, "vertex 3"]) -> str | None:
    """Say what is wrong with where a scan lies and how to mend it; None if nothing is, or if it cannot be said.

    Parameters
    ----------
    vertices, template : (V, 3) Corresponding points, finite. The template is in mm; one without size fits everything.

    Returns
    -------
    The rest of a sentence about the scan, and what to do.

    Examples
    --------
    >>> head = np.array([[80.0, 0, 0], [0, 120, 0], [0, 0, 100], [-80, 0, 0], [0, -120, 0]])
    >>> misfit(head * 1.2 + 20, head) is None
    True
    >>> print(misfit(head / 10, head).split(":")[0])
    looks like centimeters
    """
    center, wanted_center = vertices.mean(axis=0, dtype=np.float64), template.mean(axis=0, dtype=np.float64)
    found, wanted = vertices - center, template - wanted_center
    size, wanted_size = (float(np.sqrt((points**2).sum(axis=1).mean())) for points in (found, wanted))
    if wanted_size <= 1e-9 * np.abs(template).max(initial=0.0) or _distance(vertices, template) <= _NEAR * wanted_size:
        return None
    if size <= 1e-9 * np.abs(vertices).max(initial=0.0):
        return "has all its vertices at one place; wanted a face. Export it again, or leave it out."
    away = float(np.linalg.norm(center - wanted_center))
    return (
        _unit_reason(size, wanted_size)
        or _turn_reason(found / size, wanted / wanted_size)
        or _place_reason(away, wanted_size)
    )


def _unit_reason(size: float, wanted: float) -> str | None:
    ratio = wanted / size
    known = {factor: f"looks like {name}" for name, (factor, _) in UNITS.items()}
    # Nobody scans in hundredths of a millimeter.
    known |= {1 / UNITS[n][0]: f"looks like millimeters, given to a model that was trained on {n}" for n in _METRIC}
    factor = min([1.0, *known], key=lambda candidate: abs(np.log(ratio / candidate)))
    if factor == 1.0:
        return None
    is_guess = 1 / _WORST_GUESS < ratio / factor < _WORST_GUESS
    guess = known[factor] if is_guess else "looks like another unit"
    flag = next((flag for value, flag in UNITS.values() if value == factor and is_guess), None)
    share = f"1/{_short(ratio)} of" if ratio > 1 else f"{_short(1 / ratio)} times"
    return (
        f"{guess}: its size is {share} the template's ({_short(size)} for {_short(wanted)} mm, root mean square from "
        f"the center). Multiply its vertices by {_short(factor if is_guess else ratio)}"
        + (f", or prepare the scans with --unit {flag}." if flag else ".")
    )


def _short(number: float) -> str:
    """Three digits, and 1000 instead of 1e+03."""
    return f"{float(f'{number:.3g}'):g}"


def _turn_reason(found: np.ndarray, wanted: np.ndarray) -> str | None:
    """What turn or mirroring brings the scan onto the template; both are centered and of size 1."""
    try:
        turn, mirror = align(found, wanted), align(-found, wanted)
    except DataError:  # points on a line fix no turn
        return None
    ways = (found, turn.apply(found), mirror.apply(-found))
    before, turned, mirrored = (_distance(points, wanted) for points in ways)
    if mirrored < _FITS_MUCH_BETTER * turned:
        return f"is a mirror image: {_mirror_name(mirror)}. Undo that where the scan comes from."
    angle = np.degrees(Rotation.from_matrix(turn.rotation).magnitude())
    if angle <= MOST_TURN_DEGREES or turned > _FITS_BETTER * before:
        return None
    return (
        f"is turned: {_turn_name(turn)} brings it onto the model's template; wanted at most {MOST_TURN_DEGREES:.0f} "
        f"degrees. {_ALIGN}"
    )


def _distance(points: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(((points - wanted) ** 2).sum(axis=1).mean(dtype=np.float64)))


def _turn_name(motion: Similarity) -> str:
    """The turn of the points as people say it, right-handed about an axis."""
    turn = Rotation.from_matrix(motion.rotation.T)  # points are rows, so the matrix of the turn is the transpose
    for axis in "xyz":
        for degrees in (90, 180, -90):
            rest = turn * Rotation.from_euler(axis, -degrees, degrees=True)
            if np.degrees(rest.magnitude()) <= _LIKE_RIGHT_ANGLE:
                return f"a turn by {degrees} degrees about {axis}"
    x, y, z = turn.as_rotvec() / turn.magnitude()
    return f"a turn by {np.degrees(turn.magnitude()):.0f} degrees about the axis ({x:.2f}, {y:.2f}, {z:.2f})"


def _mirror_name(motion: Similarity) -> str:
    """What mirrors the scan back, if it is a change of one sign or a swap of two axes."""
    for first, second in (("y", "z"), ("x", "z"), ("x", "y")):
        swap = np.eye(3)
        rows = ["xyz".index(first), "xyz".index(second)]
        swap[rows] = swap[rows[::-1]]
        if _is_near(-motion.rotation, swap):
            return f"it fits the model's template with {first} and {second} swapped"
    for k, axis in enumerate("xyz"):
        flip = np.eye(3)
        flip[k, k] = -1.0
        if _is_near(-motion.rotation, flip):
            return f"it fits the model's template with the sign of {axis} changed"
    return "it fits the model's template only when mirrored and turned"


def _is_near(mirror: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.degrees(Rotation.from_matrix(mirror @ wanted.T).magnitude()) <= _LIKE_RIGHT_ANGLE)


def _place_reason(away_mm: float, size_mm: float) -> str | None:
    if away_mm <= size_mm:
        return None
    return f"lies {away_mm:.0f} mm from the model's template; wanted at most its size, {size_mm:.0f} mm. {_ALIGN}"
