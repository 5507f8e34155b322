"""Tables of a report: numbers in columns with units, the best of each column, and rows that beat the model."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from meshdisent.errors import UsageError


@dataclass(frozen=True)
class Estimate:
    """A number with its interval, for tables in which the best is decided elsewhere, by what can be told apart.

    Attributes
    ----------
    value : In the unit of the column.
    low, high : Both ends of the interval; None where it is not defined.
    is_best : Better than every other row, as the interval of the difference says.
    is_flagged : Something that a reader should not overlook; ``Table.marks`` says what.
    """

    value: float
    low: float | None = None
    high: float | None = None
    is_best: bool = False
    is_flagged: bool = False


Value = float | str | Estimate | None

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

    def show(self, value: Value) -> str:
        """Print a cell; what is not defined is a dash."""
        if isinstance(value, Estimate):
            value = value.value
        if value is None or value != value:
            return "\u2013"
        return value if isinstance(value, str) else f"{value:,.{self.decimals}f}"

    def show_interval(self, value: Value) -> str:
        """Print the interval of a cell, as ``0.34\u20130.37``; nothing where there is none."""
        if not isinstance(value, Estimate) or value.low is None or value.high is None:
            return ""
        return f"{value.low:,.{self.decimals}f}\u2013{value.high:,.{self.decimals}f}"


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
    values: Sequence[Value]
    role: str = "baseline"


@dataclass(frozen=True)
class Cell:
    """What is printed in a cell, and how; ``note`` stands small below it."""

    text: str
    classes: str
    note: str = ""


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

    Attributes
    ----------
    marks : What bold and shaded cells mean where :class:`Estimate` says which they are.

    Raises
    ------
    UsageError : If a row has another number of values than there are columns, or an unknown role.
    """

    columns: Sequence[Column]
    rows: Sequence[Row]
    caption: str = ""
    corner: str = ""
    marks: str = ""
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
        """Whether somebody competes with the one model that the table is about."""
        return sum(row.role == "model" for row in self.rows) == 1 < len(self.rows)

    @property
    def lines(self) -> list[Line]:
        """The rows as they are printed."""
        return [self._line(row) for row in self.rows]

    @property
    def legend(self) -> str:
        """What the marks mean; nothing if there are none."""
        if self.marks:
            return self.marks
        classes = " ".join(cell.classes for line in self.lines for cell in line.cells).split()
        without = ", references left out" if any(row.role == "reference" for row in self.rows) else ""
        parts = [f"Bold: best of the column{without}."] if "best" in classes else []
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
            value = row.values[k]
            cells.append(Cell(column.show(value), " ".join(marks), column.show_interval(value)))
        return Line(row.name, row.role, not self.marks and any("beats" in cell.classes for cell in cells), cells)

    def _is_best(self, row: Row, k: int) -> bool:
        """Equal prints are equally good: nobody sees the other digits."""
        value = row.values[k]
        if isinstance(value, Estimate):
            return value.is_best
        ranked = [rank for other in self.rows if (rank := self._rank(other, k)) is not None]
        rank = self._rank(row, k)
        return rank is not None and len(ranked) > 1 and rank == min(ranked)

    def _beats(self, row: Row, k: int) -> bool:
        value = row.values[k]
        if isinstance(value, Estimate):
            return value.is_flagged
        model = [rank for other in self.rows if other.role == "model" and (rank := self._rank(other, k)) is not None]
        rank = self._rank(row, k)
        return rank is not None and bool(model) and rank < min(model)

    def _rank(self, row: Row, k: int) -> float | None:
        """The printed number with a sign such that less is better; None for what does not compete."""
        value, column = row.values[k], self.columns[k]
        if isinstance(value, Estimate) or value is None or isinstance(value, str) or value != value:
            return None
        if row.role == "reference" or not column.better:
            return None
        return round(value, column.decimals) * (1 if column.better == "lower" else -1)
