"""BU-3DFE: 100 people, a neutral and six expressions in four intensities each, to faces.h5.

Ask the laboratory at Binghamton for the data (signed by the institution). The scans as published differ in topology:
register the F3D files first, and keep their names:

    registered/F0001/F0001_NE00WH_F3D.ply   registered/F0001/F0001_AN01WH_F3D.ply   ...   (.wrl, .obj or .ply)

    meshdisent prepare bu3dfe registered --out bu3dfe.h5 --split-by fed
    meshdisent inspect bu3dfe.h5

On FED's own topology of 5,996 vertices, its alignment too: --align neutral-first --stable fed_stable. On another one
give a file with the indices of vertices at nose and inner eye corners instead of fed_stable.

Here the same, for copying: python data_prep/bu3dfe.py registered bu3dfe.h5 [stable.txt]
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import Bu3dfeLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, out, *stable = map(Path, sys.argv[1:])
    result = prepare(
        Bu3dfeLayout(raw=(raw,)),
        out,
        align="neutral-first" if stable else "rigid",
        stable=stable[0] if stable else None,
        split_by="fed",  # F0001 to F0010 to the test
        workers=None,  # one a core
        progress=True,
    )
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
