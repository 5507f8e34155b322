"""CoMA: 12 people x 12 sequences, 20,466 meshes registered to FLAME, to faces.h5.

Ask for the data (registered meshes, not the raw scans) at coma.is.tue.mpg.de and unpack them:

    COMA_data/FaceTalk_170725_00137_TA/bareteeth/bareteeth.000001.ply  ...

With FLAME's own template (any generic_model.pkl) and the split of the CoMA and WSDF papers:

    meshdisent prepare coma COMA_data --out coma.h5 --topology generic_model.pkl --split-by interpolation
    meshdisent inspect coma.h5

As FED measures instead: --labels fed --truth levels --align none --drop 0 --split-by windows

Here the same as WSDF, for copying: python data_prep/coma.py COMA_data generic_model.pkl coma.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import ComaLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, flame, out = map(Path, sys.argv[1:])
    result = prepare(
        ComaLayout(raw=(raw,), truth="first-frames"),
        out,
        topology=flame,
        align="rigid",
        drop=0.05,  # of the training scans
        split_by="interpolation",  # 10 of every 100 scans, train and test share people
        workers=None,  # one a core
        progress=True,
    )
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
