"""What a registration found, how well it lies on the target, and whether it may be used at all.

A fit is refused, never returned, if it is bad by one of seven numbers of :class:`FitLimits`. They are different signs:
nothing was found to lie on, or nothing of the face itself, the shapes differ from the beginning, the surface was not
reached, much of it is left over, or it was reached by folding the template, or by a face as there is none.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from meshdisent.errors import DataError, RecipeError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.normals import face_normals, vertex_normals
from meshdisent.mesh.topology import Topology

_TURNED_DEGREES = 60.0
_FRONTAL = 0.5


class RegistrationRefused(DataError):
    """A registration that is not to be trusted.

    Attributes
    ----------
    stages : What was done before it was refused, in order.
    vertices : (V, 3) The template where it was left, in the frame of the target; None if nothing was begun.
    motion : From the frame of the template to that of the target, as far as it was found.
    """

    stages: "tuple[Stage, ...]" = ()
    vertices: Float[np.ndarray, "vertex 3"] | None = None
    motion: Similarity = Similarity.identity()


class TooMuchLeft(RegistrationRefused):
    """The template was laid on the target, but too much of the target lies beside it."""


@dataclass(frozen=True, kw_only=True)
class FitLimits:
    """Beyond these a fit has failed.

    Attributes
    ----------
    fewest_seen : Share of the template's surface that lies on the target. One side of a face is about a third.
    most_stiff_mm : Median distance after the first, stiffest stage. Faces differ from the mean face by 1 or 2 mm there.
    most_median_mm : Median distance at the end.
    fewest_explained : Share of the target's points that lie on the template. A wrong pose, or a wrong thing, leaves
        much of the target over (a face upside down 45 %, one that was found 14 % at most); so do hair and shoulders:
        take them off, or lower this.
    fewest_front : Share of the template's front (the nearer half, as far as it looks along +z) that lies on the target.
        From ears and neck alone a face can be placed and not known (10 mm off where the rest fits within 0.2 mm). One
        side of a face is about half.
    most_turned : Share of the seen surface of the template whose normal has turned by more than 60 degrees.
    most_unlikely : Standard deviations from the mean of the prior, if there is one
        (:meth:`~meshdisent.mesh.plane_fit.ShapePrior.unlikeliness`). A model of many directions can be bent to
        a torso; of 76 faces one is at 2.0 and the others are below, a torso is at 2.2, the back of a head at 2.6.
    """

    fewest_seen: float = 0.12
    fewest_front: float = 0.15
    fewest_explained: float = 0.8
    most_stiff_mm: float = 5.0
    most_median_mm: float = 1.5
    most_turned: float = 0.06
    most_unlikely: float = 2.1

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if not value > 0:
                raise RecipeError(f"The limit {name} of a registration is {value}; wanted more than 0.")


@dataclass(frozen=True, eq=False, kw_only=True)
class Stage:
    """One stage of a registration.

    Attributes
    ----------
    name : What moved.
    length_mm : Stiffness of a bending stage, noise of a stage with a prior, in mm.
    median_mm : Median distance of the matched vertices from their planes, mm of the template; infinite without any.
    matched : Share of the template's surface that had a match.
    vertices : (V, 3) The template at its end, in the frame of the target.
    """

    name: str
    length_mm: float
    median_mm: float
    matched: float
    vertices: Float[np.ndarray, "vertex 3"]


@dataclass(frozen=True, kw_only=True)
class Residual:
    """Distances of the seen vertices from the target surface, mm of the template."""

    median_mm: float
    mean_mm: float
    most_mm: float  # 95 % are nearer


@dataclass(frozen=True, eq=False, kw_only=True)
class Registration:
    """A scan of the template's topology that lies on a target surface.

    Attributes
    ----------
    vertices : (V, 3) In the frame and the unit of the target.
    in_template_frame : (V, 3) The same, moved to where the template is and to its size.
    motion : From the frame of the template to that of the target.
    is_seen : (V,) Whether a vertex lies on the target's surface, where it does not end; the others follow them.
    distance_mm : (V,) From each vertex to the target's surface, mm of the template.
    residual : Of the seen vertices.
    seen_share, front_share, explained_share, turned_share : See :class:`FitLimits`.
    unlikeliness : Standard deviations from the mean of the prior; None without one.
    stages : What was done, in order.
    """

    vertices: Float[np.ndarray, "vertex 3"]
    in_template_frame: Float[np.ndarray, "vertex 3"]
    motion: Similarity
    is_seen: Bool[np.ndarray, " vertex"]
    distance_mm: Float[np.ndarray, " vertex"]
    residual: Residual
    seen_share: float
    front_share: float
    explained_share: float
    turned_share: float
    stages: tuple[Stage, ...]
    unlikeliness: float | None = None


def residual_of(distance_mm: Float[np.ndarray, " seen"]) -> Residual:
    """Summary of distances; infinite if there are none."""
    if not len(distance_mm):
        return Residual(median_mm=np.inf, mean_mm=np.inf, most_mm=np.inf)
    middle, most = np.quantile(distance_mm, [0.5, 0.95])
    return Residual(median_mm=float(middle), mean_mm=float(distance_mm.mean()), most_mm=float(most))


def front_share(topology: Topology, areas: Float[np.ndarray, " vertex"], is_seen: Bool[np.ndarray, " vertex"]) -> float:
    """Share of the front that is seen: its area is of vertices in the nearer half whose normal is within 60 degrees of
    +z, so that a neck is none of it; 1 where there are none.
    """
    depth = topology.template[:, 2]
    is_front = (vertex_normals(topology.template, topology.faces)[:, 2] > _FRONTAL) & (depth > np.median(depth))
    whole = areas[is_front].sum()
    return float(areas[is_front & is_seen].sum() / whole) if whole > 0 else 1.0


def turned_share(
    topology: Topology, vertices: Float[np.ndarray, "vertex 3"], is_seen: Bool[np.ndarray, " vertex"]
) -> float:
    """Share of the seen faces, by area, that look more than 60 degrees away from where those of the template do.

    Lids that close turn as far, and they are small; a template that is folded, or drawn over something that is no
    face, turns much of its surface.
    """
    seen = topology.faces[is_seen[topology.faces].all(axis=1)]
    before, after = face_normals(topology.template, seen), face_normals(vertices, seen)
    area = np.linalg.norm(before, axis=1)
    alike = (before * after).sum(axis=1) / np.maximum(area * np.linalg.norm(after, axis=1), 1e-12)
    is_turned = alike < np.cos(np.radians(_TURNED_DEGREES))
    return float(area[is_turned].sum() / area.sum()) if area.sum() > 0 else 0.0


def check_stiff(stage: Stage, limits: FitLimits) -> None:
    """Raise :class:`RegistrationRefused` if the first stage says that these are two different things."""
    if stage.matched < limits.fewest_seen:
        raise RegistrationRefused(
            f"The registration failed: {stage.matched:.1%} of the template's surface found a match on the target; "
            f"wanted {limits.fewest_seen:.0%} or more. Look whether the target is a face in mm, and how it looks; give "
            "landmarks, or starts of the pose, if it lies far away or does not look along +z."
        )
    if stage.median_mm > limits.most_stiff_mm:
        raise RegistrationRefused(
            f"The registration failed: after the stiff stage half of the matched vertices are {stage.median_mm:.2f} mm "
            f"or more from the target; wanted at most {limits.most_stiff_mm:g}. The target is another thing than the "
            "template, or its pose was not found: give landmarks, or starts of the pose."
        )


def check_fit(found: Registration, limits: FitLimits) -> None:
    """Raise :class:`RegistrationRefused` if a fit is not to be trusted."""
    if found.seen_share < limits.fewest_seen:
        raise RegistrationRefused(
            f"The registration failed: {found.seen_share:.1%} of the template's surface lies on the target; wanted "
            f"{limits.fewest_seen:.0%} or more. The target shows too little of a face, or its pose was not found: "
            "give landmarks, or starts of the pose."
        )
    if found.front_share < limits.fewest_front:
        raise RegistrationRefused(
            f"The registration failed: {found.front_share:.1%} of what looks to the front on the template lies on the "
            f"target; wanted {limits.fewest_front:.0%} or more. The target shows ears, neck or the back of the head; a "
            "face made of them would be invented."
        )
    if found.residual.median_mm > limits.most_median_mm:
        raise RegistrationRefused(
            f"The registration failed: half of the seen vertices are {found.residual.median_mm:.2f} mm or more from "
            f"the target; wanted at most {limits.most_median_mm:g}. The target is too rough, or is no face."
        )
    if found.explained_share < limits.fewest_explained:
        raise TooMuchLeft(
            f"The registration failed: {found.explained_share:.1%} of the target lies on the template; wanted "
            f"{limits.fewest_explained:.0%} or more. The pose was not found (give landmarks or starts of the pose), or "
            "the target has much that the template has not: cut it off, or lower the limit fewest_explained."
        )
    if found.turned_share > limits.most_turned:
        raise RegistrationRefused(
            f"The registration failed: {found.turned_share:.1%} of the seen surface has turned by more than "
            f"{_TURNED_DEGREES:.0f} degrees; wanted at most {limits.most_turned:.0%}. The template has folded, or was "
            "drawn over something that is no face: look at the target, give landmarks or a shape prior."
        )
    if found.unlikeliness is not None and found.unlikeliness > limits.most_unlikely:
        raise RegistrationRefused(
            f"The registration failed: the shape is {found.unlikeliness:.1f} standard deviations from the mean of the "
            f"prior (root mean square); wanted at most {limits.most_unlikely:g}. The target is no face, or none that "
            "the model knows: look at it, or do without a prior."
        )
