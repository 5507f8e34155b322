"""The largest face of a photograph and its points, found by mediapipe's face landmarker.

Its detector sees faces that fill a good part of a picture. Where it finds none, overlapping tiles are looked at, ever
smaller ones, and what is found there is looked at once more in a square of its own.

mediapipe numbers 478 points of a face; :func:`named_points` gives the names of the 68-point scheme to those that lie
nearest to what these mean. They are not the same points: on three photographs that people had marked, eyes, nose and
mouth lay 3.6 to 7.1 % of the distance between the outer corners of the eyes apart (root mean square), brows 5 to 13 %.
"""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float, UInt8

from meshdisent.errors import DataError, UsageError
from meshdisent.mesh.landmark_files import IBUG_68

Picture = UInt8[np.ndarray, "height width 3"]
Face = Float[np.ndarray, "point 2"]

#: mediapipe's numbers of the points of the 68-point scheme, in its order without the 17 of the jaw, which are on the
#: outline and on another line of the face in each view.
_NUMBERS = (
    *(70, 63, 105, 66, 107, 336, 296, 334, 293, 300),  # brows
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),  # nose
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),  # eyes
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),  # lips
    *(78, 82, 13, 312, 308, 317, 14, 87),  # inner lips
)
#: Sides of tiles as parts of the longer side of a photograph, and of the square around a face as parts of it.
_TILES, _AROUND = (1 / 2, 1 / 3, 1 / 5), 3.0


def largest_face(photo: Picture, model_file: str | os.PathLike, where: str) -> Face:
    """Points of the largest face, (478, 2) in pixels: pixel k reaches from k to k + 1.

    Parameters
    ----------
    model_file : ``face_landmarker.task``, as mediapipe publishes it; never fetched.
    where : Names the photograph.

    Raises
    ------
    UsageError : If mediapipe or the file is missing, or it cannot open the file.
    DataError : If no face is found.
    """
    with _opened(model_file) as landmarker:
        faces = _faces(landmarker, photo) or _small_faces(landmarker, photo)
    if not faces:
        raise DataError(
            f"{where}: no face was found in its {photo.shape[1]} x {photo.shape[0]} pixels, nor in parts of them. Give "
            "--box, or cut out the face."
        )
    return max(faces, key=_extent)


def named_points(face: Face) -> dict[str, Float[np.ndarray, "2"]]:
    """The 51 points of the 68-point scheme that lie inside a face, by name; the first pixel's center is (0, 0)."""
    names = [name for name in IBUG_68 if not name.startswith("jaw")]
    return {name: face[number] - 0.5 for name, number in zip(names, _NUMBERS, strict=True)}


def _opened(model_file: str | os.PathLike) -> Any:
    try:
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision
    except ImportError as error:
        raise UsageError(
            "--detector needs the package mediapipe, which is not installed; wanted "
            '`pip install "meshdisent[landmarks]"`, or the face\'s place as --box LEFT TOP RIGHT BOTTOM.'
        ) from error
    if not Path(model_file).is_file():
        raise UsageError(
            f"{model_file} is no file; wanted mediapipe's face_landmarker.task, which is published on its site and "
            "never fetched from here."
        )
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(model_file)), num_faces=8
    )
    try:
        return vision.FaceLandmarker.create_from_options(options)
    except (RuntimeError, ValueError) as error:
        raise UsageError(
            f"mediapipe cannot open {model_file} ({' '.join(str(error).split())}); wanted its face_landmarker.task, "
            "not one of the .tflite files in it."
        ) from error


def _faces(landmarker: Any, picture: Picture) -> list[Face]:
    """Points of all faces in a picture, pixels."""
    import mediapipe

    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
    size = np.array(picture.shape[1::-1])
    return [np.array([[p.x, p.y] for p in face]) * size for face in landmarker.detect(image).face_landmarks]


def _small_faces(landmarker: Any, photo: Picture) -> list[Face]:
    """Faces of the largest tiles that show any."""
    for part in _TILES:
        side = round(part * max(photo.shape[:2]))
        found = [face + corner for corner, tile in _tiles(photo, side) for face in _faces(landmarker, tile)]
        if found:
            return [_once_more(landmarker, photo, max(found, key=_extent))]
    return []


def _once_more(landmarker: Any, photo: Picture, face: Face) -> Face:
    """The face as it is seen in a square of its own, so that the border of no tile runs through it."""
    half = _AROUND * float(np.ptp(face, axis=0).max()) / 2
    middle = (face.min(0) + face.max(0)) / 2
    left, top = (max(int(m - half), 0) for m in middle)
    right, bottom = (int(m + half) for m in middle)
    again = _faces(landmarker, photo[top:bottom, left:right])
    return face if not again else max(again, key=_extent) + np.array([left, top])


def _tiles(photo: Picture, side: int) -> Iterator[tuple[tuple[int, int], Picture]]:
    """Squares of a side that overlap by half or more, with their corners (column, row)."""
    height, width = photo.shape[:2]
    for top in _starts(height, side):
        for left in _starts(width, side):
            yield (left, top), photo[top : top + side, left : left + side]


def _starts(length: int, side: int) -> list[int]:
    count = max(int(np.ceil(2 * (length - side) / side)), 0) + 1
    return np.linspace(0, max(length - side, 0), count).round().astype(int).tolist()


def _extent(face: Face) -> float:
    return float(np.prod(np.ptp(face, axis=0)))
