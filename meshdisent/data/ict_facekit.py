"""ICT-FaceKit (Li et al. 2020, MIT license): a clone of its repository, read as displacements in mm.

The model is in centimeters; its shapes are absolute meshes of 26,719 vertices, quads and triangles. A scan of fewer
vertices may still be on its topology: one that was cut to a region or decimated by selection. :func:`find_rows` says
which vertices of the whole head it has.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from meshdisent.errors import DataError, MeshError, TopologyError
from meshdisent.mesh.mesh import Mesh

IDENTITY_COUNT = 100
MM_PER_UNIT = 10.0  # the files are in cm
#: First and one past the last vertex of each part, from the repository's documentation.
PARTS = {
    "narrow_face": (0, 6706),
    "face": (0, 9409),
    "head_and_neck": (9409, 11248),
    "mouth_socket": (11248, 13294),
    "eye_sockets": (13294, 14062),
    "gums_and_tongue": (14062, 17039),
    "teeth": (17039, 21451),
    "eyeball_left": (21451, 23021),
    "eyeball_right": (23021, 24591),
    "full": (0, 26719),
}
#: Shapes of the repository that ARKit has no name for; the other 53 have one, some with a side appended.
NOT_ARKIT = ("cheekRaiser_L", "cheekRaiser_R", "PupilDilate_L", "PupilDilate_R")
#: Beyond this many mm a vertex is not one of the head's; those of the mean of 180 people come within 0.15 mm.
FARTHEST = 1.0


def clone_folder(clone: Path) -> Path:
    """The folder of a clone that holds the shapes; raises :class:`DataError` if there is none."""
    for folder in (clone / "FaceXModel", clone):
        if (folder / "generic_neutral_mesh.obj").is_file():
            return folder
    raise DataError(
        f"{clone} has no FaceXModel/generic_neutral_mesh.obj; wanted a clone of ICT-FaceKit "
        "(git clone https://github.com/USC-ICT/ICT-FaceKit). Check the folder."
    )


def read_generic(clone: Path) -> Mesh:
    """The generic face at rest, the whole head, in mm."""
    path = clone_folder(clone) / "generic_neutral_mesh.obj"
    neutral = _read(path)
    if len(neutral.vertices) != PARTS["full"][1]:
        raise DataError(
            f"{path} has {len(neutral.vertices)} vertices; wanted the {PARTS['full'][1]} of ICT-FaceKit's light model. "
            "Clone the repository again."
        )
    return neutral.with_vertices(neutral.vertices * MM_PER_UNIT)


def read_displacement(path: Path, generic: Float[np.ndarray, "vertex 3"]) -> Float[np.ndarray, "vertex 3"]:
    """What one shape does to the generic face, in mm."""
    shape = _read(path).vertices
    if shape.shape != generic.shape:
        raise DataError(
            f"{path} has {len(shape)} vertices; the neutral has {len(generic)}. Clone the repository again."
        )
    return shape * MM_PER_UNIT - generic


def arkit_shapes(clone: Path) -> list[str]:
    """Names of the shapes in a clone that ARKit has, too: all but identity modes, materials and ``NOT_ARKIT``."""
    names = {path.stem for path in clone_folder(clone).glob("*.obj")}
    own = {"generic_neutral_mesh", *NOT_ARKIT}
    return sorted(name for name in names - own if not name.startswith("identity"))


def find_rows(face: Float[np.ndarray, "vertex 3"], clone: Path) -> Int[np.ndarray, " vertex"]:
    """The vertices of the whole head that a face at rest has, whoever's face it is.

    Nearest vertices of the generic face, then of the face that the identity modes fit to those, until nothing changes.
    The mean of many people is the best face to ask with.

    Parameters
    ----------
    face : In mm, in the frame of ICT-FaceKit.

    Raises
    ------
    TopologyError : If a vertex is none of the head's, or two are the same.
    """
    from scipy.spatial import KDTree

    last = PARTS["face" if len(face) <= PARTS["face"][1] else "full"][1]
    generic = read_generic(clone).vertices
    folder = clone_folder(clone)
    files = [folder / f"identity{k:03d}.obj" for k in range(IDENTITY_COUNT)]
    modes = np.stack([read_displacement(file, generic)[:last].astype(np.float32) for file in files])
    generic = generic[:last]
    distance, rows = KDTree(generic).query(face)
    for _ in range(10):
        basis = modes[:, rows].reshape(IDENTITY_COUNT, -1).astype(np.float64)
        # Weights are standard normal in the population: the identity is the prior, in mm^2 summed over the vertices.
        weights = np.linalg.solve(basis @ basis.T + np.eye(IDENTITY_COUNT), basis @ (face - generic[rows]).ravel())
        before = rows
        distance, rows = KDTree(generic + np.tensordot(weights, modes, axes=1)).query(face)
        if np.array_equal(rows, before):
            break
    _check_rows(rows, distance)
    return rows.astype(np.int64)


def _check_rows(rows: np.ndarray, distance: np.ndarray) -> None:
    way_out = "Give scans prepared from ICT-FaceKit (meshdisent prepare ict), neither moved nor scaled."
    far = int(distance.argmax())
    if distance[far] > FARTHEST:
        raise TopologyError(
            f"The face is not on the topology of ICT-FaceKit: vertex {far} is {distance[far]:.1f} mm from the nearest "
            f"vertex of the head that fits best; wanted at most {FARTHEST:g} mm. {way_out}"
        )
    found, count = np.unique(rows, return_counts=True)
    if (count > 1).any():
        twice = np.flatnonzero(rows == found[count.argmax()])
        raise TopologyError(
            f"The face is not on the topology of ICT-FaceKit: its vertices {twice[0]} and {twice[1]} are both nearest "
            f"to vertex {found[count.argmax()]} of the head; wanted one each. {way_out}"
        )


def _read(path: Path) -> Mesh:
    try:
        return Mesh.read(path)
    except (MeshError, OSError) as error:
        raise DataError(f"A shape of ICT-FaceKit is missing or damaged: {error} Clone the repository again.") from error
