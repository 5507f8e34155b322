"""Draw the pictures of wsdf-ict: python docs/scripts/ict_pictures.py MODEL FACES.H5

MODEL is wsdf-ict or a file made by benchmarks/ship.py, FACES.H5 the prepared ICT-300. People and expressions are chosen
by their place in the list, not by how they look. Scans are drawn in clay, what the model made in skin.
"""

import sys

import numpy as np
from pictures import OUT, keep

from meshdisent import ScanDataset, load
from meshdisent.editing import express, interpolate, neutralize, sample, transfer
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.contract import MorphableModel
from meshdisent.show.camera import Camera
from meshdisent.show.color_bar import color_bar, nice_ceiling
from meshdisent.show.pictures import render
from meshdisent.show.shading import CLAY
from meshdisent.show.sheets import letter_pixels, sheet

SIZE = (220, 264)
#: A portrait ends at the neck: lower vertices, mm in the frame of ICT-FaceKit, lie outside of the picture.
LOWEST = -112.0
SHOWN = ("smile", "mouth_stretch", "anger", "lip_puckerer", "cheek_blowing", "brow_raiser")


class Painter:
    """Draws faces with one camera that fits all of them."""

    def __init__(self, shown: list[np.ndarray], faces: np.ndarray):
        every = np.concatenate(shown)
        self.faces = faces
        self.camera = Camera.facing(every[every[:, 1] > LOWEST], size=SIZE, azimuth=15.0, margin=0.01)

    def __call__(self, vertices: np.ndarray, **look) -> np.ndarray:
        return render(vertices, self.faces, size=SIZE, camera=self.camera, **look)


def vertices(meshes: list) -> list[np.ndarray]:
    return [mesh.vertices for mesh in meshes]


def people(model: MorphableModel) -> None:
    """Twelve random people at rest, and below each the same one with a random expression."""
    rest, moved = vertices(sample(model, 12, expression="neutral")), vertices(sample(model, 12))
    draw = Painter(rest + moved, model.topology.faces)
    rows = [[draw(face) for face in row] for half in (slice(6), slice(6, 12)) for row in (rest[half], moved[half])]
    keep("ict-people", sheet(rows, ["at rest", "moved"] * 2), width=1040)


def transfers(model: MorphableModel, scans: ScanDataset, subjects: list[str]) -> None:
    """Five unseen people with six expressions of others whom the model has not seen either."""
    first, second = subjects[:5], subjects[5:11]
    given = [scan(scans, name, "neutral") for name in first]
    shown = [scan(scans, *names) for names in zip(second, SHOWN, strict=True)]
    made = [vertices(transfer(model, face, shown, keep_detail=True)) for face in given]
    draw = Painter([*given, *shown, *(face for row in made for face in row)], scans.topology.faces)
    rows = [[None, *(draw(face, color=CLAY) for face in shown)]]
    rows += [[draw(face, color=CLAY), *map(draw, row)] for face, row in zip(given, made, strict=True)]
    keep("ict-transfer", sheet(rows, column_labels=["", *(name.replace("_", " ") for name in SHOWN)]), width=920)


def walk(model: MorphableModel, scans: ScanDataset, subjects: list[str]) -> None:
    """From one unseen person to another: both codes, the identity alone, the expression alone."""
    ends = scan(scans, subjects[0], "smile"), scan(scans, subjects[7], "lip_funneler")
    kinds = {"both codes": "both", "identity only": "identity", "expression only": "expression"}
    walks = [vertices(interpolate(model, *ends, steps=7, only=only)) for only in kinds.values()]
    draw = Painter([*ends, *(face for row in walks for face in row)], scans.topology.faces)
    keep("ict-walk", sheet([[draw(face) for face in row] for row in walks], list(kinds)))


def neutrals(model: MorphableModel, scans: ScanDataset, subjects: list[str]) -> None:
    """Scans of six unseen people, the same at rest as the model says, the truth, and how far the two are apart."""
    shown = np.stack([scan(scans, *names) for names in zip(subjects[:6], SHOWN, strict=True)])
    truth = np.stack([scan(scans, name, "neutral") for name in subjects[:6]])
    found = np.stack(vertices(neutralize(model, shown, keep_detail=True)))
    errors = vertex_distance(found, truth)
    limits = (0.0, nice_ceiling(float(np.percentile(errors, 99))))
    draw = Painter([*shown, *truth, *found], scans.topology.faces)
    rows = [[draw(face, color=CLAY) for face in shown], [draw(face) for face in found]]
    rows += [[draw(face, color=CLAY) for face in truth]]
    rows += [[draw(face, values=error, limits=limits) for face, error in zip(truth, errors, strict=True)]]
    below = [*[[""] * 6] * 3, [f"mean {error.mean():.2f} mm" for error in errors]]
    bar = color_bar(limits, SIZE[1], pixels=letter_pixels(SIZE[0], 6), is_clipped=bool(errors.max() > limits[1]))
    names = ["scan", "made neutral", "true neutral", "distance"]
    keep("ict-neutral", sheet(rows, names, below=below, bar=bar), width=1120, colors=256)


def shapes(model: MorphableModel) -> None:
    """The mean face at rest and with each named expression."""
    names = sorted(model.named_expressions)
    faces = vertices(express(model, "mean", names))
    if "mouthClose" in names:  # which closes the lips of an open jaw, and is no face alone
        codes = model.named_expressions
        model.named_expressions = codes | {"both": codes["jawOpen"] + codes["mouthClose"]}
        faces[names.index("mouthClose")] = express(model, "mean", "both")[0].vertices
        model.named_expressions = codes
    faces = [*vertices(express(model, "mean", names[0], strength=0.0)), *faces]
    draw = Painter(faces, model.topology.faces)
    labels = ["at rest", *(f"{name} + jawOpen" if name == "mouthClose" else name.replace("_", " ") for name in names)]
    chunks = [slice(k, k + 6) for k in range(0, len(faces), 6)]
    rows = [[draw(face) for face in faces[chunk]] for chunk in chunks]
    keep("ict-shapes", sheet(rows, below=[labels[chunk] for chunk in chunks]), width=720, colors=64)


def scan(scans: ScanDataset, subject: str, expression: str) -> np.ndarray:
    return scans.vertices(np.array([scans.scan(f"{subject}/{expression}")]))[0]


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    model, scans = load(sys.argv[1]), ScanDataset.open(sys.argv[2])
    unseen = np.unique(scans.subject[scans.rows("test")])
    subjects = [scans.subjects[row] for row in unseen[:: max(len(unseen) // 11, 1)]]
    people(model)
    transfers(model, scans, subjects)
    walk(model, scans, subjects)
    neutrals(model, scans, subjects)
    shapes(model)
