"""What spiral networks need of a template: its hierarchy and the spirals of each level, computed once, kept on disk."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from meshdisent.errors import MeshdisentError, RecipeError
from meshdisent.files import writing
from meshdisent.mesh.contents import ARCHIVE_DAMAGE
from meshdisent.mesh.hierarchy import Hierarchy, Level, hierarchy
from meshdisent.mesh.published_hierarchy import published_hierarchy
from meshdisent.mesh.spirals import spirals
from meshdisent.mesh.topology import Topology

METHODS: dict[str, Callable[..., Hierarchy]] = {"ours": hierarchy, "published": published_hierarchy}
_VERSION = 1  # raise it when a change of the code changes the arrays: old files are then computed again


@dataclass(frozen=True, eq=False)
class SpiralHierarchy:
    """Levels of a template and the spirals of each level.

    Parameters
    ----------
    hierarchy : Levels and kept vertices.
    spirals : For each level, (V_l, length) vertex indices of that level.
    """

    hierarchy: Hierarchy
    spirals: tuple[Int[np.ndarray, "_ length"], ...]


def spiral_hierarchy(
    topology: Topology,
    factors: Sequence[int | float] = (4, 4, 4, 4),
    length: int = 9,
    dilation: int = 1,
    method: str = "ours",
) -> SpiralHierarchy:
    """Build, or read back, the hierarchy of a template and the spirals of its levels.

    Results are kept in the folder that the environment variable ``MESHDISENT_CACHE`` names, ``~/.cache/meshdisent``
    without it, under the template hash and the settings. A damaged file is computed again; a folder that cannot be
    written is no error.

    Parameters
    ----------
    topology : Faces and template.
    factors : As for :func:`meshdisent.mesh.hierarchy.hierarchy`.
    length, dilation : As for :func:`meshdisent.mesh.spirals.spirals`, the same on every level.
    method : ``"ours"``, or ``"published"`` for the published heap.

    Raises
    ------
    RecipeError : If the method is unknown.
    MeshError : For impossible factors, length or dilation.
    """
    if method not in METHODS:
        raise RecipeError(f"The hierarchy method is {method!r}; wanted one of {', '.join(sorted(METHODS))}.")
    settings = f"{method}-{'.'.join(f'{factor:g}' for factor in factors)}-{length}-{dilation}-v{_VERSION}"
    path = _cache_folder() / f"spirals-{topology.template_hash}-{settings}.npz"
    found = _read(path, topology)
    if found is None:
        levels = METHODS[method](topology.template, topology.faces, factors)
        orders = tuple(spirals(level.vertices, level.faces, length, dilation) for level in levels.levels)
        found = SpiralHierarchy(levels, orders)
        _write(path, found)
    return found


def _cache_folder() -> Path:
    named = os.environ.get("MESHDISENT_CACHE")
    return Path(named) if named else Path(os.path.expanduser("~")) / ".cache" / "meshdisent"


def _read(path: Path, topology: Topology) -> SpiralHierarchy | None:
    """The kept result, or None where there is none that can be trusted."""
    try:
        with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in stored.files}
        level, levels, kept, orders = Level(topology.template, topology.faces), [], [], []
        for step in range(int(arrays["level_count"])):
            if step:
                kept.append(arrays[f"kept_{step - 1}"])
                level = Level(level.vertices[kept[-1]], arrays[f"faces_{step}"])
            levels.append(level)
            orders.append(arrays[f"spirals_{step}"])
            if len(orders[-1]) != len(level.vertices):
                return None
        return SpiralHierarchy(Hierarchy(tuple(levels), tuple(kept)), tuple(orders))
    except ARCHIVE_DAMAGE:
        return None


def _write(path: Path, result: SpiralHierarchy) -> None:
    arrays = {"level_count": np.array(len(result.spirals))}
    for step, order in enumerate(result.spirals):
        arrays[f"spirals_{step}"] = order
        if step:
            arrays[f"faces_{step}"] = result.hierarchy.levels[step].faces
            arrays[f"kept_{step - 1}"] = result.hierarchy.kept[step - 1]
    try:
        with writing(path, overwrite=True) as aside, open(aside, "wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
    except (OSError, MeshdisentError):
        pass  # a cache that cannot be kept costs time, nothing else
