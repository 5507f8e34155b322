"""The accuracy table on ICT-300: linear models and, if a run is given, WSDF, on 90 unseen people.

    python ../shared/protocol/ict_faces.py RAW                                        # the scans, and RAW-transfer
    python benchmarks/ict300.py RAW OUT [RUN...]                                      # writes OUT/table.md

RUN is a folder of `meshdisent train ... --data OUT/faces.h5`. Each row is made by the commands in its last column; what
exists in OUT already is not made again.
"""

import json
import sys
from pathlib import Path

from meshdisent.cli.main import main

LINEAR = {
    "linear 32 + 32, bank = mode": [],
    "linear 32 + 32, bank = mean": ["config.neutrals=mean"],
    "linear 32 + 32, mode and mirrored": ["config.mirrored=true"],
    "linear 32 + 32, neutral labels, ridge": ["config.neutrals=known"],
    "linear 32 + 32, neutral labels": [
        "config.neutrals=known",
        "config.encoder=least_squares",
        "config.prior_weight=2.8",
    ],
    "linear 64 + 64, bank = mode": ["config.identity_size=64", "config.expression_size=64"],
    "linear 64 + 64, mode and mirrored": [
        "config.identity_size=64",
        "config.expression_size=64",
        "config.mirrored=true",
    ],
    "linear 64 + 64, neutral labels": [
        "config.identity_size=64",
        "config.expression_size=64",
        "config.neutrals=known",
        "config.encoder=least_squares",
        "config.prior_weight=0.3",
    ],
    "linear 128 + 28, bank = mode": ["config.identity_size=128", "config.expression_size=28"],
    "linear 128 + 32, bank = mode": ["config.identity_size=128", "config.expression_size=32"],
}
HEAD = [
    "method",
    "E_avd",
    "E_id",
    "E_exp",
    "E_neu",
    "kept",
    "E_tra plain",
    "E_tra kept",
    "leak who / what, %",
    "made by",
]


def folder_of(out: Path, name: str) -> Path:
    """Where a row's model lies."""
    return out / name.replace(" ", "-").replace(",", "").replace("=", "")


def run(*arguments: object) -> None:
    """One command; ends the program if it fails."""
    if code := main([str(argument) for argument in arguments]):
        sys.exit(code)


def number(figures: dict | None, *path: str, moving: bool = False) -> str:
    """A mean in mm, with that of the moving vertices if wanted; a dash where it is not defined."""
    found = figures
    for step in path:
        found = found.get(step) if found else None
    if not found or found["mean"] is None:
        return "-"
    return f"{found['mean']:.3f} / {found['moving']:.3f}" if moving else f"{found['mean']:.3f}"


def row(name: str, figures: dict, made_by: str) -> str:
    """One line of the table."""
    leak = figures["leak"]
    shown = [number(figures, "E_avd"), number(figures, "E_id", "b"), number(figures, "E_exp", "b")]
    shown += [number(figures, "E_neu"), number(figures, "E_neu_kept")]
    shown += [number(figures, "E_tra", kind, moving=True) for kind in ("plain", "kept")]
    shown += [" / ".join(f"{100 * value['rate']:.1f}" for value in leak.values()) if leak else "-", made_by]
    return "| " + " | ".join([name, *shown]) + " |"


def evaluated(model: Path, out: Path, raw: Path, ridge: tuple[str, ...] = ("mode",)) -> dict:
    """The figures of a model on the test people."""
    target = out / f"{model.name}.json"
    if not target.exists():
        pairs = raw.with_name(raw.name + "-transfer") / "pairs.csv"
        run("evaluate", model, "--data", out / "faces.h5", "--transfer", pairs, "--json", target, "--ridge", *ridge)
    return json.loads(target.read_text())


if __name__ == "__main__":
    raw, out = Path(sys.argv[1]), Path(sys.argv[2])
    if not (out / "faces.h5").exists():
        run("prepare", "folder", raw, "--split-by", raw / "split.json", "--out", out / "faces.h5")
    lines = []
    for name, settings in LINEAR.items():
        model = folder_of(out, name)
        if not model.exists():
            run(
                "train",
                "linear",
                "--data",
                out / "faces.h5",
                "--out",
                model,
                *(["--set", *settings] if settings else []),
            )
        shown = " ".join(["train linear", *(["--set", *settings] if settings else [])])
        lines.append(row(name, evaluated(model, out, raw, ("mean", "median", "mode")), f"`{shown}`"))
    first = evaluated(folder_of(out, next(iter(LINEAR))), out, raw, ("mean", "median", "mode"))
    lines = [row(name, figures, "`evaluate`") for name, figures in first["baselines"].items()] + lines
    for folder in map(Path, sys.argv[3:]):
        lines.append(row(folder.name, evaluated(folder, out, raw), "see the card"))
    truth = number(first["E_exp"]["truth"], "b")
    head = ["| " + " | ".join(HEAD) + " |", "|" + "---|" * len(HEAD)]
    (out / "table.md").write_text("\n".join([*head, *lines, "", f"E_exp of the truth: {truth} mm."]) + "\n")
    print((out / "table.md").read_text())
