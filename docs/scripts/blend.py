"""A person between several others: who they are is mixed, what they do comes from one of them, or is at rest.

python blend.py MODEL OUT PERSON.ply PERSON.ply...
"""

import sys
from pathlib import Path

from meshdisent import Mesh, load
from meshdisent.editing import blend
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render, write_png
from meshdisent.show.sheets import sheet

model = load(sys.argv[1])
out = Path(sys.argv[2])
people = [Mesh.read(path) for path in sys.argv[3:]]
names = [Path(path).stem for path in sys.argv[3:]]

# A row of weights for each result: everybody alike, then each of them to one half.
count = len(people)
weights = [[1.0] * count] + [[float(count - 1) if k == one else 1.0 for k in range(count)] for one in range(count)]
results = blend(model, people, weights, expression="neutral")

for name, mesh in zip(["all", *names], results, strict=True):
    mesh.write(out / f"blend-{name}.ply")

camera = Camera.facing(people[0].vertices, margin=0.1, azimuth=15.0)
rows = [
    [None, *(render(mesh.vertices, mesh.faces, camera=camera) for mesh in people)],
    [render(mesh.vertices, mesh.faces, camera=camera) for mesh in results],
]
write_png(out / "blend.png", sheet(rows, ["scan", "blend"], ["all alike", *(f"half {name}" for name in names)]))
