"""How data sets lie on disk: one file a layout, found by name.

A new data set is one new file here, one line in ``LAYOUTS`` and a short script in ``data_prep/``.
"""

from meshdisent.data.layouts.base import Layout, Listing, Rejection, ScanRecord
from meshdisent.data.layouts.bu3dfe import Bu3dfeLayout
from meshdisent.data.layouts.coma import ComaLayout
from meshdisent.data.layouts.d3dfacs import D3dfacsLayout
from meshdisent.data.layouts.facescape import FacescapeLayout
from meshdisent.data.layouts.facewarehouse import FacewarehouseLayout
from meshdisent.data.layouts.folder import FolderLayout
from meshdisent.data.layouts.ict import IctLayout
from meshdisent.data.layouts.multiface import MultifaceLayout

__all__ = [
    "LAYOUTS",
    "Bu3dfeLayout",
    "ComaLayout",
    "D3dfacsLayout",
    "FacescapeLayout",
    "FacewarehouseLayout",
    "FolderLayout",
    "IctLayout",
    "Layout",
    "Listing",
    "MultifaceLayout",
    "Rejection",
    "ScanRecord",
]

#: The choices of ``meshdisent prepare LAYOUT``.
LAYOUTS: dict[str, type[Layout]] = {
    layout.name: layout
    for layout in (
        FolderLayout,
        IctLayout,
        ComaLayout,
        FacescapeLayout,
        Bu3dfeLayout,
        D3dfacsLayout,
        MultifaceLayout,
        FacewarehouseLayout,
    )
}
