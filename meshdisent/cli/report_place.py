"""Where a command that measures leaves its report: where it was asked to, in the run folder, or beside the model."""

from pathlib import Path

from meshdisent.errors import UsageError
from meshdisent.files import refuse_existing


def report_place(report: Path | None, no_report: bool, model: str, suffix: str, overwrite: bool) -> Path | None:
    """The folder of the report; None for none. Raises before any work if it holds something else than a report.

    Parameters
    ----------
    report, no_report : What the user asked for.
    model : As the user named it: a run folder, a model file, or a name of the zoo.
    suffix : What else tells one measurement of the model from another, such as ``-train``.
    overwrite : Whether a folder that the user named may be replaced. One that nobody named may, if it is a report.

    Examples
    --------
    >>> print(report_place(None, False, "wsdf-ict/32", "-val", False))
    evaluation-wsdf-ict-32-val
    >>> print(report_place(None, True, "wsdf-ict", "", False))
    None
    """
    if report is not None:
        if no_report:
            raise UsageError("--report and --no-report were given; wanted one of them.")
        refuse_existing(report, overwrite)
        return report
    if no_report:
        return None
    path = Path(model)
    if path.is_dir():
        place = path / f"evaluation{suffix}"
    elif path.is_file():
        place = path.parent / f"evaluation-{path.stem}{suffix}"
    else:
        place = Path(f"evaluation-{model.replace('/', '-')}{suffix}")
    if not is_report(place):
        refuse_existing(place, False)
    return place


def is_report(place: Path) -> bool:
    """Whether a folder is a report that such a command has left."""
    return (place / "report.html").is_file() and (place / "figures.json").is_file()
