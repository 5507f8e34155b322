"""Registered scans of your own, one folder a subject, to faces.h5.

    RAW/anna/neutral.ply   RAW/anna/smile.ply   RAW/ben/neutral.obj   ...     (or RAW/SUBJECT/SEQUENCE/FRAME.ply)

All files have the same vertices in the same order (register them first if they do not) and one unit. As a command:

    meshdisent prepare folder RAW --out faces.h5 --unit mm --neutral neutral
    meshdisent inspect faces.h5

Here the same, for copying: python data_prep/folder.py RAW faces.h5
"""

import sys
from pathlib import Path

from meshdisent.cli.inspect import text
from meshdisent.data.dataset import ScanDataset
from meshdisent.data.inspection import inspect
from meshdisent.data.layouts import FolderLayout
from meshdisent.data.preparation import prepare

if __name__ == "__main__":  # workers import this file again
    raw, out = map(Path, sys.argv[1:])
    split = raw / "split.json"  # {"train": [subjects], "val": [...], "test": [...]}, if there is one
    result = prepare(
        FolderLayout(raw=(raw,), unit="mm", neutral="neutral"),
        out,
        split_by=split if split.exists() else "subjects",
        workers=None,  # one a core
        progress=True,
    )
    for rejection in result.rejected:
        print(f"{rejection.source}: {rejection.reason}")
    print(text(inspect(ScanDataset.open(out))))
