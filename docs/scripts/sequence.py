"""Give a sequence of one person to another, frame by frame, smoothed over time.

python sequence.py MODEL PERSON.ply OUT FRAMES
"""

import sys
from pathlib import Path

from meshdisent import Mesh, load
from meshdisent.data.layouts.base import natural_key
from meshdisent.editing import METHODS
from meshdisent.show.animation import write_gif
from meshdisent.show.camera import Camera
from meshdisent.show.pictures import render

METHOD = "codes"  # or delta, delta-local
SMOOTH = 1.0  # standard deviation in frames; 0 leaves every frame as it is

model = load(sys.argv[1])
person = Mesh.read(sys.argv[2])
out = Path(sys.argv[3])
files = sorted(map(str, Path(sys.argv[4]).glob("*.ply")), key=natural_key)  # 2 before 10

results = METHODS[METHOD](model, person, [Mesh.read(path) for path in files], smooth=SMOOTH)

for number, mesh in enumerate(results):
    mesh.write(out / f"{number:04d}.ply")

camera = Camera.facing(person.vertices, margin=0.1, azimuth=15.0)
write_gif(out / "sequence.gif", [render(mesh.vertices, mesh.faces, camera=camera) for mesh in results])
