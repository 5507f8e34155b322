"""A depth map to a scan: its pixels become a surface in mm, and a topology is registered to it.

Depth is z in the frame of a camera (x right, y down, z forward), with the head about one unit away. The surface is in
the frame of scans, x right, y up, z to the viewer:

.. math:: (x, y, z)_{mm} = u \\, (x, -y, -(z - 1)),

with u mm in one unit of depth, 1000 where it is a meter. Two triangles join the pixels of a square; those across a jump
in depth, from the nose to the cheek behind it, are left out, so that the surface ends there. Only what the camera sees
is in it: of a turned head one side, and the registration says which vertices are seen.

Depth that was measured is followed (:func:`to_scan`). Depth that a network guesses from a picture without labels is
another thing (:func:`guessed_scan`): light and pose fix it up to a stretch along the view and a tilt, the bas-relief
ambiguity (Belhumeur, Kriegman and Yuille 1999), and it is wrong by millimeters. The stretch is looked for first, then
the likely face that it resembles.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.sparse as sparse
import torch
from jaxtyping import Bool, Float, Int
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from meshdisent.errors import DataError
from meshdisent.mesh.alignment import Similarity
from meshdisent.mesh.landmarks import Landmarks
from meshdisent.mesh.plane_fit import ShapePrior
from meshdisent.mesh.pose_search import frontal_starts, search_pose
from meshdisent.mesh.registration import RegistrationConfig, register
from meshdisent.mesh.registration_result import FitLimits, Registration
from meshdisent.mesh.target_surface import TargetSurface
from meshdisent.mesh.topology import Topology
from meshdisent.render.camera import Camera
from meshdisent.render.depth_map import depth_points, grid_faces

#: A surface that is steeper than this against the view is a jump from one thing to another.
STEEPEST_DEGREES = 78.0
#: Error of a guessed depth, mm, as :func:`guessed_scan` weighs it. The errors of neighbors are alike, so that it is
#: several times that of a pixel. Chosen by hand on eight pictures: 12 mm was worse, 60 mm a little better and hardly
#: looks at the picture (``benchmarks/picture_to_scan.py --noise`` tries others).
GUESS_MM = 30.0
#: Stretches along the view that are tried.
RELIEFS = (0.35, 0.45, 0.55, 0.65, 0.75, 0.85, 1.0, 1.2, 1.45, 1.75)
_FIRST_RELIEF = 0.75
_SMALLEST_PIECE = 0.02  # share of the pixels; smaller pieces are what one sees through an eye or between lips


def depth_surface(
    depth: Float[np.ndarray, "height width"] | Float[Tensor, "height width"],
    camera: Camera,
    mask: Bool[np.ndarray, "_ _"] | Bool[Tensor, "_ _"] | None = None,
    *,
    unit_mm: float = 1000.0,
    steepest_degrees: float = STEEPEST_DEGREES,
) -> tuple[Float[np.ndarray, "vertex 3"], Int[np.ndarray, "face 3"]]:
    """The surface that a depth map shows, in mm, x right, y up, z to the viewer.

    Parameters
    ----------
    depth : (S, S) z of what the center of each pixel sees.
    camera : Of the same size.
    mask : (S, S) Which pixels see the head; None for those whose depth is finite and above 0.
    unit_mm : Millimeters in a unit of depth.
    steepest_degrees : Triangles whose depth rises more than such a slope does are left out.

    Returns
    -------
    vertices : (P, 3) One a pixel that is part of a triangle.
    faces : (F, 3) Counter-clockwise from the viewer.

    Raises
    ------
    DataError : If the sizes differ, a pixel of the mask has no depth, or no surface is left.
    """
    depth = torch.as_tensor(depth).detach().to("cpu", torch.float64)
    if tuple(depth.shape) != (camera.height, camera.width):
        raise DataError(
            f"The depth map is {tuple(depth.shape)} and its camera has {camera.height} x {camera.width} pixels; wanted "
            "the same. Use the camera of the depth map's size."
        )
    if not (unit_mm > 0 and 0 < steepest_degrees < 90):
        raise DataError(
            f"The unit of depth is {unit_mm:g} mm and the steepest slope {steepest_degrees:g} degrees; wanted more "
            "than 0 mm, and between 0 and 90 degrees."
        )
    is_seen = _seen(depth, mask)
    points = depth_points(torch.where(is_seen, depth, 1.0)[None], camera)[0].numpy()
    vertices = unit_mm * (points * [1.0, -1.0, -1.0] + [0.0, 0.0, 1.0]).reshape(-1, 3)
    faces = grid_faces(camera.height, camera.width).numpy()
    faces = faces[is_seen.numpy().ravel()[faces].all(axis=1)]
    z = depth.numpy().ravel()[faces]
    widest = 2**0.5 * z.mean(axis=1) / camera.focal * np.tan(np.radians(steepest_degrees))
    faces = _large_pieces(faces[np.ptp(z, axis=1) <= widest], len(vertices), int(is_seen.sum()))
    if not len(faces):
        raise DataError(
            f"The depth map has {int(is_seen.sum())} pixels with a depth and no surface among them; wanted neighbors "
            "of similar depth. Look at the mask, and whether the unit of depth is that of the camera."
        )
    kept, numbered = np.unique(faces, return_inverse=True)
    return vertices[kept], numbered.reshape(-1, 3)


def to_scan(
    depth: Float[np.ndarray, "height width"] | Float[Tensor, "height width"],
    topology: Topology,
    camera: Camera,
    mask: Bool[np.ndarray, "_ _"] | Bool[Tensor, "_ _"] | None = None,
    *,
    unit_mm: float = 1000.0,
    config: RegistrationConfig | None = None,
    landmarks: Landmarks | None = None,
    starts: Sequence[Similarity] | None = None,
    prior: ShapePrior | None = None,
) -> Registration:
    """Register a topology to a depth map.

    Parameters
    ----------
    depth, camera, mask, unit_mm : As in :func:`depth_surface`.
    topology, config, landmarks, starts, prior : As in :func:`~meshdisent.mesh.registration.register`. Without
        landmarks and starts the head may be turned by up to 40 degrees to either side.

    Returns
    -------
    Registration, with vertices in mm in the frame of :func:`depth_surface`.

    Raises
    ------
    DataError : If the map shows no surface, or none that the template fits.
    """
    vertices, faces = depth_surface(depth, camera, mask, unit_mm=unit_mm)
    target = TargetSurface.of_mesh(vertices, faces)
    return register(topology, target, config, landmarks=landmarks, starts=starts, prior=prior)


class GuessedScan(NamedTuple):
    """A scan from a guessed depth, and by how much that was stretched along the view before it was registered."""

    registration: Registration
    relief: float


def guessed_scan(
    depth: Float[np.ndarray, "height width"] | Float[Tensor, "height width"],
    topology: Topology,
    camera: Camera,
    mask: Bool[np.ndarray, "_ _"] | Bool[Tensor, "_ _"] | None = None,
    *,
    unit_mm: float = 1000.0,
    noise_mm: float = GUESS_MM,
    prior: ShapePrior | None = None,
) -> GuessedScan:
    """Register a topology to the depth that a network guessed from a picture.

    The relief of the guess is brought to that of a likely face first: the stretch along the view is taken that leaves
    the template the least distance. Then the likely face is found, or, without a prior, the template bends in waves as
    long as a face. Size comes from the template, since a picture does not tell it.

    Parameters
    ----------
    depth, topology, camera, mask, unit_mm, prior : As in :func:`to_scan`.
    noise_mm : How wrong the guess is; the less, the nearer to it and the further from the likely face.

    Returns
    -------
    GuessedScan; its vertices lie on the stretched surface.

    Raises
    ------
    DataError : If the map shows no surface, none that the template fits, or the noise is not above 0.
    """
    if not noise_mm > 0:
        raise DataError(f"The error of the guessed depth is {noise_mm:g} mm; wanted more than 0.")
    vertices, faces = depth_surface(depth, camera, mask, unit_mm=unit_mm)
    mean = topology if prior is None else Topology(np.asarray(prior.mean, dtype=np.float64), topology.faces)
    relief, start = _relief(vertices, faces, mean)
    config = RegistrationConfig(
        with_scale=True,
        noises_mm=(max(60.0, noise_mm), noise_mm),
        lengths_mm=(60.0,),
        lengths_beside_prior_mm=(),
        lengths_after_prior_mm=(),
        seen_mm=10.0,
        limits=FitLimits(most_stiff_mm=8.0, most_median_mm=6.0, fewest_explained=0.6),
    )
    target = TargetSurface.of_mesh(_stretched(vertices, relief), faces)
    return GuessedScan(register(topology, target, config, starts=[start], prior=prior), relief)


def _relief(vertices: np.ndarray, faces: np.ndarray, mean: Topology) -> tuple[float, Similarity]:
    """The stretch along the view that leaves a face the least distance, and the pose there."""
    first = _FIRST_RELIEF
    found: dict[float, tuple[Similarity, float]] = {}
    for relief in (first, *(value for value in RELIEFS if value != first)):
        target = TargetSurface.of_mesh(_stretched(vertices, relief), faces)
        starts = [found[first][0]] if found else frontal_starts(mean, target)
        found[relief] = search_pose(mean, target, starts)
    relief = min(found, key=lambda value: found[value][1])
    return relief, found[relief][0]


def _stretched(vertices: np.ndarray, relief: float) -> np.ndarray:
    return vertices * [1.0, 1.0, relief]


def face_ellipse(size: int, width: float = 0.8, height: float = 0.95) -> Bool[np.ndarray, "size size"]:
    """The middle of a frontal picture, where the face is and no background: shares of its sides.

    Examples
    --------
    >>> face_ellipse(4, 0.8, 1.0).astype(int).tolist()
    [[0, 1, 1, 0], [1, 1, 1, 1], [1, 1, 1, 1], [0, 1, 1, 0]]
    """
    at = 2 * (np.arange(size) + 0.5) / size - 1
    return (at[None, :] / width) ** 2 + (at[:, None] / height) ** 2 <= 1


def _seen(depth: Float[Tensor, "height width"], mask: np.ndarray | Tensor | None) -> Bool[Tensor, "height width"]:
    has_depth = torch.isfinite(depth) & (depth > 0)
    if mask is None:
        return has_depth
    wanted = torch.as_tensor(mask).detach().to("cpu", torch.bool)
    if wanted.shape != depth.shape:
        raise DataError(f"The mask is {tuple(wanted.shape)} and the depth map {tuple(depth.shape)}; wanted one size.")
    missing = int((wanted & ~has_depth).sum())
    if missing:
        raise DataError(
            f"The depth map has no depth, or none above 0, at {missing} pixels of the mask; wanted a depth at each. "
            "Take them out of the mask."
        )
    return wanted


def _large_pieces(faces: Int[np.ndarray, "face 3"], count: int, seen: int) -> Int[np.ndarray, "kept 3"]:
    """The faces of pieces with a share of the pixels, or of the largest one."""
    if not len(faces):
        return faces
    ends = (faces[:, [0, 1]].ravel(), faces[:, [1, 2]].ravel())
    graph = sparse.coo_array((np.ones(len(ends[0]), dtype=np.int8), ends), shape=(count, count))
    piece = connected_components(graph, directed=False)[1]
    sizes = np.bincount(piece)
    is_large = sizes >= min(_SMALLEST_PIECE * seen, sizes.max())
    return faces[is_large[piece[faces[:, 0]]]]
