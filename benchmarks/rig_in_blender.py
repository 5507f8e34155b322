"""A rig in Blender itself: what it imports has the targets, places, colors and animation that were written.

    make blender                                     # Blender as a Python package, 350 MB; needs Python 3.11
    python benchmarks/rig_in_blender.py BLENDER_PYTHON [--picture face.png]

Not a test of ``make test``, for its size. Blender computes the mesh for some weights, which must be the rig's face.
"""

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from meshdisent import load
from meshdisent.export.rig import make_rig
from meshdisent.export.rig_glb import write_rig
from meshdisent.export.targets import apple_codes
from meshdisent.export.weights import WeightTrack

WEIGHTS = (
    {},
    {"jawOpen": 1.0},
    {"jawOpen": 0.6, "mouthSmileLeft": 0.3, "eyeBlinkRight": 1.0},
)
#: glTF holds float32 meters.
TOLERANCE_MM = 0.001
FPS = 24


def main() -> int:
    """Write a rig, let Blender open it, compare; returns the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("python", help="a Python that can import bpy")
    parser.add_argument("--picture", type=Path, help="let Cycles render the last face into this file")
    given = parser.parse_args()
    model = load("wsdf-ict")
    rig = make_rig(model, "mean", apple_codes(model))
    seconds = np.arange(len(rig.names)) / FPS
    track = WeightTrack(seconds=seconds, weights=np.eye(len(rig.names)))
    with tempfile.TemporaryDirectory() as folder:
        glb, asked, found = (Path(folder) / name for name in ("face.glb", "weights.json", "found.npz"))
        write_rig(glb, rig, track)
        asked.write_text(json.dumps(WEIGHTS))
        inside = [given.python, str(Path(__file__).with_name("inside_blender.py")), str(glb), str(asked), str(found)]
        subprocess.run([*inside, *([str(given.picture.resolve())] if given.picture else [])], check=True)
        seen = dict(np.load(found))
    wrong = problems(seen, rig, model.topology.vertex_count)
    print(
        "\n".join(wrong)
        or f"Blender {seen['version']}: {len(rig.names)} shape keys, places, colors, animation as written"
    )
    return 1 if wrong else 0


def problems(seen: dict, rig, vertex_count: int) -> list[str]:
    """What differs from what was written, a line each."""
    wrong = []
    if list(seen["names"]) != ["Basis", *rig.names]:
        wrong.append(f"shape keys are {list(seen['names'])}")
    if seen["frames"].tolist() != [0, len(rig.names) - 1]:
        wrong.append(f"the animation has the frames {seen['frames']}; wanted 0 to {len(rig.names) - 1}")
    if seen["metallic"].max() > 0:
        wrong.append(f"materials are metallic: {seen['metallic']}")
    if not seen["has_colors"]:
        wrong.append("the eyes have no colors")
    for weights, places in zip(WEIGHTS, seen["places"], strict=True):
        # Blender's axes: x, then glTF's -z, then its y; vertices of the skin come first.
        apart = np.abs(1000 * places[:vertex_count][:, [0, 2, 1]] * [1, 1, -1] - rig.face(weights)).max()
        if not apart < TOLERANCE_MM:
            wrong.append(f"{weights}: vertices up to {apart:.4f} mm off")
    return wrong


if __name__ == "__main__":
    sys.exit(main())
