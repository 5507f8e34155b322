"""Scans on the command line: a mesh file, or ``faces.h5:SUBJECT/EXPRESSION`` (``/FRAME``)."""

import glob
import re
import sys
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from jaxtyping import Float

from meshdisent.errors import DataError, MeshdisentError, UsageError

if TYPE_CHECKING:
    from meshdisent.data.dataset import ScanDataset
    from meshdisent.morphable.contract import MorphableModel


class NamedScan(NamedTuple):
    """A scan in mm, and a name that can be part of a file name."""

    name: str
    vertices: Float[np.ndarray, "vertex 3"]


def read_scan(text: str, model: "MorphableModel") -> NamedScan:
    """Read one scan and check it against the model's topology.

    Raises
    ------
    MeshError, DataError : If the file cannot be read, or the dataset has no such scan.
    TopologyError : If the scan does not fit the model.
    """
    from meshdisent.editing import as_scans

    found = re.fullmatch(r"(.+\.(?:h5|hdf5)):(.+)", text)
    if found is None:
        from meshdisent.mesh.mesh import Mesh

        if Path(text).suffix in (".h5", ".hdf5"):
            raise DataError(f"{text} is a dataset; wanted one scan of it. Write {text}:SUBJECT/EXPRESSION.")
        return NamedScan(Path(text).stem, as_scans(model, Mesh.read(text), text)[0])
    scans = _dataset(found[1])
    vertices = scans.vertices(np.array([scans.scan(found[2])]))[0]
    return NamedScan(found[2].replace("/", "-"), as_scans(model, vertices, text)[0])


def read_scans(texts: tuple[str, ...], model: "MorphableModel") -> tuple[list[NamedScan], int]:
    """Read several scans; one that cannot be used is named on stderr and counted, and the rest goes on.

    Raises
    ------
    UsageError : If no scan is named.
    MeshdisentError : The first reason, if no scan can be used.
    """
    if not texts:
        raise UsageError("No scan is named; wanted at least one SCAN, a mesh file or faces.h5:SUBJECT/EXPRESSION.")
    scans, reasons = _read_all(texts, model)
    names = different_names({text: scan.name for text, scan in scans.items()})
    return [NamedScan(names[text], scan.vertices) for text, scan in scans.items()], len(reasons)


def _read_all(texts: Sequence[str], model: "MorphableModel") -> tuple[dict[str, NamedScan], list[MeshdisentError]]:
    """Scans by what they were called on the command line, and why others cannot be used; raises if none can."""
    scans: dict[str, NamedScan] = {}
    reasons: list[MeshdisentError] = []
    for text in texts:
        try:
            scans[text] = read_scan(text, model)
        except MeshdisentError as error:
            reasons.append(error)
    if not scans:
        raise reasons[0]
    for reason in reasons:
        print(f"meshdisent: left out: {' '.join(str(reason).split())}", file=sys.stderr)
    return scans, reasons


def read_sequences(texts: tuple[str, ...], model: "MorphableModel") -> tuple[dict[str, list[NamedScan]], int]:
    """Read scans and sequences: each text becomes a list of frames in their order, under a name of its own.

    A sequence is a name in a dataset that stands for several frames, a folder of meshes, or a pattern. Frames that
    cannot be used are named on stderr and counted, as in :func:`read_scans`.

    Raises
    ------
    UsageError : If no scan is named.
    MeshdisentError : If nothing can be used.
    """
    if not texts:
        raise UsageError("No scan is named; wanted at least one SCAN, a mesh file or faces.h5:SUBJECT/EXPRESSION.")
    groups = {text: frames_of(text) for text in texts}
    scans, reasons = _read_all(list(dict.fromkeys(frame for group in groups.values() for frame in group)), model)
    kept = {text: [scans[frame] for frame in group if frame in scans] for text, group in groups.items()}
    kept = {text: group for text, group in kept.items() if group}
    own = {text: _as_name(text) if len(groups[text]) > 1 else group[0].name for text, group in kept.items()}
    names = different_names(own)
    return {names[text]: group for text, group in kept.items()}, len(reasons)


def _as_name(text: str) -> str:
    """What a sequence is called in a file name: its name in a dataset, its folder, or how its files begin."""
    found = re.fullmatch(r".+\.(?:h5|hdf5):(.+)", text)
    path = Path(text)
    if found is not None:
        name = found[1]
    else:
        name = re.split(r"[*?\[]", path.name)[0].rstrip("-_.") or path.absolute().parent.name
    return re.sub(r"[^\w.-]+", "-", name).strip("-_.") or "sequence"


def frames_of(text: str) -> list[str]:
    """The scans that a text on the command line stands for, in the order of their frames or their names.

    Raises
    ------
    DataError : If a folder or a pattern has no mesh.
    """
    found = re.fullmatch(r"(.+\.(?:h5|hdf5)):(.+)", text)
    if found is not None:
        scans = _dataset(found[1])
        names = scans.names()
        rows = [row for row in np.flatnonzero(scans.frame >= 0) if names[row].rpartition("/")[0] == found[2]]
        rows.sort(key=lambda row: int(scans.frame[row]))
        return [f"{found[1]}:{names[row]}" for row in rows] if len(rows) > 1 else [text]
    from meshdisent.data.layouts.base import natural_key
    from meshdisent.mesh.formats import READERS

    path = Path(text)
    if path.is_dir():
        files = [str(file) for file in path.iterdir() if file.suffix.lower() in READERS]
    elif set("*?[") & set(text) and not path.exists():
        files = [file for file in glob.glob(text) if Path(file).suffix.lower() in READERS]
    else:
        return [text]
    if not files:
        raise DataError(f"{text} has no mesh; wanted files that end in {', '.join(READERS)}, one a frame.")
    return sorted(files, key=natural_key)


def different_names(names: dict[str, str]) -> dict[str, str]:
    """Tell scans of one name apart by their folder, or by a number, so that no result covers another.

    Parameters
    ----------
    names : By path.

    Examples
    --------
    >>> different_names({"anna/smile.ply": "smile", "ben/smile.ply": "smile", "ben/grin.ply": "grin"})
    {'anna/smile.ply': 'anna-smile', 'ben/smile.ply': 'ben-smile', 'ben/grin.ply': 'grin'}
    """
    chosen: dict[str, str] = {}
    for path, name in names.items():
        is_shared = list(names.values()).count(name) > 1
        folder = Path(path).parent.name
        is_telling = folder not in ("", "..") and ".h5:" not in path  # a name from a dataset has its subject already
        candidate = f"{folder}-{name}" if is_shared and is_telling else name
        number = 1
        taken = {*chosen.values(), *(other for other in names.values() if other != name)}
        while candidate in taken:
            number += 1
            candidate = f"{name}-{number}"
        chosen[path] = candidate
    return chosen


def _dataset(path: str) -> "ScanDataset":
    file = Path(path).absolute()
    return _open(path, file, file.stat().st_mtime_ns if file.is_file() else 0)


@lru_cache(maxsize=4)
def _open(path: str, file: Path, written: int) -> "ScanDataset":
    """Open a dataset once for all its scans; another folder to work in, or a file written anew, is another dataset."""
    from meshdisent.data.dataset import ScanDataset

    return ScanDataset.open(path)
