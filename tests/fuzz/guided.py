"""Damage that is guided by what it reaches: atheris changes bytes so that new lines of a reader run.

    python tests/fuzz/guided.py                       # make fuzz-guided: each reader of ours, half a minute an ending
    python tests/fuzz/guided.py ply recipe --seconds 600

Only readers that are written in Python are worth it. Like the harness: a file ends in a result or in one of our errors
with a message, or it is kept in ``--out``. atheris has wheels for Linux; elsewhere this says so and does nothing.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
from fuzzed_files import KINDS
from harness import attempt

GUIDED = ("obj", "ply", "wrl", "landmarks", "recipe", "split", "flame", "map")
MOST_BYTES, SECONDS_A_FILE, MEGABYTES = 8192, 20, 4096


def endings(kind: str) -> list[str]:
    """The endings of the files of a kind; what reads a file may go by it."""
    with tempfile.TemporaryDirectory() as folder:
        return sorted({path.suffix for path in KINDS[kind].make(Path(folder))})


def guide(kind: str, ending: str, seconds: int, folder: Path, kept: Path) -> None:
    """Read changed files of a kind for so long; libFuzzer ends the process."""
    import atheris

    originals = folder / "originals"
    originals.mkdir()
    whole = [path for path in KINDS[kind].make(originals) if path.suffix == ending]
    for path in whole:
        KINDS[kind].read(path)
    with atheris.instrument_imports(include=["meshdisent"]):
        for name in [name for name in sys.modules if name.startswith("meshdisent") and "errors" not in name]:
            del sys.modules[name]  # imported again, with counters in them
        for path in whole:
            KINDS[kind].read(path)
    file = folder / f"changed{ending}"

    def one(content: bytes) -> None:
        file.write_bytes(content)
        attempt(kind, file)

    corpus = folder / "corpus"
    corpus.mkdir()
    for path in whole:
        if path.is_file() and path.stat().st_size <= MOST_BYTES:
            path.rename(corpus / path.name)
    limits = [f"-timeout={SECONDS_A_FILE}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={MOST_BYTES}"]
    where = [f"-artifact_prefix={kept}/{kind.replace(' ', '-')}-", str(corpus)]
    atheris.Setup([sys.argv[0], f"-max_total_time={seconds}", "-print_final_stats=1", *limits, *where], one)
    atheris.Fuzz()


def main() -> int:
    """Each kind in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", metavar="KIND", help=", ".join(GUIDED))
    parser.add_argument("--seconds", type=int, default=30, help="for each ending of each kind")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"))
    parser.add_argument("--here", metavar="ENDING", help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    kinds = chosen.kinds or list(GUIDED)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        parser.error(f"{unknown[0]} is no kind; there are {', '.join(GUIDED)}")
    try:
        import atheris  # noqa: F401
    except ImportError:
        print("atheris is not installed, and has wheels for Linux only: pip install atheris==3.0.0")
        return 1
    chosen.out.mkdir(exist_ok=True)
    if chosen.here is not None:
        with tempfile.TemporaryDirectory() as folder:
            guide(kinds[0], chosen.here, chosen.seconds, Path(folder), chosen.out)
    failed = []
    for kind, ending in ((one, ending) for one in kinds for ending in endings(one)):
        settings = ["--seconds", str(chosen.seconds), "--out", str(chosen.out), "--here", ending]
        command = [sys.executable, __file__, kind, *settings]
        called = f"{kind}, {ending or 'no ending'}"
        ended = subprocess.run(command, capture_output=True, text=True, check=False)
        lines = [line for line in ended.stderr.splitlines() if "number_of_executed_units" in line or "DONE" in line]
        print(
            f"{called:24s} {'all read or refused' if ended.returncode == 0 else 'FAILED'}; {' '.join(lines)}",
            flush=True,
        )
        if ended.returncode:
            failed.append(called)
            print(ended.stderr[-3000:], flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
