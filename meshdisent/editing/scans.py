"""Scans that go into a model and meshes that come out: checked at the border, a block at a time inside."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import MeshError, UsageError
from meshdisent.mesh.exchange import as_mesh
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.misfit import misfit
from meshdisent.morphable.contract import Codes, MorphableModel

#: Scans that go through a model at once.
BLOCK = 64


def as_scans(model: MorphableModel, scans: Any, where: str = "the scan") -> Float[np.ndarray, "scan vertex 3"]:
    """One scan or several, checked against the model's topology and where its template lies, as an array in mm.

    Raises
    ------
    TopologyError : If a scan has another vertex count, or faces that are not the model's.
    MeshError : If something is no scan, or is in another unit, mirrored, turned or far away.
    """
    is_several = isinstance(scans, list) or getattr(scans, "ndim", 0) == 3  # arrays and tensors
    found = [_vertices_and_faces(scan) for scan in (scans if is_several else [scans])]
    if not found:
        raise MeshError("No scan was given; wanted at least one.")
    names = [where] if len(found) == 1 else [f"{where} {number}" for number in range(len(found))]
    for name, (vertices, faces) in zip(names, found, strict=True):
        if vertices.ndim != 2 or vertices.shape[1] != 3 or vertices.dtype.kind not in "fiu":
            raise MeshError(
                f"{name} is an array of {vertices.dtype} of shape {vertices.shape}; wanted (V, 3), vertices in mm."
            )
        model.check_scan(len(vertices), faces, name)
        if not np.isfinite(vertices).all():
            raise MeshError(
                f"{name} has a coordinate that is not finite; wanted finite numbers in mm. Mend or leave it out."
            )
    checked = np.stack([vertices for vertices, _ in found]).astype(np.float32)
    for name, vertices in zip(names, checked, strict=True):
        _refuse_misfit(model, vertices, name)
    return checked


def one_scan(model: MorphableModel, scan: Any, factor: str) -> Float[np.ndarray, "1 vertex 3"]:
    """A scan, checked, where only one can be meant; raises :class:`UsageError` for several."""
    found = as_scans(model, scan, f"the {factor} scan")
    if len(found) != 1:
        raise UsageError(f"{len(found)} {factor} scans were given; wanted one. Call the function once for each.")
    return found


def _refuse_misfit(model: MorphableModel, vertices: Float[np.ndarray, "vertex 3"], where: str) -> None:
    reason = misfit(vertices, model.topology.template)
    # A template may lie elsewhere than the scans that were prepared with it; what fits the model's faces is right.
    if reason is not None and not _fits_mean(model, vertices):
        raise MeshError(f"{where} {reason}")


def _fits_mean(model: MorphableModel, vertices: Float[np.ndarray, "vertex 3"]) -> bool:
    prior = model.prior()
    mean = decode(model, Codes(prior.identity_mean[None], prior.expression_mean[None]))[0]
    return bool(np.ptp(mean, axis=0).any()) and misfit(vertices, mean) is None


def _vertices_and_faces(scan: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(scan, np.ndarray):
        return scan, None
    mesh = as_mesh(scan)
    return mesh.vertices, mesh.faces if len(mesh.faces) else None


def need_split(model: MorphableModel, verb: str) -> None:
    """Refuse what needs two codes, said as a verb, to a model that has one."""
    if model.identity_size == 0 or model.expression_size == 0:
        raise UsageError(f"A {model.name} model does not separate identity from expression, so it cannot {verb}.")


def encode_scans(model: MorphableModel, scans: Any, where: str = "the scan") -> Codes:
    """Codes of one scan or several; raises as :func:`as_scans` does."""
    return encode(model, as_scans(model, scans, where))


@torch.no_grad()
def encode(model: MorphableModel, scans: Float[np.ndarray, "scan vertex 3"]) -> Codes:
    """Codes of scans in mm, a block at a time."""
    blocks = [model.encode(tensor(model, scans[i : i + BLOCK])) for i in range(0, len(scans), BLOCK)]
    return Codes(torch.cat([b.identity for b in blocks]), torch.cat([b.expression for b in blocks]))


@torch.no_grad()
def decode(model: MorphableModel, codes: Codes) -> Float[np.ndarray, "scan vertex 3"]:
    """Vertices in mm from codes, a block at a time."""
    model.check_codes(codes)
    blocks = [
        model.decode(Codes(codes.identity[i : i + BLOCK], codes.expression[i : i + BLOCK])).float().cpu().numpy()
        for i in range(0, len(codes.identity), BLOCK)
    ]
    return np.concatenate(blocks)


@torch.no_grad()
def changed(
    model: MorphableModel,
    scans: Float[np.ndarray, "scan vertex 3"],
    change: Callable[[Codes, slice], Tensor],
    keep_detail: bool,
) -> Float[np.ndarray, "scan vertex 3"]:
    """Scans after a change of their codes, with their detail kept or not."""
    results = []
    for start in range(0, len(scans), BLOCK):
        rows = slice(start, start + BLOCK)
        shown = tensor(model, scans[rows])
        codes = model.encode(shown)
        changed = change(codes, rows)
        results.append((shown - model.decode(codes) + changed if keep_detail else changed).float().cpu().numpy())
    return np.concatenate(results)


def tensor(model: MorphableModel, scans: np.ndarray) -> Tensor:
    """An array as the model has its own, on its device."""
    return torch.from_numpy(scans).to(model.identity_mean)


def meshes(model: MorphableModel, vertices: Float[np.ndarray, "scan vertex 3"]) -> list[Mesh]:
    """Meshes with the faces of the model."""
    return [Mesh(scan.astype(np.float64), model.topology.faces) for scan in vertices]
