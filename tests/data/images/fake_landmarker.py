"""A stand-in for mediapipe: a face is a bright patch that fills a good part of the picture."""

import sys
from types import ModuleType, SimpleNamespace

import numpy as np
from scipy.ndimage import find_objects, label

#: Part of the longer side of a picture that a face is at least wide.
LEAST = 0.15


class Landmarker:
    """478 points of each bright patch: corners first, the rest in its middle, and 0 at its top."""

    def __init__(self, options):
        with open(options.base_options.model_asset_path, "rb") as file:
            if file.read(2) != b"PK":
                raise RuntimeError("Unable to open zip archive.")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def detect(self, image):
        height, width = image.data.shape[:2]
        faces = []
        for rows, columns in find_objects(label(image.data[..., 0] > 200)[0]):
            if columns.stop - columns.start < LEAST * max(height, width):
                continue
            points = np.full((478, 2), [(columns.start + columns.stop) / 2, (rows.start + rows.stop) / 2])
            points[[10, 152], 1] = rows.start, rows.stop
            points[[33, 263], 0] = columns.start, columns.stop
            faces.append([SimpleNamespace(x=x / width, y=y / height) for x, y in points])
        return SimpleNamespace(face_landmarks=faces)


def install(monkeypatch, folder):
    """Put it in mediapipe's place; gives the path of its model file."""
    options = lambda **given: SimpleNamespace(**given)  # noqa: E731
    vision = ModuleType("mediapipe.tasks.python.vision")
    vision.FaceLandmarkerOptions = options
    vision.FaceLandmarker = SimpleNamespace(create_from_options=Landmarker)
    python = ModuleType("mediapipe.tasks.python")
    python.BaseOptions, python.vision = options, vision
    tasks = ModuleType("mediapipe.tasks")
    tasks.python = python
    top = ModuleType("mediapipe")
    top.tasks, top.Image, top.ImageFormat = tasks, options, SimpleNamespace(SRGB=1)
    for module in (top, tasks, python, vision):
        monkeypatch.setitem(sys.modules, module.__name__, module)
    path = folder / "face_landmarker.task"
    path.write_bytes(b"PK")
    return path
