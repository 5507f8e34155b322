"""Move people along an attribute: a table of numbers (age) or of two labels by subject makes the direction.

python attribute.py MODEL FACES.H5 TABLE.csv OUT PERSON.ply...

TABLE.csv has the columns subject,value; subjects are called as in FACES.H5.
"""

import sys
from pathlib import Path

import numpy as np

from meshdisent import Mesh, ScanDataset, load
from meshdisent.editing import edit_attribute, find_attribute, read_attribute_table
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render, write_png
from meshdisent.show.sheets import sheet

model, scans = load(sys.argv[1]), ScanDataset.open(sys.argv[2])
table = read_attribute_table(sys.argv[3])
out = Path(sys.argv[4])
people = [Mesh.read(path) for path in sys.argv[5:]]

attribute = find_attribute(model, scans, table)
print(attribute.text())  # says so where the probe knows nothing

if attribute.kind == "number":
    spread = float(np.std([float(value) for value in table.values()]))
    amounts = [-2 * spread, -spread, 0.0, spread, 2 * spread]
else:
    amounts = [-4.0, -2.0, 0.0, 2.0, 4.0]  # of the logit
results = edit_attribute(model, people, attribute, amounts)

camera = Camera.facing(people[0].vertices, margin=0.1, azimuth=15.0)
rows = []
for path, start in zip(sys.argv[5:], range(0, len(results), len(amounts)), strict=True):
    meshes = results[start : start + len(amounts)]
    for number, mesh in enumerate(meshes):
        mesh.write(out / f"{Path(path).stem}-{number}.ply")
    rows.append([render(mesh.vertices, mesh.faces, camera=camera) for mesh in meshes])
columns = [f"{amount:+.3g}" for amount in amounts]
write_png(out / "attribute.png", sheet(rows, [Path(path).stem for path in sys.argv[5:]], columns))
