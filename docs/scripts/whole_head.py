"""Put results of a cropped or decimated topology back onto the whole head that it was made of.

python whole_head.py FACES.H5 OUT RESULT.ply...

FACES.H5 was prepared with --crop or --vertices, so it has the whole template and the way back to it.
"""

import sys
from pathlib import Path

from meshdisent import Mesh, ScanDataset
from meshdisent.data.way_back import way_back

back = way_back(ScanDataset.open(sys.argv[1]))
out = Path(sys.argv[2])
for path in sys.argv[3:]:
    whole = back.put_back(Mesh.read(path).vertices)
    Mesh(whole, back.full.faces).write(out / Path(path).name)
