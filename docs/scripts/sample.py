"""Draw people who do not exist, one a row: at rest, then with expressions.

python sample.py MODEL OUT
"""

import sys
from pathlib import Path

from meshdisent import load
from meshdisent.editing import sample
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render, write_png
from meshdisent.show.sheets import sheet

PEOPLE, EXPRESSIONS, SEED = 3, 4, 0

model = load(sys.argv[1])
out = Path(sys.argv[2])

rows = []
for number, person in enumerate(sample(model, PEOPLE, SEED, expression="neutral")):
    faces = [person, *sample(model, EXPRESSIONS, SEED + number, identity=person)]
    for place, mesh in enumerate(faces):
        mesh.write(out / f"person-{number}-{place}.ply")
    rows.append(faces)

camera = Camera.facing(rows[0][0].vertices, margin=0.1)
write_png(
    out / "people.png", sheet([[render(mesh.vertices, mesh.faces, camera=camera) for mesh in row] for row in rows])
)
