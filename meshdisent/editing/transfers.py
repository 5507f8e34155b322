r"""The expressions of some scans on another person: by codes, or by displacements.

With codes the person's identity and the others' expression are decoded together. With displacements (delta transfer)
what the other's face moved from its neutral is added to the person's,

.. math:: y = n_t + M\,(x - n_s),

with :math:`M = I` (plain), or the local maps from one neutral to the other (:mod:`meshdisent.mesh.local_maps`; Sumner
and Popovic 2004), since a wider face smiles wider. Delta transfer keeps whatever a neutral cannot take away of the
other person; :mod:`meshdisent.editing.leakage` says how much that is.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter1d

from meshdisent.editing.scans import as_scans, changed, encode, meshes, need_split, one_scan, tensor
from meshdisent.errors import UsageError
from meshdisent.mesh.local_maps import local_maps
from meshdisent.mesh.mesh import Mesh
from meshdisent.mesh.topology import Topology
from meshdisent.morphable.contract import Codes, MorphableModel

Scans = Float[np.ndarray, "scan vertex 3"]


def transfer(
    model: MorphableModel,
    identity: Any,
    expressions: Any,
    keep_detail: bool = False,
    *,
    strength: float = 1.0,
    smooth: float = 0.0,
) -> list[Mesh]:
    """The subject of one scan with the expressions of others, one mesh for each of those.

    Parameters
    ----------
    identity : One scan of the subject, with any expression.
    expressions : One scan or several, of anyone; frames in the order of time if they are smoothed.
    keep_detail : Keep the detail of the scan ``identity``.
    strength : How far from the face at rest to the expression: 0 at rest, 1 as it is, above 1 exaggerated. Vertices
        move on straight lines.
    smooth : Standard deviation, in frames, of the Gaussian that averages expression codes over time; 0 for none.

    Raises
    ------
    UsageError : If the model does not separate identity from expression, or a number cannot be meant.
    """
    need_split(model, "transfer")
    _check(strength, smooth)
    subject = one_scan(model, identity, "identity")
    shown = encode(model, as_scans(model, expressions, "the expression scan")).expression
    shown = tensor(model, smoothed(shown.float().cpu().numpy(), smooth))
    repeated = np.repeat(subject, len(shown), axis=0)

    def change(codes: Codes, rows: slice) -> Any:
        moved = model.decode(Codes(codes.identity, shown[rows]))
        if strength == 1.0:
            return moved
        rest = model.neutral(codes.identity)
        return rest + strength * (moved - rest)

    return meshes(model, changed(model, repeated, change, keep_detail))


def delta_transfer(
    model: MorphableModel,
    identity: Any,
    expressions: Any,
    *,
    neutral: Any = None,
    neutrals: Any = None,
    local: bool = True,
    strength: float = 1.0,
    smooth: float = 0.0,
) -> list[Mesh]:
    """The subject of one scan with the displacements of others, one mesh for each of those.

    Parameters
    ----------
    identity : One scan of the subject, with any expression.
    expressions : One scan or several, of anyone.
    neutral : The subject at rest; if not given, what the model takes for it, with the detail of the scan.
    neutrals : The others at rest, one scan for all or one for each; if not given, what the model takes for it: of
        several scans each its own.
    local : Carry displacements by the local maps between the two neutrals; else they are added as they are.
    strength, smooth : As in :func:`transfer`; here displacements are smoothed.

    Raises
    ------
    UsageError : If neutrals and scans do not match in number, or the model would have to find neutrals and cannot.

    Examples
    --------
    >>> shown = scans.vertices()[:2]
    >>> same = delta_transfer(model, shown[0], shown[1], neutral=shown[0], neutrals=shown[0], local=False)
    >>> bool(np.allclose(same[0].vertices, shown[1], atol=1e-3))
    True
    """
    _check(strength, smooth)
    subject = one_scan(model, identity, "identity")
    moved = as_scans(model, expressions, "the expression scan")
    rest = _at_rest(model, subject) if neutral is None else one_scan(model, neutral, "neutral")
    others = _at_rest(model, moved) if neutrals is None else as_scans(model, neutrals, "the others' neutral")
    if len(others) not in (1, len(moved)):
        raise UsageError(f"{len(others)} neutrals were given for {len(moved)} expression scans; wanted 1 or one each.")
    shifts = moved.astype(np.float64) - others
    if local:
        shifts = _carried(model.topology, rest[0], others, shifts)
    return meshes(model, (rest[0] + strength * smoothed(shifts, smooth)).astype(np.float32))


#: Ways to transfer, by the names that ``--method`` takes: model, identity scan, expression scans -> meshes. Keywords
#: ``strength`` and ``smooth`` are common to all.
METHODS: dict[str, Callable[..., list[Mesh]]] = {
    "codes": transfer,
    "delta": lambda *given, **options: delta_transfer(*given, local=False, **options),
    "delta-local": lambda *given, **options: delta_transfer(*given, local=True, **options),
}


def smoothed(values: Float[np.ndarray, "frame ..."], frames: float) -> Float[np.ndarray, "frame ..."]:
    """Averaged over time with a Gaussian; before the first frame and after the last one these go on."""
    return gaussian_filter1d(values, frames, axis=0, mode="nearest") if frames > 0 else values


def _check(strength: float, smooth: float) -> None:
    if not np.isfinite(strength) or not 0 <= smooth < 1e6:
        raise UsageError(
            f"Transfer got the strength {strength} and smoothing over {smooth} frames; wanted a finite number, such as "
            "1, and 0 frames or more."
        )


def _at_rest(model: MorphableModel, scans: Scans) -> Scans:
    need_split(model, "find neutrals; give them")
    return changed(model, scans, lambda codes, rows: model.neutral(codes.identity), keep_detail=True)


def _carried(topology: Topology, rest: np.ndarray, others: Scans, shifts: np.ndarray) -> np.ndarray:
    """Displacements seen on the others' neutrals, as the subject's neutral has them."""
    target = rest.astype(np.float64)
    maps = [local_maps(Topology(other.astype(np.float64), topology.faces), target) for other in others]
    chosen = np.zeros(len(shifts), np.int64) if len(maps) == 1 else np.arange(len(shifts))
    return np.stack([np.einsum("vij,vj->vi", maps[k], shift) for k, shift in zip(chosen, shifts, strict=True)])
