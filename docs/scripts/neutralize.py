"""Take the expression off scans, and show in mm what that changed.

python neutralize.py MODEL OUT SCAN.ply...
"""

import sys
from pathlib import Path

from meshdisent import Mesh, load
from meshdisent.editing import neutralize
from meshdisent.metrics import vertex_distance
from meshdisent.show.pictures import write_png
from meshdisent.show.sheets import heat_map_sheet

KEEP_DETAIL = True  # what the model's codes cannot say of a scan stays

model = load(sys.argv[1])
out = Path(sys.argv[2])
scans = [Mesh.read(path) for path in sys.argv[3:]]

results = neutralize(model, scans, keep_detail=KEEP_DETAIL)

names = [Path(path).stem for path in sys.argv[3:]]
for name, mesh in zip(names, results, strict=True):
    mesh.write(out / f"{name}-neutral.ply")

changes_mm = [vertex_distance(mesh.vertices, scan.vertices) for mesh, scan in zip(results, scans, strict=True)]
shown = [[mesh.vertices for mesh in results]]
write_png(out / "changes.png", heat_map_sheet(shown, [changes_mm], model.topology.faces, column_labels=names))
