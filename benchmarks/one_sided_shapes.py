"""How near are a model's shapes of one side to ICT-FaceKit's: by single codes, and as halves of both sides together?

    python ../shared/data/ict-facekit/unpack.py CLONE       # or git clone https://github.com/USC-ICT/ICT-FaceKit CLONE
    python benchmarks/one_sided_shapes.py CLONE [--model wsdf-ict]

Root mean square distance over the vertices of the generic face, mm, and its mean over all shapes with a left and a
right. code: what the code of the shape does. halves: half of what the codes of both sides do (meshdisent.export.sides).
pairs halved: the same of ICT-FaceKit's own shapes, which is what halving alone costs.
"""

import argparse
from pathlib import Path

import torch

from meshdisent.export.sides import Sides, side_pairs
from meshdisent.morphable.arkit_codes import read_cloned_shapes
from meshdisent.morphable.contract import Codes
from meshdisent.morphable.model_file import load_morphable


@torch.no_grad()
def main() -> None:
    """Print a row a shape, and the means."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clone", type=Path, metavar="CLONE")
    parser.add_argument("--model", default="wsdf-ict")
    chosen = parser.parse_args()
    model = load_morphable(chosen.model)
    shapes = read_cloned_shapes(model, chosen.clone)
    person = model.encode(shapes.generic[None]).identity
    rest = model.neutral(person)[0]

    def moved(code: torch.Tensor) -> torch.Tensor:
        return model.decode(Codes(person, code[None]))[0] - rest

    def size(vectors: torch.Tensor) -> float:
        return float(vectors.square().sum(1).mean().sqrt())

    names = [name for name in shapes.displacements if name in model.named_expressions]
    sides = Sides.of(names, model.topology, rest)
    assert sides is not None, "the shapes of ARKit have sides"
    rows = []
    for pair in side_pairs(names):
        both = moved(sum(model.named_expressions[names[row]] for row in pair))
        true = sum(shapes.displacements[names[row]] for row in pair)
        for row, share in zip(pair, (sides.left, 1 - sides.left), strict=True):
            wanted, half = shapes.displacements[names[row]], share[:, None]
            single = moved(model.named_expressions[names[row]])
            rows.append((size(wanted), size(single - wanted), size(half * both - wanted), size(half * true - wanted)))
            print(f"| {names[row]} | " + " | ".join(f"{value:.3f}" for value in rows[-1]) + " |")
    means = torch.tensor(rows).mean(0).tolist()
    print("| **mean** (size, code, halves, pairs halved) | " + " | ".join(f"{value:.3f}" for value in means) + " |")


if __name__ == "__main__":
    main()
