"""The rows of the accuracy comparison, read from rows.yaml; a new row is a new line there."""

import difflib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from meshdisent.errors import RecipeError, UsageError
from meshdisent.training.typed_yaml import fill, read_yaml

ROWS = Path(__file__).with_name("rows.yaml")
#: Groups in the order of the tables, and what stands above each.
GROUPS = {
    "linear": "Linear models",
    "published": "WSDF as published",
    "methods": "All methods with 32 + 32 codes (CoMA: 64), the same time for each",
    "paper ablation": "The paper's ablation: each row adds a term to the one above",
    "ours": "wsdf-ict: three seeds, its linear start, and fewer identity codes",
    "own choices": "What each choice of wsdf-ict does: one changed in each row",
    "shipped": "Weights that come along, as they are in the package",
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One model to make and measure; rows.yaml explains the fields."""

    name: str
    group: Literal["linear", "published", "methods", "paper ablation", "ours", "own choices", "shipped"]
    recipe: str
    set: tuple[str, ...] = ()
    seed: int | None = None
    minutes: float | None = None

    @property
    def slug(self) -> str:
        """The name as a file name.

        Examples
        --------
        >>> Row(name="linear 32 + 32, bank = mode", group="linear", recipe="linear").slug
        'linear-32-32-bank-mode'
        """
        return "-".join(re.findall("[a-z0-9]+", self.name.lower()))

    @property
    def settings(self) -> tuple[str, ...]:
        """Everything in which the row differs from its recipe, as for ``--set``."""
        own = {"seed": self.seed, "training.minutes": self.minutes}
        return (*self.set, *(f"{key}={value}" for key, value in own.items() if value is not None))


@dataclass(frozen=True, kw_only=True)
class _File:
    """What rows.yaml holds."""

    rows: tuple[Row, ...]

    def __post_init__(self) -> None:
        slugs = [row.slug for row in self.rows]
        for row in self.rows:
            if not row.slug or slugs.count(row.slug) > 1:
                raise RecipeError(f"the row {row.name!r} is saved as {row.slug!r}; wanted a name of its own for each.")


def read_rows(path: Path = ROWS) -> list[Row]:
    """All rows of a file, in the order of the groups."""
    rows = fill(_File, read_yaml(path), path.name).rows
    return sorted(rows, key=lambda row: list(GROUPS).index(row.group))


def chosen_rows(rows: Sequence[Row], wanted: Sequence[str]) -> list[Row]:
    """Rows whose group or name is wanted; all if nothing is.

    Raises
    ------
    UsageError : If a wanted name is neither, naming the nearest.
    """
    names = {known: None for row in rows for known in (row.group, row.name, row.slug)}
    for name in wanted:
        if name not in names:
            nearest = difflib.get_close_matches(name, names, n=1, cutoff=0.0)
            raise UsageError(f"{name!r} is no row and no group of rows. Did you mean {nearest[0]!r}? See --list.")
    return [row for row in rows if not wanted or {row.group, row.name, row.slug} & {*wanted}]
