"""Faces that a decimation has turned over, and how they are turned back.

A collapse is chosen for points that may lie anywhere; once each group is represented by one of its own vertices, a few
small faces look the wrong way (on the ICT face, 9,409 to 1,200 vertices: 7 of 2,290).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

_FLATTEST = 1e-6  # area over squared longest edge, below which a face counts as degenerate
_CANDIDATES = 24  # members of a group that are tried; they come by cost, and the good ones come early
_PASSES = 8  # two or three are enough for almost every surface


def is_turned(
    points: Float[np.ndarray, "point 3"], faces: Int[np.ndarray, "face 3"], normals: Float[np.ndarray, "point 3"]
) -> Bool[np.ndarray, " face"]:
    """Whether each face looks away from the normals of the full surface at its corners, or has no area.

    Parameters
    ----------
    points, faces : The decimated mesh.
    normals : (n, 3) Unit normals of the full template at the points.
    """
    first, second, third = (points[faces[:, column]] for column in range(3))
    one, other = second - first, third - first
    normal = np.cross(one, other)
    longest = np.maximum(np.maximum((one**2).sum(axis=1), (other**2).sum(axis=1)), ((third - second) ** 2).sum(axis=1))
    wanted = normals[faces].sum(axis=1)
    agreement = (normal * wanted).sum(axis=1)
    is_flat = np.linalg.norm(normal, axis=1) <= _FLATTEST * longest
    return is_flat | ((agreement <= 0) & (wanted != 0).any(axis=1))


def turn_back(
    vertices: Float[np.ndarray, "vertex 3"],
    normals: Float[np.ndarray, "vertex 3"],
    chosen: Int[np.ndarray, " group"],
    corners: Int[np.ndarray, "face 3"],
    members: Sequence[Int[np.ndarray, " _"]],
) -> tuple[Int[np.ndarray, " group"], Int[np.ndarray, "face 3"]]:
    """Choose other members for groups with turned faces, then swap edges where that did not help.

    Parameters
    ----------
    vertices, normals : The full template.
    chosen : (n,) The vertex that represents each group.
    corners : (m, 3) Faces between groups.
    members : For each group, the vertices that may represent it, best first.

    Returns
    -------
    ``chosen`` and ``corners`` with as few turned faces as these two moves reach.
    """
    chosen, corners = chosen.copy(), corners.copy()
    for _ in range(_PASSES):
        has_chosen = _choose_again(vertices, normals, chosen, corners, members)
        has_swapped = not has_chosen and _swap_edges(vertices, normals, chosen, corners)
        if not (has_chosen or has_swapped):
            break
    return chosen, corners


def _choose_again(
    vertices: np.ndarray, normals: np.ndarray, chosen: np.ndarray, corners: np.ndarray, members: Sequence[np.ndarray]
) -> bool:
    """One pass over the groups at turned faces, in place; whether anything has changed."""
    turned = is_turned(vertices, chosen[corners], normals)
    has_changed = False
    for group in np.unique(corners[turned]):
        around = corners[(corners == group).any(axis=1)]  # (k, 3)
        options = members[group][:_CANDIDATES]
        trial = np.where(around == group, options[:, None, None], chosen[around])  # (c, k, 3)
        count = is_turned(vertices, trial.reshape(-1, 3), normals).reshape(len(options), -1).sum(axis=1)
        best = int(np.argmin(count))  # the first of the best is the cheapest
        if count[best] < is_turned(vertices, chosen[around], normals).sum():
            chosen[group] = options[best]
            has_changed = True
    return has_changed


def _swap_edges(vertices: np.ndarray, normals: np.ndarray, chosen: np.ndarray, corners: np.ndarray) -> bool:
    """Swap an edge of each turned face where that leaves fewer turned faces, in place; whether anything has changed."""
    turned = np.flatnonzero(is_turned(vertices, chosen[corners], normals))
    if not len(turned):
        return False
    has_changed = False
    face_of_edge = {edge: face for face, corner in enumerate(corners.tolist()) for edge in _edges(corner)}
    for face in turned.tolist():
        for column in range(3):
            start, end, tip = (int(corners[face, (column + shift) % 3]) for shift in range(3))
            neighbor = face_of_edge.get((end, start))
            if neighbor is None:
                continue
            far = next(corner for corner in corners[neighbor].tolist() if corner not in (start, end))
            if far == tip or (tip, far) in face_of_edge or (far, tip) in face_of_edge:
                continue
            before, after = corners[[face, neighbor]], np.array([[start, far, tip], [far, end, tip]])
            both = is_turned(vertices, chosen[np.concatenate([before, after])], normals)
            if both[2:].sum() < both[:2].sum():
                corners[[face, neighbor]] = after
                for edge in (*_edges(before[0].tolist()), *_edges(before[1].tolist())):
                    face_of_edge.pop(edge, None)
                for index, corner in zip((face, neighbor), after.tolist(), strict=True):
                    face_of_edge |= dict.fromkeys(_edges(corner), index)
                has_changed = True
                break
    return has_changed


def _edges(corner: list[int]) -> list[tuple[int, int]]:
    return [(corner[0], corner[1]), (corner[1], corner[2]), (corner[2], corner[0])]
