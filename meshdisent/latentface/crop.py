"""The square of a photograph that a LatentFace looks at: from a box or landmarks, found by mediapipe, or all of it."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, UInt8

from meshdisent.data.images.cropping import crop_square, detector_box, whole_box
from meshdisent.errors import DataError, UsageError

Box = tuple[float, float, float, float]
_SMALLEST = 16  # pixels of a face below which there is nothing to see


def face_box(landmarks: Float[np.ndarray, "landmark 2"]) -> Box:
    """The square around landmarks of a face, pixels: their box, and the margin that the demo of Unsup3D gives it.

    Raises
    ------
    DataError : If they are fewer than three, not finite, or all on a line along the picture's sides.
    """
    if len(landmarks) < 3 or not np.isfinite(landmarks).all() or not (np.ptp(landmarks, axis=0) > 0).all():
        raise DataError(
            f"{len(landmarks)} landmarks were given, not all apart and finite; wanted at least three points on the "
            "face, such as eyes and mouth, in pixels."
        )
    low, high = landmarks.min(axis=0), landmarks.max(axis=0)
    return detector_box(0, 0, (float(low[0]), float(low[1]), float(high[0]), float(high[1])))


def cropped(
    photo: UInt8[np.ndarray, "height width 3"], size: int, box: Box | None, where: str
) -> UInt8[np.ndarray, "size size 3"]:
    """The face in a box, or the whole photograph, at the size that a model looks at.

    Raises
    ------
    DataError : If the box lies outside, or is too small; ``where`` names the photograph.
    """
    height, width = photo.shape[:2]
    chosen = whole_box(width, height, None) if box is None else box
    sides = chosen[2] - chosen[0], chosen[3] - chosen[1]
    if min(sides) < _SMALLEST:
        raise DataError(
            f"{where}: the face is {sides[0]:.0f} x {sides[1]:.0f} pixels (box {_shown(chosen)}); wanted at least "
            f"{_SMALLEST} each way. Give a larger picture, or another --box."
        )
    try:
        return crop_square(photo, chosen, size)
    except DataError as error:
        raise DataError(f"{where}: {error}.") from error


def detected_box(photo: UInt8[np.ndarray, "height width 3"], model_file: str | os.PathLike, where: str) -> Box:
    """The square around the largest face that mediapipe's face landmarker finds.

    Parameters
    ----------
    model_file : ``face_landmarker.task``, as mediapipe publishes it; never fetched.

    Raises
    ------
    UsageError : If mediapipe or the file is missing.
    DataError : If no face is found.
    """
    try:
        import mediapipe
        from mediapipe.tasks import python as tasks
        from mediapipe.tasks.python import vision
    except ImportError as error:
        raise UsageError(
            "--detector needs the package mediapipe, which is not installed; wanted `pip install mediapipe`, or the "
            "face's place as --box LEFT TOP RIGHT BOTTOM."
        ) from error
    if not Path(model_file).is_file():
        raise UsageError(
            f"{model_file} is no file; wanted mediapipe's face_landmarker.task, which is published on its site and "
            "never fetched from here."
        )
    options = vision.FaceLandmarkerOptions(
        base_options=tasks.BaseOptions(model_asset_path=str(model_file)), num_faces=8
    )
    picture = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(photo))
    with vision.FaceLandmarker.create_from_options(options) as landmarker:
        faces = landmarker.detect(picture).face_landmarks
    if not faces:
        raise DataError(
            f"{where}: no face was found in all of its {photo.shape[1]} x {photo.shape[0]} pixels. Give --box."
        )
    height, width = photo.shape[:2]
    places = [np.array([[point.x * width, point.y * height] for point in face]) for face in faces]
    return face_box(max(places, key=lambda points: float(np.prod(np.ptp(points, axis=0)))))


def _shown(box: Sequence[float]) -> str:
    return ", ".join(f"{corner:g}" for corner in box)
