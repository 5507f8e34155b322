"""What people do with a trained model: neutralize, transfer, express, interpolate, sample, over any morphable model.

Everything that is a scan is accepted (array, Mesh, path, psbody, trimesh or pyvista object; several of them as a list)
and meshes with the model's faces are given back. Lengths in mm.

With the detail of a scan kept, the result is the scan plus the change that the model sees, so that wrinkles and
whatever else the codes cannot say stay: ``scan - decode(codes) + decode(changed codes)``.
"""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.errors import MeshError, UsageError
from meshdisent.mesh.exchange import as_mesh
from meshdisent.mesh.formats import READERS
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.misfit import misfit
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.named_expressions import find_expression

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


def encode_scans(model: MorphableModel, scans: Any, where: str = "the scan") -> Codes:
    """Codes of one scan or several; raises as :func:`as_scans` does."""
    return _encode(model, as_scans(model, scans, where))


def neutralize(model: MorphableModel, scans: Any, keep_detail: bool = False) -> list[Mesh]:
    """The subjects of some scans at rest.

    Examples
    --------
    >>> [mesh.vertices.shape for mesh in neutralize(model, scans.vertices()[:2])]
    [(162, 3), (162, 3)]
    """
    _need_split(model, "neutralize")
    shown = as_scans(model, scans)
    return _meshes(model, _changed(model, shown, lambda codes, rows: model.neutral(codes.identity), keep_detail))


def transfer(model: MorphableModel, identity: Any, expressions: Any, keep_detail: bool = False) -> list[Mesh]:
    """The subject of one scan with the expressions of others, one mesh for each of those.

    Parameters
    ----------
    identity : One scan of the subject, with any expression.
    expressions : One scan or several, of anyone.
    keep_detail : Keep the detail of the scan ``identity``.
    """
    _need_split(model, "transfer")
    subject = _one_scan(model, identity, "identity")
    shown = _encode(model, as_scans(model, expressions, "the expression scan")).expression
    repeated = np.repeat(subject, len(shown), axis=0)
    changed = _changed(
        model, repeated, lambda codes, rows: model.decode(Codes(codes.identity, shown[rows])), keep_detail
    )
    return _meshes(model, changed)


def express(model: MorphableModel, identity: Any, names: str | Sequence[str], strength: float = 1.0) -> list[Mesh]:
    """The subject of one scan doing expressions that the model knows by name, one mesh for each name.

    Parameters
    ----------
    identity : One scan of the subject, with any expression; or ``"mean"``, the mean of all subjects.
    names : Keys of ``model.named_expressions``, or one.
    strength : Scale of the expression; 0 is the face at rest.

    Raises
    ------
    UsageError : If a name is not known; it names the nearest.

    Examples
    --------
    >>> model.named_expressions = {"jawOpen": torch.ones(model.expression_size)}
    >>> [mesh.vertices.shape for mesh in express(model, "mean", ["jawOpen"], strength=0.5)]
    [(162, 3)]
    """
    _need_split(model, "express")
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise UsageError("express got no names; wanted at least one key of model.named_expressions.")
    shown = strength * torch.cat([_named_expression(model, name) for name in names])
    if isinstance(identity, str) and identity == "mean":
        person = model.prior().identity_mean[None]
    else:
        person = _encode(model, _one_scan(model, identity, "identity")).identity
    return _meshes(model, _decode(model, Codes(person.expand(len(names), -1), shown)))


def interpolate(
    model: MorphableModel,
    first: Any,
    second: Any,
    steps: int = 9,
    only: Literal["both", "identity", "expression"] = "both",
) -> list[Mesh]:
    """Faces between two scans, equally spaced along the straight line of their codes, both ends included.

    ``only`` moves one code and keeps the other as in the first scan.
    """
    _need_split(model, "interpolate")
    if steps < 2:
        raise UsageError(f"interpolate got {steps} steps; wanted at least 2, the two ends.")
    if only not in ("both", "identity", "expression"):
        raise UsageError(f"interpolate got only={only!r}; wanted both, identity or expression.")
    ends = np.concatenate([as_scans(model, first, "the first scan"), as_scans(model, second, "the second scan")])
    if len(ends) != 2:
        raise UsageError(f"interpolate got {len(ends)} scans; wanted two.")
    codes = _encode(model, ends)
    moving = {"identity": only != "expression", "expression": only != "identity"}
    share = torch.linspace(0, 1, steps).to(codes.identity)[:, None]
    paths = [
        code[:1] + share * ((code[1:] - code[:1]) if moving[factor] else torch.zeros_like(code[:1]))
        for factor, code in codes._asdict().items()
    ]
    return _meshes(model, _decode(model, Codes(*paths)))


def sample(
    model: MorphableModel,
    count: int = 12,
    seed: int = 0,
    identity: Any = None,
    expression: Any = None,
    spread: float = 1.0,
) -> list[Mesh]:
    """Random people with random expressions, drawn from where the codes of the training scans lie.

    Parameters
    ----------
    identity, expression : A scan that fixes this code, so that only the other is drawn. The expression may also be a
        key of ``model.named_expressions``, or ``"neutral"``, which leaves all faces at rest.
    spread : Scale of the deviations from the mean code; below 1 faces are more usual.
    """
    if count < 1:
        raise UsageError(f"sample got a count of {count}; wanted at least 1.")
    if identity is not None or expression is not None:
        _need_split(model, "draw only one of them")
    prior = model.prior()
    drawn = prior.sample(count, torch.Generator().manual_seed(seed))
    people = prior.identity_mean + spread * (drawn.identity - prior.identity_mean)
    shown = prior.expression_mean + spread * (drawn.expression - prior.expression_mean)
    if identity is not None:
        people = _encode(model, _one_scan(model, identity, "identity")).identity.expand(count, -1)
    if isinstance(expression, str) and expression == "neutral":
        with torch.no_grad():
            return _meshes(model, model.neutral(people).float().cpu().numpy())
    if isinstance(expression, str) and (expression in model.named_expressions or not _is_file(expression)):
        shown = _named_expression(model, expression).expand(count, -1)
    elif expression is not None:
        shown = _encode(model, _one_scan(model, expression, "expression")).expression.expand(count, -1)
    return _meshes(model, _decode(model, Codes(people, shown)))


def _one_scan(model: MorphableModel, scan: Any, factor: str) -> Float[np.ndarray, "1 vertex 3"]:
    found = as_scans(model, scan, f"the {factor} scan")
    if len(found) != 1:
        raise UsageError(f"{len(found)} {factor} scans were given; wanted one. Call the function once for each.")
    return found


def _is_file(text: str) -> bool:
    """Whether a text means a mesh file rather than a name."""
    return Path(text).suffix.lower() in READERS or Path(text).is_file()


def _named_expression(model: MorphableModel, name: str) -> Float[Tensor, "1 expression"]:
    return find_expression(model.named_expressions, name).to(model.identity_mean)[None]


def _refuse_misfit(model: MorphableModel, vertices: Float[np.ndarray, "vertex 3"], where: str) -> None:
    reason = misfit(vertices, model.topology.template)
    # A template may lie elsewhere than the scans that were prepared with it; what fits the model's faces is right.
    if reason is not None and not _fits_mean(model, vertices):
        raise MeshError(f"{where} {reason}")


def _fits_mean(model: MorphableModel, vertices: Float[np.ndarray, "vertex 3"]) -> bool:
    prior = model.prior()
    mean = _decode(model, Codes(prior.identity_mean[None], prior.expression_mean[None]))[0]
    return bool(np.ptp(mean, axis=0).any()) and misfit(vertices, mean) is None


def _vertices_and_faces(scan: Any) -> tuple[np.ndarray, np.ndarray | None]:
    if isinstance(scan, np.ndarray):
        return scan, None
    mesh = as_mesh(scan)
    return mesh.vertices, mesh.faces if len(mesh.faces) else None


def _need_split(model: MorphableModel, verb: str) -> None:
    if model.identity_size == 0 or model.expression_size == 0:
        raise UsageError(f"A {model.name} model does not separate identity from expression, so it cannot {verb}.")


@torch.no_grad()
def _encode(model: MorphableModel, scans: Float[np.ndarray, "scan vertex 3"]) -> Codes:
    blocks = [model.encode(_tensor(model, scans[i : i + BLOCK])) for i in range(0, len(scans), BLOCK)]
    return Codes(torch.cat([b.identity for b in blocks]), torch.cat([b.expression for b in blocks]))


@torch.no_grad()
def _decode(model: MorphableModel, codes: Codes) -> Float[np.ndarray, "scan vertex 3"]:
    model.check_codes(codes)
    blocks = [
        model.decode(Codes(codes.identity[i : i + BLOCK], codes.expression[i : i + BLOCK])).float().cpu().numpy()
        for i in range(0, len(codes.identity), BLOCK)
    ]
    return np.concatenate(blocks)


@torch.no_grad()
def _changed(
    model: MorphableModel,
    scans: Float[np.ndarray, "scan vertex 3"],
    change: Callable[[Codes, slice], Tensor],
    keep_detail: bool,
) -> Float[np.ndarray, "scan vertex 3"]:
    """Scans after a change of their codes, with their detail kept or not."""
    results = []
    for start in range(0, len(scans), BLOCK):
        rows = slice(start, start + BLOCK)
        shown = _tensor(model, scans[rows])
        codes = model.encode(shown)
        changed = change(codes, rows)
        results.append((shown - model.decode(codes) + changed if keep_detail else changed).float().cpu().numpy())
    return np.concatenate(results)


def _tensor(model: MorphableModel, scans: np.ndarray) -> Tensor:
    return torch.from_numpy(scans).to(model.identity_mean)


def _meshes(model: MorphableModel, vertices: Float[np.ndarray, "scan vertex 3"]) -> list[Mesh]:
    return [Mesh(scan.astype(np.float64), model.topology.faces) for scan in vertices]
