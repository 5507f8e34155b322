"""A second set of people for the comparison: synthetic heads, which are not linear, with true transfers.

    python benchmarks/synthetic_people.py RAW [--people 300] [--vertices 1200] [--seed 300]

Writes what the generator of ICT-300 writes: RAW/PERSON/EXPRESSION.ply, RAW/split.json (60 % train, 10 % val, 30 %
test), and beside it RAW-transfer: 200 pairs of test people, pairs.csv and NNNN.ply, the face of the first doing exactly
what the second does in that scan. Expressions turn the jaw and the lids and slide skin over bone, so no basis holds
them; each person makes them in a manner of their own.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from meshdisent.data.synthetic import SyntheticHead, performer, write_synthetic_folder
from meshdisent.errors import MeshdisentError
from meshdisent.files import refuse_existing, writing_folder
from meshdisent.mesh.mesh import Mesh

PAIRS = 200


def write(raw: Path, people: int, vertices: int, seed: int) -> None:
    """Write scans, split and transfers."""
    transfers = raw.with_name(raw.name + "-transfer")
    for path in (raw, transfers):
        refuse_existing(path, False)
    write_synthetic_folder(raw, people, seed, vertices)
    names = [f"person_{number:03d}" for number in range(people)]
    first, last = round(0.6 * people), round(0.7 * people)
    split = {"train": names[:first], "val": names[first:last], "test": names[last:]}
    (raw / "split.json").write_text(json.dumps(split), encoding="utf-8")
    write_transfers(transfers, range(last, people), names, SyntheticHead(vertices), seed)


def write_transfers(folder: Path, people: range, names: list[str], head: SyntheticHead, seed: int) -> None:
    """Pairs of people, drawn from the seed: whose face, with which expression it is shown, and whose to take."""
    random = np.random.default_rng([seed, 2])
    moving = [name for name in head.expressions if name != "neutral"]
    rows = ["truth,identity,expression"]
    with writing_folder(folder) as aside:
        for number in range(PAIRS):
            who, whose = random.choice(people, 2, replace=False)
            expression, shown = random.choice(moving), random.choice(head.expressions)
            person, other = performer(head, seed, int(who)), performer(head, seed, int(whose))
            truth = head.face(person.identity, str(expression), other.manners[expression])
            Mesh(truth, head.topology.faces).write(aside / f"{number:04d}.ply")
            rows.append(f"{number:04d}.ply,{names[who]}/{shown},{names[whose]}/{expression}")
        (aside / "pairs.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="synthetic_people.py", description=__doc__.partition("\n")[0])
    parser.add_argument("raw", type=Path, metavar="RAW", help="folder to write")
    parser.add_argument("--people", type=int, default=300)
    parser.add_argument("--vertices", type=int, default=1200)
    parser.add_argument("--seed", type=int, default=300)
    given = parser.parse_args(arguments)
    try:
        write(given.raw, given.people, given.vertices, given.seed)
    except MeshdisentError as error:
        print(f"synthetic_people.py: error: {error}", file=sys.stderr)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
