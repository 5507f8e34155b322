"""Transfer by codes against transfer by displacements: error, and how much of the other person comes along.

    python benchmarks/transfer_leak.py MODEL FACES.H5 PAIRS.CSV [JUDGE]      # prints the table of docs/use.md

PAIRS.CSV is the table of true transfers (RAW-transfer/pairs.csv of ICT-300). JUDGE is a second model whose identity
codes tell people apart; the first judges, too. "Known" neutrals are the scans at rest that the dataset
has; "from the mean face" is what happens to who has no neutral of the other person at all.
"""

import json
import sys

import numpy as np

from meshdisent import ScanDataset, load
from meshdisent.editing import delta_transfer, identity_leak, spread_over_sources, transfer
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.metrics import e_tra
from meshdisent.morphable.contract import MorphableModel

#: For the spread: some people, each doing some expressions as many others do them.
TARGETS, SOURCES, EXPRESSIONS = 4, 8, ("smile", "mouth_stretch", "anger", "lip_puckerer")


class Methods:
    """Every way to transfer, for one target and several scans of others."""

    def __init__(self, model: MorphableModel, scans: ScanDataset):
        self.model, self.scans = model, scans
        self.neutrals, known = scans.neutrals()
        self.mean = self.neutrals[known].mean(axis=0)
        self.all = {
            "codes": lambda t, s: transfer(model, self.scan(t), self.scans.vertices(s)),
            "codes, detail kept": lambda t, s: transfer(model, self.scan(t), self.scans.vertices(s), True),
            "delta, the model's neutrals": lambda t, s: self.delta(t, s, local=False, known=False),
            "delta-local, the model's neutrals": lambda t, s: self.delta(t, s, local=True, known=False),
            "delta, known neutrals": lambda t, s: self.delta(t, s, local=False, known=True),
            "delta-local, known neutrals": lambda t, s: self.delta(t, s, local=True, known=True),
            "delta from the mean face": lambda t, s: delta_transfer(
                model, self.scan(t), self.scans.vertices(s), neutrals=self.mean, local=False
            ),
        }

    def scan(self, row: int) -> np.ndarray:
        """One scan, (V, 3) mm."""
        return self.scans.vertices(np.array([row]))[0]

    def delta(self, target: int, sources: np.ndarray, local: bool, known: bool) -> list:
        """Displacements, from neutrals that are known or that the model finds."""
        people = self.scans.subject
        rest = (self.neutrals[people[target]], self.neutrals[people[sources]]) if known else (None, None)
        return delta_transfer(
            self.model, self.scan(target), self.scans.vertices(sources), neutral=rest[0], neutrals=rest[1], local=local
        )

    def one(self, name: str, target: int, sources: np.ndarray) -> np.ndarray:
        """One method as an array."""
        return np.stack([mesh.vertices for mesh in self.all[name](target, sources)]).astype(np.float32)


def figures(methods: Methods, name: str, pairs: TransferPairs, judges: dict[str, MorphableModel]) -> dict:
    """Error and leak over the pairs, and the spread over sources."""
    scans = methods.scans
    made = np.concatenate(
        [methods.one(name, int(t), np.array([s])) for t, s in zip(pairs.identity, pairs.expression, strict=True)]
    )
    found = {"E_tra_mm": float(e_tra(made, pairs.truth).mean())}
    for judge, model in judges.items():
        leak = identity_leak(model, list(made), list(scans.vertices(pairs.identity)),
                             list(scans.vertices(pairs.expression)))  # fmt: skip
        found[judge] = {"share": leak["share"], "nearer": leak["nearer"]}
    test = np.unique(scans.subject[scans.rows("test")])
    results, same = [], []
    for t, target in enumerate(test[:TARGETS]):
        rest = scans.scan(f"{scans.subjects[target]}/neutral")
        for e, expression in enumerate(EXPRESSIONS):
            people = test[TARGETS : TARGETS + SOURCES]
            rows = np.array([scans.scan(f"{scans.subjects[row]}/{expression}") for row in people])
            results.append(methods.one(name, rest, rows))
            same += [t * len(EXPRESSIONS) + e] * len(rows)
    found["spread_mm"] = spread_over_sources(np.concatenate(results), np.array(same))
    return found


def main(model_path: str, data: str, table: str, judge: str | None = None) -> None:
    """Measure every method and the truth, and print the table."""
    model, scans = load(model_path), ScanDataset.open(data)
    judges = {"itself": model} | ({"the judge": load(judge)} if judge else {})
    methods, pairs = Methods(model, scans), TransferPairs.read(table, scans)
    found = {name: figures(methods, name, pairs, judges) for name in methods.all}
    truth = {}
    for name, one in judges.items():
        leak = identity_leak(one, list(pairs.truth), list(scans.vertices(pairs.identity)),
                             list(scans.vertices(pairs.expression)))  # fmt: skip
        truth[name] = {"share": leak["share"], "nearer": leak["nearer"]}
    found["the truth"] = {"E_tra_mm": 0.0, "spread_mm": None, **truth}
    print("| method | E_tra, mm | spread over makers, mm |" + "".join(f" leak, {n} | nearer |" for n in judges))
    print("|---|---|---|" + "---|---|" * len(judges))
    for name, row in found.items():
        spread = "" if row["spread_mm"] is None else f"{row['spread_mm']:.2f}"
        leaks = "".join(f" {100 * row[j]['share']:.1f} % | {100 * row[j]['nearer']:.1f} % |" for j in judges)
        print(f"| {name} | {row['E_tra_mm']:.2f} | {spread} |{leaks}")
    print(json.dumps(found), file=sys.stderr)


if __name__ == "__main__":
    main(*sys.argv[1:])
