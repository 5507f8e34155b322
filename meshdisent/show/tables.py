"""Tables of a report: numbers in columns with units, the best of each column, and rows that beat the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from meshdisent.errors import UsageError

ROLES = ("model", "baseline", "reference")
BETTER = ("lower", "higher", "")


@dataclass(frozen=True)
class Column:
    """A column: its name, the unit that stands below it, and which direction is better, if any.

    Attributes
    ----------
    name : Heading.
    unit : For example ``mm``; stands in the heading, not in the cells.
    better : ``lower``, ``higher``, or nothing where numbers cannot be ranked.
    decimals : How many are printed.
    """

    name: str
    unit: str = ""
    better: str = "lower"
    decimals: int = 3
    is_number: bool = True

    def __post_init__(self) -> None:
        if self.better not in BETTER:
            raise UsageError(f"Column {self.name!r} got better={self.better!r}; wanted 'lower', 'higher' or ''.")

    @property
    def hint(self) -> str:
        """What the heading says about the direction."""
        return f"{self.better} is better" if self.better == "higher" else ""

    def show(self, value: float | str | None) -> str:
        """Print a cell; what is not defined is a dash."""
        if value is None or value != value:
            return "\u2013"
        return value if isinstance(value, str) else f"{value:,.{self.decimals}f}"


@dataclass(frozen=True)
class Row:
    """A row of a table.

    Attributes
    ----------
    name : Left of the numbers.
    values : One for each column; None where it is not defined.
    role : ``model`` for what the report is about, ``baseline`` for what competes with it, ``reference`` for what does
        not compete (the truth, a bound, a number from a paper).
    """

    name: str
    values: Sequence[float | str | None]
    role: str = "baseline"


@dataclass(frozen=True)
class Cell:
    """What is printed in a cell, and how."""

    text: str
    classes: str


@dataclass(frozen=True)
class Line:
    """A row as it is printed."""

    name: str
    role: str
    beats: bool
    cells: list[Cell]


@dataclass(frozen=True)
class Table:
    """Rows of numbers. With one row of role ``model``, baselines that are better somewhere are flagged.

    Raises
    ------
    UsageError : If a row has another number of values than there are columns, or an unknown role.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    corner: str = ""
    kind: str = field(default="table", init=False)

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row.values) != len(self.columns):
                raise UsageError(
                    f"Row {row.name!r} of a table has {len(row.values)} values for {len(self.columns)} columns; wanted "
                    "one for each. Use None for what is not defined."
                )
            if row.role not in ROLES:
                raise UsageError(f"Row {row.name!r} of a table has the role {row.role!r}; wanted {', '.join(ROLES)}.")

    @property
    def has_others(self) -> bool:
        """Whether somebody competes with the model."""
        return any(row.role != "model" for row in self.rows)

    @property
    def lines(self) -> list[Line]:
        """The rows as they are printed."""
        return [self._line(row) for row in self.rows]

    @property
    def legend(self) -> str:
        """What the marks mean; nothing if there are none."""
        classes = " ".join(cell.classes for line in self.lines for cell in line.cells).split()
        parts = ["Bold: best of the column, references left out."] if "best" in classes else []
        if "beats" in classes:
            parts.append("Shaded cells: better than the model.")
        return " ".join(parts)

    def losses(self) -> list[tuple[str, str]]:
        """Give (baseline, column) wherever a baseline beats the model: what a report has to warn about."""
        return [
            (row.name, column.name) for row in self.rows for k, column in enumerate(self.columns) if self._beats(row, k)
        ]

    def _line(self, row: Row) -> Line:
        cells = []
        for k, column in enumerate(self.columns):
            marks = ["number"] * column.is_number + ["best"] * self._is_best(row, k) + ["beats"] * self._beats(row, k)
            cells.append(Cell(column.show(row.values[k]), " ".join(marks)))
        return Line(row.name, row.role, any("beats" in cell.classes for cell in cells), cells)

    def _is_best(self, row: Row, k: int) -> bool:
        """Equal prints are equally good: nobody sees the other digits."""
        ranked = [rank for other in self.rows if (rank := self._rank(other, k)) is not None]
        rank = self._rank(row, k)
        return rank is not None and len(ranked) > 1 and rank == min(ranked)

    def _beats(self, row: Row, k: int) -> bool:
        model = [rank for other in self.rows if other.role == "model" and (rank := self._rank(other, k)) is not None]
        rank = self._rank(row, k)
        return rank is not None and bool(model) and rank < min(model)

    def _rank(self, row: Row, k: int) -> float | None:
        """The printed number with a sign such that less is better; None for what does not compete."""
        value, column = row.values[k], self.columns[k]
        if row.role == "reference" or not column.better or value is None or isinstance(value, str) or value != value:
            return None
        return round(value, column.decimals) * (1 if column.better == "lower" else -1)
