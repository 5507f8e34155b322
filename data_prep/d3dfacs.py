"""D3DFACS as registered to FLAME: 10 people, 519 action-unit sequences, 46,903 meshes, to faces.h5.

Get the registrations from the site of FLAME (flame.is.tue.mpg.de, login) and unpack them:

    D3DFACS_alignments/Joe/1+2+L/1+2+L.001.ply   ...

    meshdisent prepare d3dfacs D3DFACS_alignments --out d3dfacs.h5 --topology generic_model.pkl --every 4
    meshdisent inspect d3dfacs.h5

Papers train on it beside CoMA and give no split of their own; subjects are drawn.

Here the same, for copying: python data_prep/d3dfacs.py D3DFACS_alignments generic_model.pkl d3dfacs.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import D3dfacsLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, flame, out = map(Path, sys.argv[1:])
    layout = D3dfacsLayout(raw=(raw,), every=4)  # neighboring frames hardly differ
    result = prepare(layout, out, topology=flame, align="rigid", drop=0.05, workers=None, progress=True)
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
