"""FaceScape, topologically uniform models: 847 people x 20 expressions, 26,317 vertices, to faces.h5.

Ask for the data at nju-3dv.github.io/projects/FaceScape (a signed license) and unpack the trainset parts:

    facescape_trainset_001_100/1/models_reg/1_neutral.obj   ...   facescape_trainset_801_847/847/models_reg/...

    meshdisent prepare facescape facescape_trainset_* --out facescape.h5 --vertices 4547 --split-by wsdf
    meshdisent inspect facescape.h5

As FED measures: --split-by fed. As WSDF: --align similarity --drop 0.05, and --vertices left out.

Here the same, for copying: python data_prep/facescape.py facescape.h5 facescape_trainset_*
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import FacescapeLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    out, *parts = map(Path, sys.argv[1:])
    result = prepare(
        FacescapeLayout(raw=tuple(parts)),
        out,
        vertices=4547,  # as many as FED kept; None keeps all 26,317
        split_by="wsdf",  # 593 people to train, 253 to test
        workers=None,  # one a core
        progress=True,
    )
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
