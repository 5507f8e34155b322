"""Multiface: 13 people, tracked meshes of 7,306 vertices, to faces.h5.

The downloader in github.com/facebookresearch/multiface fetches meshes alone (leave out images, textures and audio):

    m--20180227--0000--6795937--GHS/tracked_mesh/E001_Neutral_Eyes_Open/000102.obj (.bin, _transform.txt)   ...

    meshdisent prepare multiface multiface --out multiface.h5 --every 10
    meshdisent inspect multiface.h5

Binary meshes read faster: --faces multiface/.../000102.obj gives them the triangles.

Here the same, for copying: python data_prep/multiface.py multiface multiface.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import MultifaceLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, out = map(Path, sys.argv[1:])
    layout = MultifaceLayout(raw=(raw,), every=10, pose="head")  # meshes lie in the frame of the head already
    result = prepare(layout, out, split_by="subjects", workers=None, progress=True)
    for line in (*result.remarks, *(f"{r.source}: {r.reason}" for r in result.rejected)):
        print(line)
    print(text(inspect(ScanDataset.open(out))))
