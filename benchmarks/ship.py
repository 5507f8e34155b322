"""Make the model file that comes along from a run trained on ICT-300: small, measured, with ARKit's expressions.

    python ../shared/data/ict-facekit/unpack.py CLONE       # or git clone https://github.com/USC-ICT/ICT-FaceKit CLONE
    python benchmarks/ship.py RUN CLONE faces.h5 models/wsdf-ict/weights.safetensors --transfer RAW-transfer/pairs.csv

    python benchmarks/ship.py RUN synthetic faces.h5 models/wsdf-synthetic/weights.safetensors --transfer PAIRS

The file is in half precision. Its card has the figures of the model in that precision (test split of the dataset) and
how well its expression codes give the 53 shapes of ARKit that the clone has, or, with "synthetic" for the clone, the
expressions of the synthetic head on its mean face. A model that half precision moves by more
than 0.01 mm, or a file of more than 10 MB, is refused.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from meshdisent import ScanDataset, load
from meshdisent.data.synthetic import SyntheticHead
from meshdisent.errors import MeshdisentError, ModelFileError
from meshdisent.evaluation.protocol import evaluate
from meshdisent.evaluation.transfer_pairs import TransferPairs
from meshdisent.files import refuse_existing, writing
from meshdisent.metrics import vertex_distance
from meshdisent.morphable.arkit_codes import ClonedShapes, read_cloned_shapes, solve_arkit_codes
from meshdisent.morphable.contract import MorphableModel, refuse_other_topology
from meshdisent.morphable.shape_codes import PRIOR_WEIGHT, ShapeCodes

#: In place of a clone: the expressions of the synthetic head.
SYNTHETIC = "synthetic"
LARGEST_BYTES, LARGEST_MOVE_MM = 10_000_000, 0.01
BLOCK = 128


class Move(NamedTuple):
    """How far another precision moves the vertices of all reconstructions, mm."""

    mean: float
    largest: float


def ship(
    run: Path, clone: Path, data: Path, out: Path, pairs: Path | None, weight: float, overwrite: bool
) -> MorphableModel:
    """Write the file, and return the model as it is in there."""
    refuse_existing(out, overwrite)
    scans, exact = ScanDataset.open(data), load(run)
    transfer = None if pairs is None else TransferPairs.read(pairs, scans)
    with tempfile.TemporaryDirectory() as folder:
        exact.save(Path(folder, "half"), half=True)
        model = load(Path(folder, "half"))
        move = moved_by(exact, model, scans)
        if move.mean > LARGEST_MOVE_MM:
            raise ModelFileError(
                f"Half precision moves the faces of {run} by {move.mean:.4f} mm on average; wanted at most "
                f"{LARGEST_MOVE_MM} mm. Ship it whole: model.save(path)."
            )
        shapes = synthetic_shapes(model) if str(clone) == SYNTHETIC else read_cloned_shapes(model, clone)
        source = "the synthetic head" if str(clone) == SYNTHETIC else "ICT-FaceKit"
        found = solve_arkit_codes(model, shapes, weight)
        model.named_expressions = found.codes
        figures = evaluate(model, scans, transfer=transfer, ridge_kinds=(), progress=say).figures
        model.card.metrics = {name: value for name, value in figures.items() if name != "baselines"}
        model.card.notes["command"] = without_folders(model.card.notes.get("command", ""))
        model.card.notes |= {
            "half_precision_mm": {"mean": round(move.mean, 5), "largest": round(move.largest, 5)},
            "named_expressions": fits(found, weight, shapes.still, source),
        }
        model.save(Path(folder, "whole"), half=True)
        size = Path(folder, "whole").stat().st_size
        if size > LARGEST_BYTES:
            raise ModelFileError(
                f"The file would take {size:,} bytes; wanted at most {LARGEST_BYTES:,}, since it comes with the "
                "package. Train a smaller model."
            )
        with writing(out, overwrite) as aside:
            shutil.copyfile(Path(folder, "whole"), aside)
    return model


@torch.no_grad()
def moved_by(exact: MorphableModel, other: MorphableModel, scans: ScanDataset) -> Move:
    """Compare the reconstructions of all test scans by a model in two precisions."""
    rows, distances = scans.rows("test"), []
    for start in range(0, len(rows), BLOCK):
        shown = torch.from_numpy(scans.vertices(rows[start : start + BLOCK]))
        first, second = (model.decode(model.encode(shown)).numpy() for model in (exact, other))
        distances.append(vertex_distance(first, second))
    every = np.concatenate(distances)
    return Move(float(every.mean()), float(every.max()))


def without_folders(command: str) -> str:
    """A command with the last parts of its paths: where they lay is nobody's business.

    Examples
    --------
    >>> without_folders("meshdisent train wsdf-ict --data scans/new/faces.h5 --out runs/ict")
    'meshdisent train wsdf-ict --data faces.h5 --out ict'
    """
    return " ".join(part.rsplit("/", 1)[-1] for part in command.split())


def synthetic_shapes(model: MorphableModel) -> ClonedShapes:
    """The expressions of the synthetic head on its mean face; raises if the model is of another topology."""
    head = SyntheticHead(model.topology.vertex_count)
    refuse_other_topology(model, head.topology, "the synthetic head")
    nobody = np.zeros(head.identity_size)
    rest = head.neutral(nobody)
    moved = {name: torch.from_numpy(head.face(nobody, name) - rest).float() for name in head.expressions[1:]}
    return ClonedShapes(torch.from_numpy(rest).float(), moved, ())


def fits(found: ShapeCodes, weight: float, still: Sequence[str], source: str) -> dict[str, Any]:
    """How well each shape is given, as the card keeps it."""
    return {
        "source": source,
        "prior_weight": weight,
        "shapes": {
            name: {
                "residual_mm": round(found.residual_mm[name], 3),
                "size_mm": round(found.size_mm[name], 3),
                "deviations": round(found.deviations[name], 2),
            }
            for name in found.codes
        },
        "left_out": list(still),
    }


def report(model: MorphableModel, size: int) -> str:
    """What was made, in a few lines."""
    notes, metrics = model.card.notes, model.card.metrics
    shapes = notes["named_expressions"]["shapes"]
    rows = [
        f"  {name:18} {fit['residual_mm']:6.3f} of {fit['size_mm']:6.3f} mm, code {fit['deviations']:5.2f}"
        for name, fit in sorted(shapes.items(), key=lambda item: -item[1]["residual_mm"])
    ]
    still = ", ".join(notes["named_expressions"]["left_out"]) or "none"
    means = {name: value["mean"] for name, value in metrics.items() if isinstance(value, dict) and "mean" in value}
    return "\n".join(
        [
            f"{size:,} bytes; half precision moves vertices by {notes['half_precision_mm']['mean']:.5f} mm on average",
            ", ".join(f"{name} {mean:.3f}" for name, mean in means.items()) + " mm",
            f"{len(shapes)} named expressions: residual of size, and size of the code (1 is usual); left out: {still}",
            *rows,
        ]
    )


def say(message: str) -> None:
    """Progress, beside what is printed in the end."""
    print(f"measuring {message}", file=sys.stderr, flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="ship.py", description=__doc__.partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN", help="a run folder or a model file")
    parser.add_argument("clone", type=Path, metavar="CLONE", help="a clone of ICT-FaceKit, or: synthetic")
    parser.add_argument("data", type=Path, metavar="DATA", help="the dataset that the run was trained on, faces.h5")
    parser.add_argument("out", type=Path, metavar="OUT", help="the file to write, NAME/weights.safetensors")
    parser.add_argument("--transfer", type=Path, metavar="PAIRS", help="pairs.csv of true transfers, for E_tra")
    parser.add_argument("--weight", type=float, default=PRIOR_WEIGHT, metavar="W", help="weight of the prior, mm^2")
    parser.add_argument("--overwrite", action="store_true", help="replace the file if it exists")
    given = parser.parse_args(arguments)
    try:
        places = (given.run, given.clone, given.data, given.out)
        model = ship(*places, pairs=given.transfer, weight=given.weight, overwrite=given.overwrite)
    except MeshdisentError as error:
        print(f"ship.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(report(model, given.out.stat().st_size))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
