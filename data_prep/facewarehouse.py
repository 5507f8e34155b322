"""FaceWarehouse: 150 people x 20 poses (or 47 blend shapes), 11,510 vertices, to faces.h5.

Ask the authors (kunzhou.net) by e-mail and unpack the parts side by side:

    FaceWarehouse/Tester_1/TrainingPose/pose_0.obj   FaceWarehouse/Tester_1/Blendshape/shape.bs   ...

    meshdisent prepare facewarehouse FaceWarehouse --out facewarehouse.h5 --vertices 5000 --split-by 140
    meshdisent inspect facewarehouse.h5

The blend shapes instead of the poses: --scans blendshapes

Here the same, for copying: python data_prep/facewarehouse.py FaceWarehouse facewarehouse.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import FacewarehouseLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, out = map(Path, sys.argv[1:])
    layout = FacewarehouseLayout(raw=(raw,), scans="poses", unit="dm")
    result = prepare(layout, out, vertices=5000, split_by="140", workers=None, progress=True)
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
