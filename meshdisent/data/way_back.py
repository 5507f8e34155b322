"""From a prepared topology back to the whole: ``prepare --crop`` and ``--vertices`` keep the map in the file."""

import numpy as np

from meshdisent.data.dataset import ScanDataset
from meshdisent.errors import DataError
from meshdisent.mesh.cropping import Crop
from meshdisent.mesh.topology import Topology


def way_back(scans: ScanDataset) -> Crop:
    """The crop whose part is the topology of some scans and whose whole is that of the files they were read from.

    ``way_back(scans).put_back(mesh.vertices)`` brings a result of any model of these scans onto the whole head, the
    vertices that decimation took away among them.

    Raises
    ------
    DataError : If the scans were neither cropped nor decimated, or not by choosing vertices.

    Examples
    --------
    >>> scans.save(folder / "whole.h5")
    >>> way_back(ScanDataset.open(folder / "whole.h5"))
    Traceback (most recent call last):
    meshdisent.errors.DataError: ...whole.h5 was neither cropped nor decimated; its scans are whole already.
    """
    full = scans.full_resolution()
    where = scans.path or "The dataset"
    if full is None:
        raise DataError(f"{where} was neither cropped nor decimated; its scans are whole already.")
    if full.map.nnz != full.map.shape[0] or not (full.map.data == 1).all():
        raise DataError(f"{where} was decimated to points between vertices; wanted chosen vertices. Prepare it again.")
    rows = np.asarray(full.map.argmax(axis=1)).ravel().astype(np.int64)
    return Crop(full=Topology(full.template, full.faces), part=scans.topology, rows=rows)
