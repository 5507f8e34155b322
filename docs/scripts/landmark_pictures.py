"""Draw the landmarks and regions that docs/landmarks.md shows: python docs/scripts/landmark_pictures.py CLONE

CLONE is a clone of ICT-FaceKit. Numbers are those of iBUG's scheme, from 1; beside each face its mouth, opened a
little, since the points on the inner lips lie on each other where lips meet.
"""

import sys
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.colors import ListedColormap
from pictures import OUT, keep
from PIL import Image, ImageDraw

from meshdisent.data.ict_facekit import PARTS, clone_folder, read_displacement, read_generic
from meshdisent.data.known_faces import known_landmarks, known_regions
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.mesh.face_regions import REGIONS
from meshdisent.mesh.landmark_sets import LandmarkSet
from meshdisent.mesh.topology import Topology
from meshdisent.show.camera import Camera
from meshdisent.show.lettering import font, text_width
from meshdisent.show.pictures import render

#: Groups of points by their colors: jaw, brows, nose, eyes, lips, inner lips.
GROUPS = ((17, "#1f4e9c"), (27, "#8a4b08"), (36, "#1b7f3b"), (48, "#7a1fa2"), (60, "#c01818"), (68, "#0b7285"))
SKIN_ROWS = PARTS["head_and_neck"][1]
MAP = "meshdisent-regions"
matplotlib.colormaps.register(
    ListedColormap(matplotlib.colormaps["tab10"].colors[: len(REGIONS)]), name=MAP, force=True
)


def numbered(
    vertices: np.ndarray, faces: np.ndarray, marks: LandmarkSet, camera: Camera, size: tuple[int, int], which: range
) -> np.ndarray:
    """A face with some of its points and their numbers."""
    image = Image.fromarray(render(vertices, faces, size=size, camera=camera))
    draw = ImageDraw.Draw(image)
    places, _ = camera.project(marks.positions(vertices), size)
    for k in which:
        x, y = places[k]
        color = next(color for last, color in GROUPS if k < last)
        draw.ellipse([x - 4, y - 4, x + 4, y + 4], fill=color, outline="white")
        is_above = 62 <= k + 1 <= 64 or k + 1 in (38, 39, 44, 45) or 18 <= k + 1 <= 27
        at, anchor = ((x, y - 6), "ms") if is_above else ((x, y + 5), "ma")
        draw.text(at, str(k + 1), fill=color, font=font(17, is_bold=True), anchor=anchor, stroke_width=2,
                  stroke_fill="white")  # fmt: skip
    return np.asarray(image)


def points(name: str, topology: Topology, opened: np.ndarray, marks: LandmarkSet) -> None:
    """The whole face, and its mouth a little open."""
    places = marks.positions(topology.template)
    size, small = (760, 860), (620, 430)
    face = numbered(topology.template, topology.faces, marks, Camera.facing(places, size=size, margin=0.08), size,
                    range(60))  # fmt: skip
    lips = marks.positions(opened)[48:68]
    close = numbered(opened, topology.faces, marks, Camera.facing(lips, size=small, margin=0.12), small, range(48, 68))
    page = np.full((size[1], size[0] + small[0] + 20, 3), 255, np.uint8)
    page[:, : size[0]] = face
    top = (size[1] - small[1]) // 2
    page[top : top + small[1], size[0] + 20 :] = close
    keep(name, page, width=1000)


def regions(name: str, topology: Topology, rows: int, faces: np.ndarray) -> None:
    """A head from three sides, a color for each region, and what the colors mean."""
    known, vertices = known_regions(topology), topology.template[:rows]
    values = np.zeros(rows)
    for number, region in enumerate(REGIONS):
        if region in known:
            values[known[region]] = number
    size = (400, 470)
    views = [
        render(vertices, faces, size=size, camera=Camera.facing(vertices, size=size, azimuth=turn, margin=0.02),
               values=values, limits=(0, len(REGIONS) - 1), colormap=MAP)
        for turn in (0.0, 45.0, 90.0)
    ]  # fmt: skip
    shown = [region for region in REGIONS if region in known]
    page = np.concatenate([np.concatenate(views, axis=1), _legend(shown, 3 * size[0])])
    keep(name, page, width=900)


def _legend(names: list[str], width: int) -> np.ndarray:
    image = Image.new("RGB", (width, 44), "white")
    draw = ImageDraw.Draw(image)
    colors = matplotlib.colormaps[MAP].colors
    gap = (width - sum(text_width(name, 21) + 30 for name in names)) / (len(names) + 1)
    x = gap
    for name in names:
        color = tuple(round(255 * c) for c in colors[REGIONS.index(name)])
        draw.rectangle([x, 12, x + 20, 32], fill=color)
        draw.text((x + 26, 9), name, fill="black", font=font(21))
        x += text_width(name, 21) + 30 + gap
    return np.asarray(image)


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    clone = Path(sys.argv[1])
    generic = read_generic(clone)
    count = PARTS["face"][1]
    face = Topology(generic.vertices[:count], generic.faces[(generic.faces < count).all(axis=1)])
    jaw = read_displacement(clone_folder(clone) / "jawOpen.obj", generic.vertices)[:count]
    points("landmarks-ict", face, face.template + 0.25 * jaw, known_landmarks(face))
    head = SyntheticHead(4000)
    opened = head.face(np.zeros(head.identity_size), {"mouth_stretch": 0.25})
    points("landmarks-synthetic", head.topology, opened, head.landmarks)
    full = Topology(generic.vertices, generic.faces)
    skin = generic.faces[(generic.faces < SKIN_ROWS).all(axis=1)]
    regions("regions-ict", full, SKIN_ROWS, skin)
    bare = Topology(head.topology.template, head.topology.faces)
    regions("regions-synthetic", bare, bare.vertex_count, bare.faces)
