"""Make the model of photographs that comes along: small, in half precision, with its figures on unseen people.

    python benchmarks/ship_photographs.py RUN images.h5 models/latentface-rendered/weights.safetensors

The confidence network, which only training needs, is left out. A model whose depth or codes half precision changes by
more than a hundredth of its error, or a file of more than 10 MB, is refused.
"""

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch

from meshdisent.data.images.image_dataset import ImageDataset
from meshdisent.errors import MeshdisentError, ModelFileError
from meshdisent.files import refuse_existing, writing
from meshdisent.latentface.evaluation import depth_figures, view_depth
from meshdisent.latentface.latentface import LatentFace, load_latentface

LARGEST_BYTES, LARGEST_CHANGE = 10_000_000, 0.01
COMMAND = "meshdisent train latentface-rendered --data images.h5 --out run"


def figures(model: LatentFace, data: ImageDataset) -> dict[str, float]:
    """Depth and normals on the test people: means of SIDE x 100 and MAD in degrees."""
    found = depth_figures(lambda images: view_depth(model, images), data, data.rows("test"))
    assert found is not None
    return {name: found[name]["mean"] for name in ("SIDE", "MAD")}


def ship(run: Path, data: ImageDataset, out: Path, overwrite: bool) -> dict[str, float]:
    """Write the file and give its figures."""
    refuse_existing(out, overwrite)
    model = load_latentface(run)
    before = figures(model, data)
    with tempfile.TemporaryDirectory() as folder:
        small = Path(folder) / "model.safetensors"
        model.save(small, half=True)
        halved = load_latentface(small)
        after = figures(halved, data)
        for name, value in before.items():
            if abs(after[name] - value) > LARGEST_CHANGE * value:
                raise ModelFileError(f"In half precision {name} is {after[name]:.4f}, not {value:.4f}; ship it whole.")
        halved.card.metrics = after
        halved.card.notes["command"] = COMMAND  # without the folders of this machine
        halved.save(small, half=True, overwrite=True)
        if small.stat().st_size > LARGEST_BYTES:
            raise ModelFileError(f"The file has {small.stat().st_size:,} bytes; wanted at most {LARGEST_BYTES:,}.")
        with writing(out, overwrite) as aside:
            shutil.copy(small, aside)
    return after


def main(arguments: Sequence[str]) -> int:
    """Run the command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="ship_photographs.py", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("run", type=Path, metavar="RUN")
    parser.add_argument("data", type=Path, metavar="IMAGES.H5")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--overwrite", action="store_true")
    given = parser.parse_args(arguments)
    torch.manual_seed(0)
    try:
        found = ship(given.run, ImageDataset.open(given.data), given.out, given.overwrite)
    except MeshdisentError as error:
        print(f"ship_photographs.py: error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"{given.out}: {given.out.stat().st_size / 1e6:.2f} MB, SIDE {found['SIDE']:.3f}e-2, MAD {found['MAD']:.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
