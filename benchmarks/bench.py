"""How fast each step of the mesh path is: against the plain formulation, against peers, and against the machine.

    python benchmarks/bench.py                       # at most ten minutes: docs/speed-table.md, records/speed.json
    python benchmarks/bench.py --only wsdf decimate  # some rows
    python benchmarks/bench.py --long                # also what takes longer, such as the plain heap at 9,409 vertices
    python benchmarks/bench.py --device cuda         # training steps alone, in float32, TF32 and bfloat16
    python benchmarks/bench.py --ict CLONE           # where a clone of ICT-FaceKit lies, if not found by itself

Every row is timed in a process of its own, all of its methods in turn, again and again, so that what else the machine
does meets all of them alike: ratios are of times a moment apart. Peak memory comes from one more process for each
method. The limit of a row is its floating-point work over the rate of matrix multiplication, or the bytes it must move
over the bandwidth of a copy, whichever is longer; both rates are measured in the same process, between the methods.
Idle threads wait as they do under the command line.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jobs
from figures_table import table
from speed_cases import CASES, Case
from speed_measure import measure, peak_memory

from meshdisent.cli.main import WAITING
from meshdisent.errors import DataError, MeshdisentError, UsageError
from meshdisent.files import writing

TABLE = jobs.ROOT / "docs" / "speed-table.md"
RECORD = jobs.RECORDS / "speed.json"
_SHARED = jobs.ROOT.parent / "shared" / "data" / "ict-facekit" / "unpack.py"


def find_clone(given: Path | None, folder: Path) -> Path:
    """The clone of ICT-FaceKit, whose face the rows are measured on; unpacked into ``folder`` where it is at hand."""
    if given is not None:
        return given
    if not _SHARED.is_file():
        raise UsageError(
            "The rows are measured on the face of ICT-FaceKit, which is not at hand; wanted a clone of it: "
            "git clone https://github.com/USC-ICT/ICT-FaceKit, then --ict ICT-FaceKit."
        )
    subprocess.run([sys.executable, str(_SHARED), str(folder / "clone")], check=True, stdout=subprocess.DEVNULL)
    return folder / "clone"


def chosen_cases(names: Sequence[str], is_long: bool, device: str) -> list[Case]:
    """The rows that are asked for, by the beginning of their names."""
    fitting = [case for case in CASES if (is_long or not case.is_long) and (device == "cpu" or case.on_devices)]
    if not names:
        return fitting
    chosen = [case for case in fitting if any(case.name.startswith(name) for name in names)]
    if not chosen:
        raise UsageError(
            f"No row begins with {', '.join(names)}; there are {', '.join(case.name for case in fitting)}."
        )
    return chosen


def run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure the rows, each in its own processes; returns the record."""
    rows = {}
    with tempfile.TemporaryDirectory() as folder:
        clone = find_clone(arguments.ict, Path(folder))
        cases = chosen_cases(arguments.only, arguments.long, arguments.device)
        for place, case in enumerate(cases, 1):
            print(f"[{place}/{len(cases)}] {case.name}", file=sys.stderr, flush=True)
            rows[case.name] = measured_apart(case, clone, Path(folder), arguments)
    return {
        "rows": rows,
        "threads": arguments.threads,
        "device": arguments.device,
        "machine": f"{arguments.threads} CPU cores" if arguments.device == "cpu" else arguments.device,
        "utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        **jobs.provenance(jobs.code_state()),
    }


def measured_apart(case: Case, clone: Path, folder: Path, arguments: argparse.Namespace) -> dict[str, Any]:
    """One row: the times of all methods from one process, the memory of each from its own."""
    shared = ["--ict", str(clone), "--threads", str(arguments.threads), "--device", arguments.device]
    found = _apart(["--row", case.name, "--scratch", str(folder), *shared], arguments.threads)
    for method, values in found["methods"].items():
        if "seconds" in values and case.has_memory:
            one = ["--row", case.name, "--method", method, "--scratch", str(folder), *shared]
            values |= _apart(one, arguments.threads)
    return found


def _apart(arguments: list[str], threads: int) -> dict[str, Any]:
    environment = WAITING | os.environ | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}
    command = [sys.executable, str(Path(__file__).resolve()), *arguments]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=False)
    if done.returncode:
        raise DataError(f"The measurement {' '.join(arguments[:4])} ended with code {done.returncode}; see above.")
    return json.loads(done.stdout)


def lines_of(record: dict[str, Any]) -> list[str]:
    """The record as Markdown."""
    head = ["step", "method", "time", "ratio", "peak memory", "of the limit"]
    rows = []
    for name, row in record["rows"].items():
        case = next(case for case in CASES if case.name == name)
        for method, values in row["methods"].items():
            title = case.title if method == next(iter(row["methods"])) else ""
            if "seconds" not in values:
                rows.append([title, method, values["left_out"], "-", "-", "-"])
                continue
            ratio = "1" if values["ratio"] is None else f"{values['ratio']:.1f}"
            limit = f"{100 * row['limit_seconds'] / values['seconds']:.0f} %" if row["limit_seconds"] else "-"
            memory = f"{values['peak_bytes'] / 1e9:.2f} GB" if values.get("peak_bytes") else "-"
            rows.append([title, method, _time(values["seconds"], case), ratio, memory, limit])
    return [
        "<!-- Made by benchmarks/bench.py; do not edit. -->",
        "",
        *table(head, rows),
        "",
        f"{record['machine']}, {record['utc'][:10]}, torch {record['torch']}, commit {record['commit'][:7]}"
        f"{'+changes' if record['is_dirty'] else ''}. "
        "Times are medians, ratios medians over pairs of runs side by side, how many times longer than ours. Peak "
        "memory is that of a whole process, the libraries' 0.4 GB included. The limit is the floating-point work over "
        f"{_rate(record)} GFLOP/s of matrix multiplication, or bytes over copy bandwidth, measured in the same run.",
    ]


def _rate(record: dict[str, Any]) -> str:
    rates = [row["matrix_gflops"] for row in record["rows"].values()]
    return f"{min(rates):.0f} to {max(rates):.0f}" if rates else "-"


def _time(seconds: float, case: Case) -> str:
    if case.unit == "a second":
        return f"{case.count / seconds:.0f} {case.counted} a second"
    seconds = seconds / case.count if case.unit == "each" else seconds
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench.py", description=__doc__.partition("\n")[0])
    parser.add_argument("--only", nargs="+", default=[], metavar="NAME", help="rows that begin with these")
    parser.add_argument("--long", action="store_true", help="also the rows that take long")
    parser.add_argument("--ict", type=Path, metavar="CLONE", help="a clone of ICT-FaceKit")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--threads", type=int, default=2, help="cores of the CPU")
    parser.add_argument("--list", action="store_true", help="name the rows and do nothing")
    parser.add_argument("--no-record", action="store_true", help="print the table and write nothing")
    for name in ("--row", "--method", "--scratch"):
        parser.add_argument(name, help=argparse.SUPPRESS)
    return parser.parse_args(arguments)


def bench(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    given = parse(arguments)
    try:
        if given.list:
            print("\n".join(f"{case.name:28}{' (long)' if case.is_long else ''}  {case.title}" for case in CASES))
            return 0
        if given.row is not None:
            case = next(case for case in CASES if case.name == given.row)
            problem = case.prepare(given.ict, Path(given.scratch), given.device)
            found = peak_memory(problem, given.method) if given.method else measure(case, problem, given.device)
            print(json.dumps(found))
            return 0
        record = run(given)
        lines = lines_of(record)
        print("\n".join(lines))
        if not given.no_record and not given.only and given.device == "cpu":
            jobs.write_json(RECORD, record)
            with writing(TABLE, overwrite=True) as aside:
                aside.write_text("\n".join(lines) + "\n", encoding="utf-8")
    except MeshdisentError as error:
        print(f"bench.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(bench(sys.argv[1:]))
