"""What people do with a trained model, over any morphable model: neutralize, transfer, express, blend, interpolate, ...

Everything that is a scan is accepted (array, Mesh, path, psbody, trimesh or pyvista object; several of them as a list)
and meshes with the model's faces are given back. Lengths in mm.

With the detail of a scan kept, the result is the scan plus the change that the model sees, so that wrinkles and
whatever else the codes cannot say stay: ``scan - decode(codes) + decode(changed codes)``.
"""

from meshdisent.editing.attributes import Attribute, edit_attribute, find_attribute, read_attribute_table
from meshdisent.editing.faces import blend, express, interpolate, neutralize, sample
from meshdisent.editing.leakage import identity_leak, spread_over_sources
from meshdisent.editing.scans import as_scans, encode_scans
from meshdisent.editing.transfers import METHODS, delta_transfer, transfer

__all__ = [
    "METHODS",
    "Attribute",
    "as_scans",
    "blend",
    "delta_transfer",
    "edit_attribute",
    "encode_scans",
    "express",
    "find_attribute",
    "identity_leak",
    "interpolate",
    "neutralize",
    "read_attribute_table",
    "sample",
    "spread_over_sources",
    "transfer",
]
