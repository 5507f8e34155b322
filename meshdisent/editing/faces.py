"""Faces from a model: people at rest, expressions under names, walks between two faces, random people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from meshdisent.editing.scans import as_scans, changed, decode, encode, meshes, need_split, one_scan
from meshdisent.errors import UsageError
from meshdisent.mesh.formats import READERS
from meshdisent.mesh.mesh import Mesh
from meshdisent.morphable.contract import Codes, MorphableModel
from meshdisent.morphable.named_expressions import find_expression

Number = int | float


def neutralize(model: MorphableModel, scans: Any, keep_detail: bool = False) -> list[Mesh]:
    """The subjects of some scans at rest.

    Examples
    --------
    >>> [mesh.vertices.shape for mesh in neutralize(model, scans.vertices()[:2])]
    [(162, 3), (162, 3)]
    """
    need_split(model, "neutralize")
    shown = as_scans(model, scans)
    return meshes(model, changed(model, shown, lambda codes, rows: model.neutral(codes.identity), keep_detail))


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
    need_split(model, "express")
    names = [names] if isinstance(names, str) else list(names)
    if not names:
        raise UsageError("express got no names; wanted at least one key of model.named_expressions.")
    shown = strength * torch.cat([_named_expression(model, name) for name in names])
    if isinstance(identity, str) and identity == "mean":
        person = model.prior().identity_mean[None]
    else:
        person = encode(model, one_scan(model, identity, "identity")).identity
    return meshes(model, decode(model, Codes(person.expand(len(names), -1), shown)))


def blend(
    model: MorphableModel,
    people: Any,
    weights: Sequence[Number] | Sequence[Sequence[Number]],
    expression: Any = "neutral",
    strength: float = 1.0,
) -> list[Mesh]:
    r"""A person between several others: their identity codes, mixed by weights.

    .. math:: z = \sum_k w_k z_k / \sum_k w_k

    Parameters
    ----------
    people : Scans with any expressions, each of the person that it shows.
    weights : One for each scan, or rows of them for several results. Negative ones move away from a person.
    expression : What the result does: ``"neutral"``, a key of ``model.named_expressions``, or a scan.
    strength : Of the expression, along straight lines from the face at rest.

    Raises
    ------
    UsageError : If weights and scans do not match in number, or weights sum to nothing.

    Examples
    --------
    >>> middle = blend(model, scans.vertices()[:2], [0.5, 0.5])[0].vertices
    >>> ends = [mesh.vertices for mesh in blend(model, scans.vertices()[:2], [[1, 0], [0, 1]])]
    >>> bool(np.allclose(middle, (ends[0] + ends[1]) / 2, atol=1e-3))  # a linear model
    True
    """
    need_split(model, "blend people")
    given = as_scans(model, people, "the scan")
    shares = np.atleast_2d(np.asarray(weights, np.float64))
    total = shares.sum(axis=1, keepdims=True)
    if shares.shape[1] != len(given) or not np.isfinite(shares).all() or (np.abs(total) < 1e-9).any():
        raise UsageError(
            f"blend got weights {np.asarray(weights).tolist()} for {len(given)} scans; wanted a finite number for each "
            "scan, whose sum is not 0."
        )
    codes = encode(model, given).identity
    mixed = torch.from_numpy(shares / total).to(codes) @ codes
    with torch.no_grad():
        rest = model.neutral(mixed).float().cpu().numpy()
    if isinstance(expression, str) and expression == "neutral":
        return meshes(model, rest)
    moved = decode(model, Codes(mixed, _expression_code(model, expression).expand(len(mixed), -1)))
    return meshes(model, rest + strength * (moved - rest))


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
    need_split(model, "interpolate")
    if steps < 2:
        raise UsageError(f"interpolate got {steps} steps; wanted at least 2, the two ends.")
    if only not in ("both", "identity", "expression"):
        raise UsageError(f"interpolate got only={only!r}; wanted both, identity or expression.")
    ends = np.concatenate([as_scans(model, first, "the first scan"), as_scans(model, second, "the second scan")])
    if len(ends) != 2:
        raise UsageError(f"interpolate got {len(ends)} scans; wanted two.")
    codes = encode(model, ends)
    moving = {"identity": only != "expression", "expression": only != "identity"}
    share = torch.linspace(0, 1, steps).to(codes.identity)[:, None]
    paths = [
        code[:1] + share * ((code[1:] - code[:1]) if moving[factor] else torch.zeros_like(code[:1]))
        for factor, code in codes._asdict().items()
    ]
    return meshes(model, decode(model, Codes(*paths)))


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
        need_split(model, "draw only one of them")
    prior = model.prior()
    drawn = prior.sample(count, torch.Generator().manual_seed(seed))
    people = prior.identity_mean + spread * (drawn.identity - prior.identity_mean)
    shown = prior.expression_mean + spread * (drawn.expression - prior.expression_mean)
    if identity is not None:
        people = encode(model, one_scan(model, identity, "identity")).identity.expand(count, -1)
    if isinstance(expression, str) and expression == "neutral":
        with torch.no_grad():
            return meshes(model, model.neutral(people).float().cpu().numpy())
    if expression is not None:
        shown = _expression_code(model, expression).expand(count, -1)
    return meshes(model, decode(model, Codes(people, shown)))


def _expression_code(model: MorphableModel, expression: Any) -> Float[Tensor, "1 expression"]:
    """The code of a name, or of what a scan shows."""
    if isinstance(expression, str) and (expression in model.named_expressions or not _is_file(expression)):
        return _named_expression(model, expression)
    return encode(model, one_scan(model, expression, "expression")).expression


def _is_file(text: str) -> bool:
    """Whether a text means a mesh file rather than a name."""
    return Path(text).suffix.lower() in READERS or Path(text).is_file()


def _named_expression(model: MorphableModel, name: str) -> Float[Tensor, "1 expression"]:
    return find_expression(model.named_expressions, name).to(model.identity_mean)[None]
