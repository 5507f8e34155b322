"""Draw the pictures that README and docs show: python docs/scripts/pictures.py [MODEL FACES.H5]

Without arguments the synthetic people; with a trained model and its dataset, what the model does, too.
"""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from meshdisent import ScanDataset, load
from meshdisent.data.synthetic import synthetic_dataset
from meshdisent.editing import interpolate, neutralize, transfer
from meshdisent.show.dataset_pictures import artist, expressions, people
from meshdisent.show.sheets import sheet

OUT = Path(__file__).resolve().parents[1] / "pictures"


def keep(name: str, picture: np.ndarray, width: int = 1200, colors: int = 128) -> None:
    """Write a picture as a small PNG; 128 colors are enough for faces on white, heat maps take 256."""
    image = Image.fromarray(picture)
    image = image.resize((width, round(image.height * width / image.width)), Image.Resampling.LANCZOS)
    image.quantize(colors, kmeans=2).save(OUT / f"{name}.png", optimize=True)
    print(OUT / f"{name}.png")


def work(model_path: str, data: str) -> None:
    """One unseen person's scans neutralized, another's expressions transferred, and a walk between the two."""
    model, scans = load(model_path), ScanDataset.open(data)
    rows = scans.rows("test")
    subjects = np.unique(scans.subject[rows])
    first, second = (scans.vertices(rows[scans.subject[rows] == s]) for s in subjects[[1, 3]])
    expressive = np.linalg.norm(first - first.mean(axis=0), axis=2).mean(axis=1).argsort()[::-1][:6]
    shown, others = first[expressive], second[expressive]
    neutral = [mesh.vertices for mesh in neutralize(model, shown, keep_detail=True)]
    moved = [mesh.vertices for mesh in transfer(model, shown[0], others, keep_detail=True)]
    walk = [mesh.vertices for mesh in interpolate(model, shown[0], others[1], steps=6)]
    draw = artist(np.concatenate([shown, others]), scans.topology.faces)
    rows_of_faces = [shown, neutral, others, moved, walk]
    labels = ["scans of one person", "the same at rest", "scans of another", "transferred to the first", "a walk"]
    keep("work", sheet([[draw(face) for face in row] for row in rows_of_faces], labels))


if __name__ == "__main__":
    OUT.mkdir(exist_ok=True)
    heads = synthetic_dataset(subjects=6, vertex_count=2500)
    keep("synthetic-people", people(heads))
    keep("synthetic-expressions", expressions(heads))
    if len(sys.argv) == 3:
        work(sys.argv[1], sys.argv[2])
