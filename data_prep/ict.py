"""Synthetic people from ICT-FaceKit (MIT license): 300 subjects x 20 expressions with known neutrals, to faces.h5.

    git clone https://github.com/USC-ICT/ICT-FaceKit
    meshdisent prepare ict ICT-FaceKit --out ict.h5 --subjects 300 --region face --vertices 1200
    meshdisent inspect ict.h5

Here the same, for copying: python data_prep/ict.py ICT-FaceKit ict.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import IctLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    clone, out = map(Path, sys.argv[1:])
    layout = IctLayout(raw=(clone,), subjects=300, region="face", noise=0.05, detail=0.6)
    prepare(layout, out, vertices=1200, seed=0, workers=None, progress=True)
    print(text(inspect(ScanDataset.open(out))))
