"""The accuracy table on ICT-300: linear models and, if a run is given, WSDF, on 90 unseen people.

    python ../shared/protocol/ict_faces.py RAW                                        # the scans, and RAW-transfer
    python benchmarks/ict300.py RAW OUT [RUN...]                                      # writes OUT/table.md

RUN is a folder of `meshdisent train ... --data OUT/faces.h5`. Each row is made by the commands in its last column; what
exists in OUT already is not made again. The linear rows are those of rows.yaml. compare.py makes all rows.
"""

import sys
from pathlib import Path

from figures_table import FIGURES, cells, number, table
from jobs import code_state, evaluated, prepared, train, transfer_pairs
from rows import read_rows

from meshdisent.training.run_folder import RunFolder

HEAD = ["method", *FIGURES, "made by"]
RIDGES = ("mean", "median", "mode")


def main(raw: Path, out: Path, runs: list[Path]) -> None:
    """Write the table and print it."""
    pairs, data, code = transfer_pairs(raw), prepared(raw, out), code_state()
    lines, figures = [], {}
    for row in read_rows():
        if row.group == "linear":
            run, target = out / row.slug, out / f"{row.slug}.json"
            train(row.recipe, row.settings, run, data, code)
            figures[row.name] = evaluated(RunFolder(run).model, target, data, pairs, RIDGES)
            shown = " ".join(["train linear", *(["--set", *row.settings] if row.settings else [])])
            lines.append([row.name, *cells(figures[row.name]), f"`{shown}`"])
    first = next(iter(figures.values()))
    lines = [[name, *cells(found), "`evaluate`"] for name, found in first["baselines"].items()] + lines
    for run in runs:
        found = evaluated(RunFolder(run).model, out / f"{run.name}.json", data, pairs)
        lines.append([run.name, *cells(found), "see the card"])
    truth = f"E_exp of the truth: {number(first['E_exp']['truth'], 'b')} mm."
    (out / "table.md").write_text("\n".join([*table(HEAD, lines), "", truth]) + "\n")
    print((out / "table.md").read_text())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), [Path(run) for run in sys.argv[3:]])
