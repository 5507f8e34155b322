"""Put expressions of other people on one person.

python transfer.py MODEL PERSON.ply OUT EXPRESSION.ply...
"""

import sys
from pathlib import Path

from meshdisent import Mesh, load
from meshdisent.editing import transfer
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render, write_png
from meshdisent.show.sheets import sheet

KEEP_DETAIL = True  # what the model's codes cannot say of the person stays

model = load(sys.argv[1])
person = Mesh.read(sys.argv[2])
out = Path(sys.argv[3])
expressions = [Mesh.read(path) for path in sys.argv[4:]]

results = transfer(model, person, expressions, keep_detail=KEEP_DETAIL)

names = [Path(path).stem for path in sys.argv[4:]]
for name, mesh in zip(names, results, strict=True):
    mesh.write(out / f"{name}.ply")

camera = Camera.facing(person.vertices, margin=0.1)  # one camera, so that faces keep their scale
rows = [
    [None, *(render(mesh.vertices, mesh.faces, camera=camera) for mesh in expressions)],
    [render(mesh.vertices, mesh.faces, camera=camera) for mesh in [person, *results]],
]
write_png(out / "transfer.png", sheet(rows, ["expression", "transferred"], ["person", *names]))
