"""How data sets lie on disk: one file a layout, found by name.

A new data set is one new file here, one line in ``LAYOUTS`` and a short script in ``data_prep/``.
"""

from meshdisent.data.layouts.base import Layout, Listing, Rejection, ScanRecord
from meshdisent.data.layouts.folder import FolderLayout
from meshdisent.data.layouts.ict import IctLayout

__all__ = ["LAYOUTS", "FolderLayout", "IctLayout", "Layout", "Listing", "Rejection", "ScanRecord"]

#: The choices of ``meshdisent prepare LAYOUT``.
LAYOUTS: dict[str, type[Layout]] = {"folder": FolderLayout, "ict": IctLayout}
