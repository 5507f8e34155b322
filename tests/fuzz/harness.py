"""Thousands of damaged files, each read in a process that may crash, hang or eat memory without taking us along.

    python tests/fuzz/harness.py --files 20000          # make fuzz
    python tests/fuzz/harness.py --only ply --seed 7 --files 2000

Each file must end in a result, or in one of our errors with a message. Anything else (another exception, a warning, a
crash, more than SECONDS or GIGABYTES) is a failure; its file is kept in the folder ``--out``.
"""

import argparse
import collections
import json
import multiprocessing
import random
import resource
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).resolve().parent))

from damage_inside import INSIDE, copy_changed
from fuzzed_files import KINDS
from mutations import mutated

from meshdisent.errors import MeshdisentError

SECONDS, GIGABYTES = 20.0, 4.0


@dataclass(frozen=True)
class Failure:
    """A file that ended otherwise than it should."""

    kind: str
    number: int
    reason: str


def attempt(kind: str, path: Path) -> str:
    """Read a file: "result" or "refused"; anything else is raised."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            KINDS[kind].read(path)
        except MeshdisentError as error:
            if 10 < len(str(error)) < 2000:
                return "refused"
            raise ValueError(f"an error of {len(str(error))} letters; wanted a line") from error
    return "result"


def variant(kind: str, originals: Sequence[Path], number: int, seed: int, folder: Path) -> Path:
    """Write the damaged file of a number; the same arguments give the same file."""
    chance = random.Random(f"{kind}/{seed}/{number}")
    original = originals[chance.randrange(len(originals))]
    path = folder / f"{number}{original.suffix}"
    if original.suffix in INSIDE and chance.random() < 0.6:
        copy_changed(original, path, chance)
        return path
    other = originals[chance.randrange(len(originals))].read_bytes()
    content = mutated(original.read_bytes(), chance)
    if chance.random() < 0.05:  # spliced: the beginning of one, the end of another
        content = content[: chance.randrange(len(content) + 1)] + other[chance.randrange(len(other) + 1) :]
    path.write_bytes(content)
    return path


def worker(kind: str, originals: list[Path], seed: int, folder: Path, pipe: Connection) -> None:
    """Read the numbers that come through the pipe, and send what came of each."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    KINDS[kind].read(originals[0])  # what is imported late counts for nobody
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    sizes = int(_address_space() + GIGABYTES * 1e9)
    resource.setrlimit(resource.RLIMIT_AS, (sizes, sizes))
    pipe.send(("ready", used))
    while (number := pipe.recv()) is not None:
        path = variant(kind, originals, number, seed, folder)
        try:
            found = attempt(kind, path), ""
        except BaseException as error:
            place = "".join(traceback.format_exception(error)[-3:])
            found = "failed", f"{type(error).__name__}: {error}\n{place}"
        path.unlink(missing_ok=True)  # before anybody hears of it, who may write it again
        pipe.send(found)


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * resource.getpagesize()


class Reader:
    """A process that reads damaged files of a kind; another one takes its place when it dies."""

    def __init__(self, kind: str, originals: list[Path], seed: int, folder: Path):
        self.arguments = (kind, originals, seed, folder)
        self._start()

    def read(self, number: int) -> tuple[str, str]:
        """What came of a file."""
        self.pipe.send(number)
        began = time.monotonic()
        try:
            if self.pipe.poll(SECONDS):
                found: tuple[str, str] = self.pipe.recv()
                return found
            outcome = "failed", f"hung for {time.monotonic() - began:.0f} s"
        except EOFError:
            self.process.join(5)
            outcome = "failed", f"the process died, exit code {self.process.exitcode}"
        self._end()
        self._start()
        return outcome

    def _start(self) -> None:
        context = multiprocessing.get_context("forkserver")
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(target=worker, args=(*self.arguments, theirs), daemon=True)
        self.process.start()
        theirs.close()
        if not self.pipe.poll(120) or self.pipe.recv()[0] != "ready":
            raise RuntimeError(f"whole files of the kind {self.arguments[0]} could not be read")

    def _end(self) -> None:
        self.process.kill()
        self.process.join()
        self.pipe.close()

    def close(self) -> None:
        """End the process."""
        self._end()


def fuzz(kind: str, count: int, seed: int, out: Path) -> tuple[collections.Counter, list[Failure]]:
    """Read so many damaged files of a kind."""
    outcomes: collections.Counter = collections.Counter()
    failures: list[Failure] = []
    with tempfile.TemporaryDirectory() as given:
        folder = Path(given)
        (folder / "whole").mkdir()
        originals = KINDS[kind].make(folder / "whole")
        if not originals:
            return outcomes, failures
        reader = Reader(kind, originals, seed, folder)
        for number in range(count):
            outcome, reason = reader.read(number)
            outcomes[outcome] += 1
            if outcome == "failed":
                failures.append(Failure(kind, number, reason))
                out.mkdir(parents=True, exist_ok=True)
                kept = variant(kind, originals, number, seed, folder)
                (out / f"{kind} {number}{kept.suffix}").write_bytes(kept.read_bytes())
                kept.unlink()
        reader.close()
    return outcomes, failures


def shares(kinds: Sequence[str], files: int) -> Iterator[tuple[str, int]]:
    """Files of each kind, equally many."""
    for place, kind in enumerate(kinds):
        yield kind, files // len(kinds) + (place < files % len(kinds))


def main(arguments: Sequence[str]) -> int:
    """Run the command; 1 where a file ended otherwise than it should."""
    parser = argparse.ArgumentParser(prog="harness.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--files", type=int, default=20_000, metavar="N", help="in all (20,000)")
    parser.add_argument("--only", nargs="+", default=list(KINDS), choices=list(KINDS), metavar="KIND")
    parser.add_argument("--seed", type=int, default=0, metavar="N")
    parser.add_argument("--out", type=Path, default=Path("fuzz-failures"), metavar="DIR", help="for files that failed")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the counts")
    given = parser.parse_args(arguments)
    counts, failed = {}, 0
    for kind, count in shares(given.only, given.files):
        began = time.monotonic()
        outcomes, failures = fuzz(kind, count, given.seed, given.out)
        counts[kind] = dict(outcomes)
        failed += len(failures)
        said = ", ".join(f"{number} {outcome}" for outcome, number in sorted(outcomes.items())) or "no such file here"
        print(f"{kind}: {said}, {time.monotonic() - began:.0f} s", flush=True)
        for failure in failures[:5]:
            print(f"  {kind} {failure.number}: {failure.reason}")
    print(f"{sum(sum(found.values()) for found in counts.values()):,} files, {failed} failures")
    if given.json:
        given.json.write_text(json.dumps(counts, indent=1) + "\n", encoding="utf-8")
    return int(failed > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
