"""The list of what a preparation left out, beside the file that it wrote."""

import csv
from collections.abc import Sequence
from pathlib import Path

from meshdisent.data.layouts.base import Rejection
from meshdisent.files import writing


def rejected_path(out: Path) -> Path:
    """``NAME.rejected.csv``, beside the file."""
    return out.with_name(f"{out.stem}.rejected.csv")


def write_rejected(out: Path, rejected: Sequence[Rejection]) -> None:
    """List what was left out; a list from an earlier run goes away, since it would speak of other scans."""
    path = rejected_path(out)
    if not rejected:
        path.unlink(missing_ok=True)
        return
    with (
        writing(path, overwrite=True) as aside,
        aside.open("w", newline="", encoding="utf-8", errors="replace") as file,
    ):
        table = csv.writer(file)
        table.writerow(["path", "reason"])
        table.writerows((rejection.source, rejection.reason) for rejection in rejected)
