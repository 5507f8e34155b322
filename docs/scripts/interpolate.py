"""Walk from one face to another, as meshes and as an animation.

python interpolate.py MODEL FIRST.ply SECOND.ply OUT
"""

import sys
from pathlib import Path

from meshdisent import Mesh, load
from meshdisent.editing import interpolate
from meshdisent.show.animation import write_gif
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render

STEPS = 9
ONLY = "both"  # or "identity", or "expression": the other code stays that of the first face

model = load(sys.argv[1])
first, second = Mesh.read(sys.argv[2]), Mesh.read(sys.argv[3])
out = Path(sys.argv[4])

walk = interpolate(model, first, second, steps=STEPS, only=ONLY)

for number, mesh in enumerate(walk):
    mesh.write(out / f"{number:04d}.ply")

camera = Camera.facing(first.vertices, margin=0.1)
frames = [render(mesh.vertices, mesh.faces, camera=camera) for mesh in walk]
write_gif(out / "walk.gif", frames, ping_pong=True)
